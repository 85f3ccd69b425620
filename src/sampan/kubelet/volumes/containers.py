"""What of a pod's volumes a container sees, and where: CRI's mounts for it.

Also its /etc/hosts, and the file for its termination message.

Source: kubernetes pkg/kubelet/kubelet_pods.go (makeMounts), kuberuntime/kuberuntime_container.go (makeMounts)
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.cri import pb
from sampan.kubelet import expansion, hosts
from sampan.kubelet.environment import ConfigError
from sampan.kubelet.volumes import subpath
from sampan.kubelet.volumes.places import Place
from sampan.kubelet.volumes.setting import Mounted, Obj

HOSTS = "/etc/hosts"


@dataclass(frozen=True, slots=True)
class Extra:
    """`environment`: for `subPathExpr`. `ips`, `hostname`, `domain`: for /etc/hosts. `recursive_read_only`: can the runtime?"""

    environment: Mapping[str, str]
    ips: Sequence[str] = ()
    hostname: str = ""
    domain: str = ""
    recursive_read_only: bool = False


def mounts_of(pod: Obj, container: Obj, mounted: Mapping[str, Mounted], place: Place, extra: Extra) -> list[Any]:
    """`pb.Mount`s, in the order of `volumeMounts`. Raises ConfigError."""
    out, wants_hosts = [], bool(extra.ips) or bool(pod["spec"].get("hostNetwork"))
    for index, each in enumerate(container.get("volumeMounts") or ()):
        wants_hosts = wants_hosts and each["mountPath"] != HOSTS
        volume = mounted.get(each["name"])
        if volume is None:
            raise ConfigError(f'cannot find volume "{each["name"]}" to mount into container "{container["name"]}"')
        path = _part(each, volume, container["name"], place.subpaths, index, extra.environment)
        target = each["mountPath"]
        out.append(pb.Mount(
            container_path=target if target.startswith("/") else f"/{target}",
            host_path=str(path),
            readonly=bool(each.get("readOnly")) or volume.read_only,
            recursive_read_only=_recursive(each, extra.recursive_read_only),
            propagation=_propagation(each.get("mountPropagation")),
            selinux_relabel=False,
        ))  # fmt: skip
    if wants_hosts:
        try:
            place.directory.mkdir(0o750, parents=True, exist_ok=True)
            hosts.write(place.hosts, hosts.hosts(pod, extra.ips, extra.hostname, extra.domain))
        except OSError as error:
            raise ConfigError(f"open {error.filename}: {(error.strerror or '').lower()}") from None
        out.append(pb.Mount(container_path=HOSTS, host_path=str(place.hosts), selinux_relabel=True))
    if message := container.get("terminationMessagePath"):
        file = _message_file(place.container(container["name"]))
        out.append(pb.Mount(container_path=message, host_path=str(file), selinux_relabel=True))
    return out


def _part(each: Obj, volume: Mounted, container: str, subpaths: Path, index: int, known: Mapping[str, str]) -> Path:
    """The volume, or what `subPath` names of it."""
    path = each.get("subPath") or ""
    if expression := each.get("subPathExpr"):
        try:
            path = expansion.expand_strictly(expression, known)
        except expansion.Missing as error:
            raise ConfigError(str(error)) from None
    if not path:
        return volume.path
    if path.startswith("/"):
        raise ConfigError(f"error SubPath `{path}` must not be an absolute path")
    if ".." in path.split("/"):
        raise ConfigError(f"unable to provision SubPath `{path}`: must not contain '..'")
    # why it does not work could tell about files of the node that are nobody's business: only that it does not is told
    try:
        if not os.path.exists(volume.path / path):
            subpath.make(volume.path, path, volume.path.stat().st_mode & 0o777)
    except OSError:
        text = f'failed to create subPath directory for volumeMount "{each["name"]}" of container "{container}"'
        raise ConfigError(text) from None
    try:
        name = volume.name or each["name"]
        return subpath.bind(volume.path, path, subpaths / name / container / str(index))
    except OSError:
        text = f'failed to prepare subPath for volumeMount "{each["name"]}" of container "{container}"'
        raise ConfigError(text) from None


def _propagation(mode: str | None) -> int:
    match mode:
        case None | "None":
            return int(pb.PROPAGATION_PRIVATE)
        case "HostToContainer":
            return int(pb.PROPAGATION_HOST_TO_CONTAINER)
        case "Bidirectional":
            return int(pb.PROPAGATION_BIDIRECTIONAL)
    raise ConfigError(f'invalid MountPropagation mode: "{mode}"')


def _recursive(each: Obj, supported: bool) -> bool:
    mode = each.get("recursiveReadOnly") or "Disabled"
    if mode == "Disabled":
        return False
    why, propagation = "", each.get("mountPropagation") or "None"
    if not each.get("readOnly"):
        why = "it is not read-only"
    elif propagation != "None":
        why = f'it is not compatible with propagation "{propagation}"'
    elif mode == "Enabled" and not supported:
        why = "it is not supported by the runtime"
    if why:
        text = f'volume "{each["name"]}" requested recursive read-only mode, but {why}'
        raise ConfigError(f"failed to resolve recursive read-only mode: {text}")
    return supported


def _message_file(directory: Path) -> Path:
    """A new one for every start, so that an old message is not taken for a new one."""
    directory.mkdir(0o750, parents=True, exist_ok=True)
    file = directory / secrets.token_hex(4)
    try:
        file.touch()
        os.chmod(file, 0o666)  # whoever the container runs as
    except OSError as error:
        raise ConfigError(f'error creating termination-log file "{file}": {error.strerror}') from None
    return file

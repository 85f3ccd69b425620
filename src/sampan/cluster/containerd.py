"""Nodes that run on containerd: a process of each node's own, set up so that nothing of it is another's, nor the machine's.

    nodes/NAME/containerd/          its images and containers, its configuration and CNI's
    /run/sampan/ID/NAME/            its socket, and what a reboot may take

It learns the range of its pods' addresses from the kubelet, as any other runtime does, and makes CNI's configuration of it.
What it cannot fetch anywhere, the image of sandboxes and the built-in one, is imported before there are pods.

Source: containerd docs/cri/config.md, docs/hosts.md
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import shlex
import shutil
import sys
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sampan.cluster import images
from sampan.cluster.errors import ClusterError
from sampan.cluster.state import Cluster, Settings
from sampan.kubelet.cri import Cri, CriFailed
from sampan.runtime import builtin, builtin_archive, cgroups, pause, spec
from sampan.runtime.manifests import architecture

SANDBOX_IMAGE = "sampan.io/pause:1"
START_SECONDS = 30.0
#: what a distribution's packages of CNI plugins have; ours stands in where they are not
LOOPBACKS = (Path("/usr/lib/cni/loopback"), Path("/opt/cni/bin/loopback"), Path("/usr/libexec/cni/loopback"))
_UNUSED = (
    *(f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "zfs", "devmapper")),
    "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
)  # fmt: skip


def command(cluster: Cluster, settings: Settings, node: str, registries: Iterable[Path]) -> list[str]:
    """How it is started; its files are written. Raises OSError."""
    home = _home(cluster, node)
    (home / "cni" / "bin").mkdir(parents=True, exist_ok=True, mode=0o700)
    (home / "cni" / "net.d").mkdir(exist_ok=True)
    cluster.socket(node).parent.mkdir(parents=True, exist_ok=True)
    _write_cni(home / "cni", settings.ranges.pods)
    (home / "config.toml").write_text(_config(home, cluster.socket(node), registries))
    return ["containerd", "--config", str(home / "config.toml")]


def _home(cluster: Cluster, node: str) -> Path:
    return cluster.node(node) / "containerd"


def _config(home: Path, socket: Path, registries: Iterable[Path]) -> str:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    quoted, run = json.dumps, socket.parent
    program = "" if shutil.which("runc") else f"BinaryName = {quoted(shutil.which('crun'))}"
    return f"""version = 2
root = {quoted(str(home / "root"))}
state = {quoted(str(run / "containerd"))}
disabled_plugins = {quoted(_UNUSED)}

[grpc]
  address = {quoted(str(socket))}

[plugins."io.containerd.internal.v1.opt"]
  path = {quoted(str(home / "opt"))}

[{cri}]
  sandbox_image = {quoted(SANDBOX_IMAGE)}
  restrict_oom_score_adj = {quoted(spec.clamp_oom(-1) != -1)}
  tolerate_missing_hugetlb_controller = true
  disable_hugetlb_controller = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  netns_mounts_under_state_dir = true

[{cri}.cni]
  bin_dir = {quoted(str(home / "cni" / "bin"))}
  conf_dir = {quoted(str(home / "cni" / "net.d"))}
  conf_template = {quoted(str(home / "cni" / "template"))}

[{cri}.registry]
  config_path = {quoted(":".join(map(str, registries)))}

[{cri}.containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"

[{cri}.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[{cri}.containerd.runtimes.runc.options]
  {program}
  SystemdCgroup = {quoted(cgroups.by_systemd())}
"""


def _write_cni(directory: Path, pods: str) -> None:
    from sampan.network.cni.command import conflist

    config = {"podCIDR": "{{.PodCIDR}}", "clusterCIDR": pods, "stateDir": str(directory / "state")}
    (directory / "template").write_text(conflist(config))
    ours = directory / "bin" / "sampan"
    ours.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -m sampan.cli cni\n")
    ours.chmod(0o755)
    loopback = directory / "bin" / "loopback"
    loopback.unlink(missing_ok=True)
    loopback.symlink_to(next((each for each in LOOPBACKS if each.exists()), ours))


# -- images that no registry has ---------------------------------------------------------------------------------------


def furnish(cluster: Cluster, nodes: Iterable[str], cache: Path) -> None:
    """Until these nodes' runtimes answer and have the images. `cache`: a directory for the built-in one. Raises ClusterError."""
    wanted = {node: cluster.socket(node) for node in nodes}
    asyncio.run(_furnish(cluster, wanted, cache))


async def _furnish(cluster: Cluster, wanted: Mapping[str, Path], cache: Path) -> None:
    stamp = _stamp()
    found = await asyncio.gather(*(_lacks(cluster, node, socket, stamp) for node, socket in wanted.items()))
    lacking = [node for node, lacks in zip(wanted, found, strict=True) if lacks]
    if not lacking:
        return
    try:
        archives = await asyncio.to_thread(_archives, cache, stamp)
        await asyncio.gather(*(images.load(str(wanted[node]), each) for node in lacking for each in archives))
        for node in lacking:
            (_home(cluster, node) / "images").write_text(stamp)
    except OSError as error:
        raise ClusterError(f"the built-in image cannot be written: {error}", "check the free space") from None


async def _lacks(cluster: Cluster, node: str, socket: Path, stamp: str) -> bool:
    """It answers. Has it not the images as they are now?"""
    async with Cri(str(socket)) as cri:
        try:
            await cri.ready(START_SECONDS)
        except CriFailed:
            raise ClusterError(
                f"containerd of node {node} does not answer", f"its log is {cluster.log(f'nodes/{node}/runtime')}"
            ) from None
        kept = _home(cluster, node) / "images"
        if not kept.exists() or kept.read_text() != stamp:
            return True
        there = [await cri.ImageStatus(image={"image": name}) for name in (SANDBOX_IMAGE, builtin.name())]
        return not all(each.HasField("image") for each in there)


def _stamp() -> str:
    """Another one when what is in the images is another."""
    made = hashlib.sha256(repr((builtin.name(), sys.executable, sys.version)).encode())
    for above, directories, names in os.walk(Path(__file__).parent.parent):
        directories[:] = sorted(name for name in directories if name != "__pycache__")
        for name in sorted(names):
            found = os.stat(os.path.join(above, name))
            made.update(f"{above}/{name} {found.st_mtime_ns} {found.st_size}\n".encode())
    return made.hexdigest()[:16]


def _archives(cache: Path, stamp: str) -> list[Path]:
    """Made once for all clusters; those of other versions go. Raises OSError."""
    makers = {f"sandbox-{stamp}.tar": _write_sandbox, f"builtin-{stamp}.tar": builtin_archive.write}
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, write in makers.items():
        if not (cache / name).exists():
            scratch = cache / f"{name}.{os.getpid()}"
            write(scratch)
            scratch.replace(cache / name)
    for other in cache.glob("*.tar"):
        if other.name not in makers:
            other.unlink(missing_ok=True)
    return [cache / name for name in makers]


def _write_sandbox(path: Path) -> None:
    """Of the first process of a pod, which does nothing. Raises OSError."""

    def about(layer: str) -> dict[str, Any]:
        return {"architecture": architecture(), "os": "linux", "config": {"Entrypoint": ["/pause"]},
                "rootfs": {"type": "layers", "diff_ids": [layer]}}  # fmt: skip

    with io.BytesIO() as layer:
        with tarfile.open(fileobj=layer, mode="w") as out:
            builtin_archive.add(out, "pause", pause.program(), 0o755)
        builtin_archive.save(path, SANDBOX_IMAGE, layer, about)

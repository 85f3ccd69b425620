"""PersistentVolumes through claims: those that are directories of this node (`local`, `hostPath`).

Source: kubernetes pkg/kubelet/volumemanager/populator/desired_state_of_world_populator.go, pkg/volume/local/local.go
"""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

from sampan.api.errors import StatusError
from sampan.http import HttpError
from sampan.kubelet.admission import term_matches
from sampan.kubelet.volumes import host_path, mounts, ownership
from sampan.kubelet.volumes.errors import SetUpFailed, not_processed
from sampan.kubelet.volumes.setting import Mounted, Obj, Setting


async def set_up(volume: Obj, at: Setting) -> Mounted:
    """Raises VolumeError where it is not known what is to be mounted, SetUpFailed where that does not work."""
    source = volume["persistentVolumeClaim"]
    return await _mount(volume["name"], source["claimName"], at, read_only=bool(source.get("readOnly")))


async def set_up_ephemeral(volume: Obj, at: Setting) -> Mounted:
    """By a claim that is made for the pod."""
    return await _mount(volume["name"], f"{at.pod['metadata']['name']}-{volume['name']}", at, of_pod=True)


async def _mount(name: str, claim: str, at: Setting, *, read_only: bool = False, of_pod: bool = False) -> Mounted:
    try:
        pv = await _bound(name, claim, at, of_pod=of_pod)
    except SetUpFailed as error:
        raise not_processed(name, f"error processing PVC {at.namespace}/{claim}: {error}") from None
    spec, pv_name = pv["spec"], pv["metadata"]["name"]
    try:
        await _check_affinity(spec, at)
        if found := spec.get("hostPath"):
            path, only_read = host_path.on_machine(found["path"], at.host_paths)
            return Mounted(host_path.check(path, found.get("type") or ""), read_only or only_read, pv_name)
        if found := spec.get("local"):
            return Mounted(await _local(Path(found["path"]), pv_name, at, read_only=read_only), read_only, pv_name)
    except SetUpFailed as error:
        error.volume = pv_name
        raise
    raise unsupported(spec, pv_name)


async def _check_affinity(spec: Obj, at: Setting) -> None:
    """The scheduler has looked at it, but not every pod comes from the scheduler."""
    required = (spec.get("nodeAffinity") or {}).get("required")
    if not required:
        return
    step = "MountVolume.NodeAffinity check"
    try:
        meta = (await at.node())["metadata"]
    except (StatusError, HttpError) as error:
        raise SetUpFailed(_text(error), step=step) from None
    terms = required.get("nodeSelectorTerms") or ()
    if not any(term_matches(each, meta.get("labels") or {}, meta["name"]) for each in terms):
        raise SetUpFailed("no matching NodeSelectorTerms", step=step)


def unsupported(source: Obj, name: str) -> Exception:
    """What no code here can mount."""
    # DEVIATION: of volumes that are not a node's own there are none: no CSI drivers, no NFS or iSCSI, no images
    if driver := (source.get("csi") or {}).get("driver"):
        why = f"driver name {driver} not found in the list of registered CSI drivers"
        return SetUpFailed(f"kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: {why}", volume=name)
    return not_processed(name, f'failed to get Plugin from volumeSpec for volume "{name}" err=no volume plugin matched')


async def _bound(name: str, claim: str, at: Setting, *, of_pod: bool) -> Obj:
    """The volume that the claim is bound to."""
    try:
        pvc = await at.sources.claim(at.namespace, claim)
    except (StatusError, HttpError) as error:
        raise SetUpFailed(f"failed to fetch PVC from API server: {_text(error)}") from None
    meta, status = pvc["metadata"], pvc.get("status") or {}
    if of_pod and not _owned(meta, at.pod):
        pod = at.pod["metadata"]
        raise SetUpFailed(
            f"PVC {at.namespace}/{claim} was not created for pod {pod['namespace']}/{pod['name']} (pod is not owner)"
        )
    if "deletionTimestamp" in meta and not _was_used(at, pvc):
        raise SetUpFailed("PVC is being deleted")
    if status.get("phase") != "Bound":
        raise SetUpFailed("PVC is not bound")
    volume = pvc["spec"].get("volumeName")
    if not volume:
        raise SetUpFailed("PVC has empty pvc.Spec.VolumeName")
    try:
        pv = await at.sources.volume(volume)
    except (StatusError, HttpError) as error:
        raise SetUpFailed(f"failed to fetch PV {volume} from API server: {_text(error)}") from None
    claimed = pv["spec"].get("claimRef")
    if claimed is None:
        text = "but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim"
        raise SetUpFailed(f"found PV object {volume} {text}")
    if claimed.get("uid") != meta["uid"]:
        text = f"but its pv.Spec.ClaimRef.UID {claimed.get('uid', '')} does not point to claim.UID {meta['uid']}"
        raise SetUpFailed(f"found PV object {volume} {text}")
    if (mode := pv["spec"].get("volumeMode") or "Filesystem") != "Filesystem":
        # DEVIATION: block devices are not handed to containers
        why = "is specified in volumeMounts" if _is_mounted(name, at.pod) else "block volumes are not supported"
        raise SetUpFailed(f"volume {name} has volumeMode {mode}, but {why}")
    return pv


def _is_mounted(name: str, pod: Obj) -> bool:
    containers = [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]
    return any(mount["name"] == name for each in containers for mount in each.get("volumeMounts") or ())


def _owned(meta: Obj, pod: Obj) -> bool:
    return any(
        each.get("controller") and each.get("uid") == pod["metadata"]["uid"]
        for each in meta.get("ownerReferences") or ()
    )


def _was_used(at: Setting, pvc: Obj) -> bool:
    """By this pod, before the kubelet was started anew: its mount is still there."""
    return at.place.volume("local-volume", pvc["spec"].get("volumeName") or "-").exists()


def _text(error: StatusError | HttpError) -> str:
    return error.message if isinstance(error, StatusError) else str(error)


async def _local(source: Path, name: str, at: Setting, *, read_only: bool) -> Path:
    """A directory of the node, at the pod's own place for it."""
    target = at.place.volume("local-volume", name)
    if mounts.is_mounted(target):
        return target
    _bind(source, target, read_only)
    group, lazily = ownership.group_of(at.pod), ownership.on_mismatch_only(at.pod)
    if group is None or read_only:
        return target
    try:
        # it may hold millions of files: on a thread
        await asyncio.to_thread(ownership.give, target, group, if_mismatched=lazily)
    except BaseException:
        mounts.unmount(target)
        raise
    return target


def _bind(source: Path, target: Path, read_only: bool) -> None:
    try:
        kind = source.stat().st_mode
    except OSError:
        raise SetUpFailed(f'path "{source}" does not exist', step="MountVolume.NewMounter initialization") from None
    if not stat.S_ISDIR(kind):
        # DEVIATION: block devices are not formatted and mounted
        raise SetUpFailed("only directory and block device are supported")
    target.mkdir(0o750, parents=True, exist_ok=True)
    mounts.bind(os.path.realpath(source), target, read_only=read_only)

"""The provisioner that is built in: a volume is a directory of the host, for pods of the node that was chosen.

A directory is made only where a real node wants it; for a simulated one the object is all there is. Where the nodes are on
other machines the kubelet makes it, as its type is DirectoryOrCreate.

Source of the idea: kubernetes/pkg/volume/hostpath/host_path.go (hostPathProvisioner), rancher/local-path-provisioner
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from typing import Any

from sampan.api.hollow import is_hollow
from sampan.controllers.persistent_volumes.matching import class_of, mode, requested

Obj = dict[str, Any]
NAME = "sampan.io/host-path"
HOSTNAME = "kubernetes.io/hostname"
#: whoever the pod runs as may write
MODE = 0o777


class Refused(Exception):
    """This provisioner cannot make such a volume."""


def check(claim: Obj) -> None:
    """Raises Refused."""
    if mode(claim) == "Block":
        raise Refused(f"{NAME} does not support block volume provisioning")
    if claim["spec"].get("selector") is not None:
        raise Refused("claim.Spec.Selector is not supported for dynamic provisioning on host-path")


def spec_of(claim: Obj, storage_class: Obj, node: Obj | None, path: str) -> Obj:
    out: Obj = {
        "capacity": {"storage": requested(claim)},
        "accessModes": claim["spec"]["accessModes"],
        "volumeMode": "Filesystem",
        "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy") or "Delete",
        "storageClassName": class_of(claim),
        "hostPath": {"path": path, "type": "DirectoryOrCreate"},
    }
    if node is not None:
        meta = node["metadata"]
        hostname = (meta.get("labels") or {}).get(HOSTNAME, meta["name"])
        here = {"key": HOSTNAME, "operator": "In", "values": [hostname]}
        out["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}
    return out


def is_real(node: Obj) -> bool:
    return not is_hollow(node["metadata"].get("labels"))


def make(path: str) -> None:
    """Raises OSError."""
    os.makedirs(path, exist_ok=True)
    os.chmod(path, MODE)


async def remove(root: str, path: str) -> None:
    """What is in it too; nothing where there is nothing. Raises OSError, Refused."""
    for child in _children(root, path):
        # piece by piece, since other things have to go on meanwhile
        _unlink(child)
        await asyncio.sleep(0)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path)


def _children(root: str, path: str) -> list[str]:
    if os.path.dirname(os.path.realpath(path)) != os.path.realpath(root):
        raise Refused(f"{NAME} only deletes what is in {root}, and not {path}")
    return [os.path.join(path, name) for name in os.listdir(path)] if os.path.lexists(path) else []


def _unlink(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)

"""A pod's fsGroup: the group that owns what is in its volumes, and new files in them.

Source: kubernetes pkg/volume/volume_linux.go
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

Obj = dict[str, Any]
_WRITE, _READ, _SEARCH = 0o660, 0o440, 0o110


def group_of(pod: Obj) -> int | None:
    found = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    return None if found is None else int(found)


def on_mismatch_only(pod: Obj) -> bool:
    return (pod["spec"].get("securityContext") or {}).get("fsGroupChangePolicy") == "OnRootMismatch"


def user_of(pod: Obj) -> int | None:
    """Whom all of its containers run as, where that is said and the same of all."""
    spec = pod["spec"]
    of_pod = (spec.get("securityContext") or {}).get("runAsUser")
    found = {
        (each.get("securityContext") or {}).get("runAsUser", of_pod)
        for kind in ("initContainers", "containers", "ephemeralContainers")
        for each in spec.get(kind) or ()
    }
    return int(only) if len(found) == 1 and (only := found.pop()) is not None else None


def give(top: Path, group: int | None, *, read_only: bool = False, if_mismatched: bool = False) -> None:
    """All below `top`, and it, to `group`. `if_mismatched`: not when `top` itself is right already. Raises OSError."""
    if group is None or (if_mismatched and _is_right(top, group, read_only)):
        return
    # from the leaves to the root: if we are killed half-way, the root still tells that it is not done
    for directory, names, files in os.walk(top, topdown=False):
        for name in [*files, *names]:
            path = os.path.join(directory, name)
            if os.path.islink(path) or name in files:
                _give_one(path, group, read_only)
        _give_one(directory, group, read_only)


def _is_right(top: Path, group: int, read_only: bool) -> bool:
    found = top.stat()
    wanted = (_READ if read_only else _WRITE) | _SEARCH | stat.S_ISGID
    return found.st_gid == group and found.st_mode & wanted == wanted


def _give_one(path: str, group: int, read_only: bool) -> None:
    try:
        found = os.lstat(path)
        os.lchown(path, -1, group)
    except FileNotFoundError:
        return  # gone meanwhile: the volume may be in use
    if stat.S_ISLNK(found.st_mode):
        return
    wanted = _READ if read_only else _WRITE
    if stat.S_ISDIR(found.st_mode):
        wanted |= _SEARCH | stat.S_ISGID
    # changing the owner clears set-id bits, so that the mode is always written
    os.chmod(path, stat.S_IMODE(found.st_mode) | wanted)

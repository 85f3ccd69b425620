"""A path of the node itself. Source: kubernetes pkg/volume/hostpath/host_path.go"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Sequence
from pathlib import Path

from sampan.kubelet.volumes.errors import SetUpFailed
from sampan.kubelet.volumes.setting import Mounted, Obj, Setting

#: by type: how messages call it
_WORDS = {
    "DirectoryOrCreate": ("Directory", "directory"),
    "Directory": ("Directory", "directory"),
    "FileOrCreate": ("File", "file"),
    "File": ("File", "file"),
    "Socket": ("Socket", "socket file"),
    "CharDevice": ("CharDevice", "character device"),
    "BlockDevice": ("BlockDevice", "block device"),
}
_KINDS = {
    stat.S_IFDIR: "Directory",
    stat.S_IFREG: "File",
    stat.S_IFSOCK: "Socket",
    stat.S_IFCHR: "CharDevice",
    stat.S_IFBLK: "BlockDevice",
}


async def set_up(volume: Obj, at: Setting) -> Mounted:
    source = volume["hostPath"]
    path, read_only = on_machine(source["path"], at.host_paths)
    return Mounted(check(path, source.get("type") or ""), read_only)


def on_machine(path: str, mapped: Sequence[tuple[str, str, bool]]) -> tuple[str, bool]:
    """Where a path of the node is on the machine, and whether it may only be read: a node may have the machine's directories in other
    places (kind's extraMounts). The longest that fits counts."""
    whole = posixpath.normpath(path)
    for node, machine, read_only in sorted(mapped, key=lambda each: -len(each[0])):
        inner = node.rstrip("/")
        if whole == (inner or "/") or whole.startswith(f"{inner}/"):
            rest = whole[len(inner) :].lstrip("/")
            return (posixpath.join(machine, rest) if rest else machine), read_only
    return path, False


def check(path: str, kind: str) -> Path:
    """The path, which is of that kind now. Raises SetUpFailed."""
    if kind == "":
        return Path(path)
    if kind not in _WORDS:
        raise SetUpFailed(f"{kind} is an invalid volume type")
    wanted, words = _WORDS[kind]
    if not os.path.exists(path):
        if not kind.endswith("OrCreate"):
            raise SetUpFailed(f"hostPath {path} doesn't exist")
        _create(path, wanted)
        return Path(path)
    found = _KINDS.get(stat.S_IFMT(os.stat(path).st_mode))
    if found is None:
        why = "only recognise file, directory, socket, block device and character device"
        raise SetUpFailed(f"hostPath type check failed, {path} is not a {words}, unable to determine its type: {why}")
    if found != wanted:
        raise SetUpFailed(f"hostPath type check failed: {path} is not a {words}, it's a {found}")
    return Path(path)


def _create(path: str, wanted: str) -> None:
    try:
        if wanted == "Directory":
            os.makedirs(path, 0o755, exist_ok=True)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_CLOEXEC, 0o644))
    except OSError as error:
        verb = "mkdir" if wanted == "Directory" else "open"
        raise SetUpFailed(f"{verb} {path}: {(error.strerror or '').lower()}") from None

"""A directory as a layer's tar: what overlayfs holds there, in the form that images have.

The same content makes the same bytes: names in order, no names of users, times in whole seconds.

Source: https://github.com/opencontainers/image-spec/blob/main/layer.md (whiteouts), https://docs.kernel.org/filesystems/overlayfs.html
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tarfile
from pathlib import Path
from typing import BinaryIO

PREFIX, OPAQUE = ".wh.", ".wh..wh..opq"
_KEPT = ("security.capability", "user.")


class _Hashing:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha.update(data)
        return self._file.write(data)


def pack(directory: Path, target: Path) -> str:
    """The digest of the tar, which is the layer's name. Raises OSError."""
    with target.open("wb") as file:
        hashing = _Hashing(file)
        with tarfile.open(fileobj=hashing, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
            _Walk(tar).directory(directory, "")
    return f"sha256:{hashing.sha.hexdigest()}"


class _Walk:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._links: dict[tuple[int, int], str] = {}

    def directory(self, path: Path, name: str) -> None:
        if name and _attribute(path, "trusted.overlay.opaque") == b"y":
            self._tar.addfile(tarfile.TarInfo(f"{name}/{OPAQUE}"))
        for each in sorted(os.scandir(path), key=lambda entry: entry.name):
            self._entry(Path(each.path), f"{name}/{each.name}".lstrip("/"), each.stat(follow_symlinks=False))

    def _entry(self, path: Path, name: str, found: os.stat_result) -> None:
        if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
            above, _, last = name.rpartition("/")
            self._tar.addfile(tarfile.TarInfo(f"{above}/{PREFIX}{last}".lstrip("/")))
            return
        info = tarfile.TarInfo(name)
        info.mode, info.uid, info.gid, info.mtime = (
            stat.S_IMODE(found.st_mode),
            found.st_uid,
            found.st_gid,
            int(found.st_mtime),
        )
        info.pax_headers = _attributes(path)
        if stat.S_ISLNK(found.st_mode):
            info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
        elif stat.S_ISDIR(found.st_mode):
            info.type = tarfile.DIRTYPE
        elif stat.S_ISFIFO(found.st_mode):
            info.type = tarfile.FIFOTYPE
        elif not stat.S_ISREG(found.st_mode):
            return  # sockets and devices are of the machine, not of an image
        elif (first := self._links.setdefault((found.st_dev, found.st_ino), name)) != name:
            info.type, info.linkname = tarfile.LNKTYPE, first
        else:
            info.size = found.st_size
            with path.open("rb") as file:
                self._tar.addfile(info, file)
            return
        self._tar.addfile(info)
        if stat.S_ISDIR(found.st_mode):
            self.directory(path, name)


def _attributes(path: Path) -> dict[str, str]:
    out = {}
    with contextlib.suppress(OSError):
        for name in os.listxattr(path, follow_symlinks=False):
            if name.startswith(_KEPT):
                out[f"SCHILY.xattr.{name}"] = (_attribute(path, name) or b"").decode("utf-8", "surrogateescape")
    return out


def _attribute(path: Path, name: str) -> bytes | None:
    try:
        return os.getxattr(path, name, follow_symlinks=False)
    except OSError:
        return None


def size(directory: Path) -> tuple[int, int]:
    """Bytes and inodes."""
    total = inodes = 0
    for above, directories, files in os.walk(directory):
        inodes += len(directories) + len(files)
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(above, name)).st_size
    return total, inodes

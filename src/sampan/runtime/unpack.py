"""One layer's tar, laid out as overlayfs wants it, in a process of its own: `python -m sampan.runtime.unpack BLOB DIR ...`.

Whoever built the image is not trusted. Promises: nothing outside the directory is read, written or followed, whatever names and
links say, because every step goes through a descriptor of the directory before it and never through a symlink that the
kernel resolves; no more is written than allowed, and no more memory used than the process may have; device nodes are
not made, and of extended attributes only file capabilities and `user.*` are kept. The digest of the uncompressed tar is
computed on the way.

Symlinks in the middle of a name are resolved as if the layer were the root, as under Docker's chroot.

Source: https://github.com/opencontainers/image-spec/blob/main/layer.md, https://docs.kernel.org/filesystems/overlayfs.html
"""

from __future__ import annotations

import contextlib
import ctypes
import gzip
import hashlib
import json
import os
import resource
import signal
import stat
import sys
import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO

MEMORY = 1 << 30
PIECE = 1 << 18
#: what a tar adds to the files in it
OVERHEAD_PER_ENTRY = 16 << 10
_XATTR = "SCHILY.xattr."
_LINKS = 40
_PR_SET_PDEATHSIG = 1
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class BadLayer(Exception):
    """It cannot be unpacked; the message says why."""


class Hashed:
    """The uncompressed stream: hashed, and cut where it grows too long."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        magic = file.read(4)
        file.seek(0)
        if magic[:2] == b"\x1f\x8b":
            self._file: Any = gzip.GzipFile(fileobj=file)
        elif magic == b"\x28\xb5\x2f\xfd":
            self._file = _zstd(file)
        else:
            self._file = file
        self._left = limit
        self._hash = hashlib.sha256()

    def read(self, size: int = PIECE) -> bytes:
        data: bytes = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise BadLayer("layer is larger than allowed")
        self._hash.update(data)
        return data

    def digest(self) -> str:
        """Of the whole: reads what the tar reader left."""
        while self.read():
            continue
        return "sha256:" + self._hash.hexdigest()


def _zstd(file: BinaryIO) -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.ZstdFile(file)


class Tree:
    """A directory that is being filled. Names are relative to it; none leads out of it."""

    def __init__(self, path: str, opaque: str) -> None:
        self.root = os.open(path, _DIRECTORY)
        self._opaque = opaque
        self._last: tuple[tuple[str, ...], int] | None = None

    def close(self) -> None:
        self._forget()
        os.close(self.root)

    def _forget(self) -> None:
        if self._last is not None:
            os.close(self._last[1])
            self._last = None

    def parent(self, parts: tuple[str, ...], make: bool = True) -> int:
        """A descriptor of the directory that `parts` names; valid until the next call."""
        if self._last is None or self._last[0] != parts:
            found = self._walk(parts, make)
            self._forget()
            self._last = parts, found
        return self._last[1]

    def _walk(self, parts: tuple[str, ...], make: bool) -> int:
        stack = [os.dup(self.root)]
        todo, links = list(reversed(parts)), 0
        try:
            while todo:
                part = todo.pop()
                if part == "..":
                    if len(stack) > 1:
                        os.close(stack.pop())
                    continue
                here = stack[-1]
                try:
                    mode = os.lstat(part, dir_fd=here).st_mode
                except FileNotFoundError:
                    if not make:
                        raise BadLayer(f"{'/'.join(parts)} does not exist") from None
                    os.mkdir(part, 0o755, dir_fd=here)
                    mode = stat.S_IFDIR
                if stat.S_ISLNK(mode):
                    links += 1
                    if links > _LINKS:
                        raise BadLayer(f"too many symbolic links in {'/'.join(parts)}")
                    target = os.readlink(part, dir_fd=here)
                    if target.startswith("/"):
                        for each in stack[1:]:
                            os.close(each)
                        del stack[1:]
                    todo += [each for each in reversed(target.split("/")) if each not in ("", ".")]
                elif stat.S_ISCHR(mode):  # a whiteout, and now something below it
                    self.directory(here, part)
                    todo.append(part)
                elif not stat.S_ISDIR(mode):
                    raise BadLayer(f"{'/'.join(parts)} is not a directory")
                else:
                    stack.append(os.open(part, _DIRECTORY, dir_fd=here))
            return stack.pop()
        finally:
            for each in stack:
                os.close(each)

    def directory(self, here: int, name: str) -> None:
        """One of this name is there, with nothing of the layers below if they are whited out."""
        try:
            mode = os.lstat(name, dir_fd=here).st_mode
        except FileNotFoundError:
            os.mkdir(name, 0o755, dir_fd=here)
            return
        if not stat.S_ISDIR(mode):
            os.unlink(name, dir_fd=here)
            os.mkdir(name, 0o755, dir_fd=here)
            if stat.S_ISCHR(mode):
                self.hide(here, name)

    def hide(self, here: int, name: str) -> None:
        """What the layers below have in this directory."""
        inner = os.open(name, _DIRECTORY, dir_fd=here)
        try:
            os.setxattr(inner, self._opaque, b"y")
        finally:
            os.close(inner)

    def clear(self, here: int, name: str) -> None:
        """Make room for something of this name."""
        try:
            mode = os.lstat(name, dir_fd=here).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(mode):
            os.unlink(name, dir_fd=here)
            return
        inner = os.open(name, _DIRECTORY, dir_fd=here)
        try:
            for each in os.listdir(inner):
                self.clear(inner, each)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=here)


class Unpacker:
    """`owner`: files get the owners that the archive says; without root they are whoever's runs this."""

    def __init__(self, path: str, *, limit: int, entries: int, owner: bool) -> None:
        opaque = "trusted.overlay.opaque" if owner else "user.overlay.opaque"
        self._tree = Tree(path, opaque)
        self._left = limit
        self._entries = entries
        self._owner = owner
        #: directories get their modes and times last: what comes into them changes both
        self._directories: list[tuple[tuple[str, ...], tarfile.TarInfo]] = []
        self.size = 0
        self.inodes = 0

    def run(self, stream: Hashed) -> None:
        reader: Any = stream
        try:
            with tarfile.open(fileobj=reader, mode="r|") as archive:
                for member in self._members(archive):
                    self._entry(archive, member)
            for parts, member in reversed(self._directories):
                self._finish(parts, member)
        except (tarfile.TarError, EOFError, ValueError, OSError, RecursionError) as error:
            raise BadLayer(f"invalid layer: {error}") from error
        finally:
            self._tree.close()

    def _members(self, archive: Any) -> Iterator[tarfile.TarInfo]:
        while (member := archive.next()) is not None:
            archive.members = []  # or it remembers them all
            self._entries -= 1
            if self._entries < 0:
                raise BadLayer("layer has more entries than allowed")
            yield member

    def _entry(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = _parts(member.name)
        if not parts:
            if member.isdir():
                self._directories.append((parts, member))
            return
        name = parts[-1]
        here = self._tree.parent(parts[:-1])
        if name.startswith(".wh."):
            self._whiteout(here, name[4:])
            return
        if member.isdir():
            self._tree.directory(here, name)
            self._directories.append((parts, member))
        elif member.isfile():
            self._file(archive, member, here, name)
        elif member.issym():
            self._tree.clear(here, name)
            os.symlink(member.linkname, name, dir_fd=here)
            self._own(member, here, name)
        elif member.islnk():
            self._link(member, parts)
        elif member.isfifo():
            self._tree.clear(here, name)
            os.mkfifo(name, dir_fd=here)
            self._own(member, here, name)
            os.chmod(name, member.mode & 0o7777, dir_fd=here)
        # DEVIATION: device nodes are left out; a container gets its own /dev, and its cgroup denies all others
        self.inodes += 1

    def _whiteout(self, here: int, name: str) -> None:
        if name == ".wh..opq":
            self._tree.hide(here, ".")
            return
        if name.startswith(".wh."):
            return  # aufs' own notes
        if name in ("", ".", ".."):
            raise BadLayer(f"invalid whiteout name {name!r}")
        try:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=here)
        except FileExistsError:  # this layer has it anew
            if stat.S_ISDIR(os.lstat(name, dir_fd=here).st_mode):
                self._tree.hide(here, name)

    def _file(self, archive: tarfile.TarFile, member: tarfile.TarInfo, here: int, name: str) -> None:
        self._charge(member.size)
        self._tree.clear(here, name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        out = os.open(name, flags, 0o600, dir_fd=here)
        try:
            source = archive.extractfile(member)
            assert source is not None
            while data := source.read(PIECE):
                view = memoryview(data)
                while view:
                    view = view[os.write(out, view) :]
            if self._owner:
                os.fchown(out, member.uid, member.gid)
            os.fchmod(out, member.mode & 0o7777)
            self._attributes(member, out)
            _touch(out, member)
        finally:
            os.close(out)

    def _link(self, member: tarfile.TarInfo, parts: tuple[str, ...]) -> None:
        target = _parts(member.linkname)
        if not target:
            raise BadLayer(f"invalid hard link to {member.linkname!r}")
        source = os.dup(self._tree.parent(target[:-1], make=False))
        try:
            here = self._tree.parent(parts[:-1])
            if target != parts:
                self._tree.clear(here, parts[-1])
                os.link(target[-1], parts[-1], src_dir_fd=source, dst_dir_fd=here, follow_symlinks=False)
        finally:
            os.close(source)

    def _charge(self, size: int) -> None:
        if size < 0 or size > self._left:
            raise BadLayer("layer is larger than allowed")
        self._left -= size
        self.size += size

    def _own(self, member: tarfile.TarInfo, here: int, name: str) -> None:
        if self._owner:
            os.chown(name, member.uid, member.gid, dir_fd=here, follow_symlinks=False)

    def _finish(self, parts: tuple[str, ...], member: tarfile.TarInfo) -> None:
        with contextlib.suppress(BadLayer):  # replaced since by something else
            here = self._tree.parent(parts, make=False)
            if self._owner:
                os.fchown(here, member.uid, member.gid)
            os.fchmod(here, member.mode & 0o7777)
            self._attributes(member, here)
            _touch(here, member)

    def _attributes(self, member: tarfile.TarInfo, file: int) -> None:
        for key, value in member.pax_headers.items():
            name = key.removeprefix(_XATTR) if key.startswith(_XATTR) else ""
            if name.startswith("user.overlay.") or not name.startswith(("user.", "security.capability")):
                continue
            with contextlib.suppress(PermissionError):  # capabilities need root
                os.setxattr(file, name, value.encode("utf-8", "surrogateescape"))


def _parts(name: str) -> tuple[str, ...]:
    """Raises BadLayer if the name leads out."""
    out: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not out:
                raise BadLayer(f"{name!r} is outside of the layer")
            out.pop()
        elif part not in ("", "."):
            out.append(part)
    return tuple(out)


def _touch(file: int, member: tarfile.TarInfo) -> None:
    with contextlib.suppress(OverflowError, OSError):  # a time that the file system cannot hold
        os.utime(file, (member.mtime, member.mtime))


def unpack(blob: str, target: str, *, limit: int, entries: int, owner: bool) -> dict[str, Any]:
    """What was written: `diff_id`, `size`, `inodes`. Raises BadLayer."""
    with open(blob, "rb") as file:
        stream = Hashed(file, limit + entries * OVERHEAD_PER_ENTRY)
        unpacker = Unpacker(target, limit=limit, entries=entries, owner=owner)
        try:
            unpacker.run(stream)
            return {"diff_id": stream.digest(), "size": unpacker.size, "inodes": unpacker.inodes}
        except (OSError, EOFError, ValueError) as error:
            raise BadLayer(f"invalid layer: {error}") from error


def confine() -> None:
    """This process uses no more memory than it may, leaves no dump, and ends with its parent."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(arguments: list[str]) -> int:
    blob, target, limit, entries = arguments
    os.umask(0)
    confine()
    try:
        done = unpack(blob, target, limit=int(limit), entries=int(entries), owner=os.geteuid() == 0)
    except BadLayer as error:
        done = {"error": str(error)}
    except MemoryError:
        done = {"error": "layer needs more memory than allowed"}
    print(json.dumps(done))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""COPY and ADD: which files are meant, what they hold together, and where they go in a root file system that nobody trusts.

The context is never left: names that lead out of it are mistakes. In the image, links are resolved as if its root were the
root, so that no link of an image leads to the machine's own files.

Source: https://docs.docker.com/reference/dockerfile/#copy, #add
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import posixpath
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sampan.builder.dockerfile import Mistake

_LINKS = 40
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True, slots=True)
class Owner:
    """`mode` None: as it is."""

    uid: int = 0
    gid: int = 0
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """`name`: below `root`, empty for all of it."""

    root: Path
    name: str

    @property
    def path(self) -> Path:
        return self.root / self.name if self.name else self.root


def sources(root: Path, wanted: list[str], ignored: Callable[[str], bool], line: int) -> list[Source]:
    """What patterns name in a context or in another stage. Raises Mistake."""
    out: list[Source] = []
    for text in wanted:
        name = posixpath.normpath("/" + text).lstrip("/")
        if any(sign in name for sign in "*?["):
            found = [Source(root, each) for each in sorted(_glob(root, name)) if not ignored(each)]
            if not found:
                raise Mistake(f"line {line}: no source files were specified: {text} matches nothing")
            out += found
            continue
        path = within(root, name, follow_last=False)
        if (not path.exists() and not path.is_symlink()) or (name and ignored(name)):
            raise Mistake(f'line {line}: "/{name}": not found')
        out.append(Source(root, str(path.relative_to(root)) if path != root else ""))
    return out


def _glob(root: Path, pattern: str) -> Iterator[str]:
    parts = pattern.split("/")

    def go(directory: Path, number: int, above: str) -> Iterator[str]:
        for each in os.scandir(directory):
            name = f"{above}/{each.name}".lstrip("/")
            if fnmatch.fnmatchcase(each.name, parts[number]):
                if number == len(parts) - 1:
                    yield name
                elif each.is_dir(follow_symlinks=False):
                    yield from go(Path(each.path), number + 1, name)

    yield from go(root, 0, "")


def files(source: Source, ignored: Callable[[str], bool]) -> Iterator[str]:
    """Names below the source, directories before what is in them; empty: the source itself."""
    if source.path.is_symlink() or not source.path.is_dir():
        yield ""
        return
    for above, directories, names in os.walk(source.path):
        here = os.path.relpath(above, source.path)
        here = "" if here == "." else here
        directories.sort()
        kept = [name for name in directories if not ignored(posixpath.join(source.name, here, name).lstrip("/"))]
        directories[:] = [name for name in kept if not os.path.islink(os.path.join(above, name))]
        yield from (posixpath.join(here, name) for name in kept)
        for name in sorted(names):
            if not ignored(posixpath.join(source.name, here, name).lstrip("/")):
                yield posixpath.join(here, name)


def digest(found: list[Source], ignored: Callable[[str], bool]) -> str:
    """Of names, modes and contents: times do not count."""
    sha = hashlib.sha256()
    for source in found:
        sha.update(f"source {posixpath.basename(source.name)}\0".encode())
        for name in files(source, ignored):
            path = source.path / name if name else source.path
            status = path.lstat()
            sha.update(f"{name}\0{status.st_mode:o}\0".encode())
            if stat.S_ISLNK(status.st_mode):
                sha.update(os.readlink(path).encode())
            elif stat.S_ISREG(status.st_mode):
                with path.open("rb") as file:
                    sha.update(hashlib.file_digest(file, "sha256").digest())
    return sha.hexdigest()


def within(root: Path, name: str, *, follow_last: bool = True) -> Path:
    """Where a path of the image is on this machine. Raises Mistake for links without end."""
    left = [part for part in name.split("/") if part not in ("", ".")]
    here: list[str] = []
    links = 0
    while left:
        part = left.pop(0)
        if part == "..":
            here = here[:-1]
            continue
        path = root.joinpath(*here, part)
        if path.is_symlink() and (left or follow_last):
            links += 1
            if links > _LINKS:
                raise Mistake(f"too many levels of symbolic links: {name}")
            target = os.readlink(path)
            here = [] if target.startswith("/") else here
            left = [each for each in target.split("/") if each not in ("", ".")] + left
        else:
            here.append(part)
    return root.joinpath(*here)


def make_directory(root: Path, name: str, owner: Owner) -> Path:
    """With those above it; what is there stays as it is."""
    path = within(root, name)
    for each in reversed([path, *path.parents]):
        # what a link in the middle of the name leads to may be missing as well
        if each.is_relative_to(root) and not each.exists():
            each.mkdir()
            each.chmod(0o755)
            os.chown(each, owner.uid, owner.gid)
    return path


def put(
    root: Path, found: list[Source], target: str, owner: Owner, ignored: Callable[[str], bool], line: int, *, unpack: bool = False
) -> None:  # fmt: skip
    """Raises Mistake, OSError."""
    into = target.endswith("/") or target in (".", "")
    if len(found) > 1 and not into:
        raise Mistake(
            f"line {line}: when using COPY with more than one source file, the destination must be a directory and end with a /"
        )
    place = within(root, target)
    for source in found:
        if source.path.is_dir() and not source.path.is_symlink():
            top = make_directory(root, target, Owner(owner.uid, owner.gid))
            for name in files(source, ignored):
                _copy(source.path / name, top, name, owner, root)
        elif unpack and source.name.endswith(_ARCHIVES) and tarfile.is_tarfile(source.path):
            top = make_directory(root, target, Owner(owner.uid, owner.gid))
            with tarfile.open(source.path) as tar:
                tar.extractall(top, filter="tar")
        elif into or place.is_dir():
            top = make_directory(root, target, Owner(owner.uid, owner.gid))
            _copy(source.path, top, posixpath.basename(source.name), owner, root)
        else:
            above, _, last = target.rpartition("/")
            _copy(source.path, make_directory(root, above, Owner(owner.uid, owner.gid)), last, owner, root)


def _copy(path: Path, top: Path, name: str, owner: Owner, root: Path) -> None:
    below = str(top.relative_to(root)) if top != root else ""
    target = within(root, posixpath.join(below, name), follow_last=path.is_dir() and not path.is_symlink())
    status = path.lstat()
    if stat.S_ISDIR(status.st_mode):
        if not target.is_dir():
            target.mkdir()
    else:
        if target.is_dir() and not target.is_symlink():
            raise Mistake(f"cannot copy {name} over a directory")
        target.unlink(missing_ok=True)
        if stat.S_ISLNK(status.st_mode):
            target.symlink_to(os.readlink(path))
        elif stat.S_ISREG(status.st_mode):
            shutil.copyfile(path, target)
        else:
            return
    os.chown(target, owner.uid, owner.gid, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        target.chmod(stat.S_IMODE(status.st_mode) if owner.mode is None else owner.mode)
        os.utime(target, (status.st_mtime, status.st_mtime))

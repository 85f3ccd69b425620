"""Files that change all at once: what a ConfigMap's volume looks like, so that a reader never sees half of an update.

    ..2026_11_28_17_10_00.4711/   the files
    ..data -> ..2026_11_28_17_10_00.4711
    key -> ..data/key             what users see; a path's first part where it has several

An update writes another directory, and renames a new `..data` over the old one. Programs watch for that, so the layout is upstream's.

Source: kubernetes pkg/volume/util/atomic_writer.go
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

DATA, NEW = "..data", "..data_tmp"


@dataclass(frozen=True, slots=True)
class File:
    """`user`: who shall own it; None: whoever writes it."""

    data: bytes
    mode: int
    user: int | None = None


Payload = Mapping[str, File]


def write(directory: Path, payload: Payload, *, now: float, own: Callable[[Path], None] = lambda _: None) -> bool:
    """Make `directory` show `payload`; `own` sets the new files' owners before anyone sees them. True: something has changed.
    Raises ValueError for paths that lead out of it, OSError."""
    files = {_checked(path): file for path, file in payload.items()}
    before = _current(directory)
    old = set(_walk(directory / before)) if before else set()
    gone = old - {str(parent) for path in files for parent in (path, *PurePosixPath(path).parents)}
    if before and not gone and not _differs(directory / before, files):
        return False
    made = _new_directory(directory, now)
    try:
        _fill(made, files)
        own(made)
        (directory / NEW).unlink(missing_ok=True)  # of a writer that was killed
        _link_all(directory, files)
        (directory / NEW).symlink_to(made.name)
        os.replace(directory / NEW, directory / DATA)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    for path in gone:
        if "/" not in path:
            (directory / path).unlink(missing_ok=True)
    # the one before, and those of writers that were killed
    for each in directory.iterdir():
        if each.name.startswith("..") and each.name not in (DATA, made.name):
            shutil.rmtree(each, ignore_errors=True)
    return True


def is_written(directory: Path) -> bool:
    return bool(_current(directory))


def _checked(path: str) -> str:
    if not path:
        raise ValueError(f'invalid path: must not be empty: "{path}"')
    if path.startswith("/"):
        raise ValueError(f"invalid path: must be relative path: {path}")
    if len(path) > 4096:
        raise ValueError("invalid path: must be less than or equal to 4096 characters")
    parts = path.split("/")
    if ".." in parts:
        raise ValueError(f"invalid path: must not contain '..': {path}")
    if any(len(part) > 255 for part in parts):
        raise ValueError("invalid path: filenames must be less than or equal to 255 characters")
    if parts[0].startswith(".."):
        raise ValueError(f"invalid path: must not start with '..': {path}")
    return str(PurePosixPath(path))


def _current(directory: Path) -> str:
    try:
        return os.readlink(directory / DATA)
    except FileNotFoundError:
        return ""


def _walk(top: Path) -> list[str]:
    """Files and directories, as paths from there."""
    return [str(each.relative_to(top)) for each in top.rglob("*")]


def _differs(top: Path, files: Payload) -> bool:
    for path, file in files.items():
        try:
            found = top / path
            if found.read_bytes() != file.data:
                return True
        except OSError:
            return True
    return False


def _new_directory(directory: Path, now: float) -> Path:
    stamp = datetime.fromtimestamp(now, UTC).strftime("..%Y_%m_%d_%H_%M_%S.")
    made = directory / f"{stamp}{secrets.randbelow(10**10)}"
    made.mkdir(0o755)
    os.chmod(made, 0o755)
    return made


def _fill(made: Path, files: Payload) -> None:
    for path, file in files.items():
        target = made / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
        os.chmod(target, file.mode)
        if file.user is not None:
            os.chown(target, file.user, -1)


def _link_all(directory: Path, files: Payload) -> None:
    for name in {path.partition("/")[0] for path in files}:
        if not os.path.lexists(directory / name):
            (directory / name).symlink_to(f"{DATA}/{name}")

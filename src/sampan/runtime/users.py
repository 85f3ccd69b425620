"""Who a container's first process is: numbers and groups from its image's own `/etc/passwd` and `/etc/group`.

Those files are the image's, and so is every link on the way to them: they are read as if its root were ours.

Source: containerd pkg/oci spec_opts.go (WithUser, WithAdditionalGIDs), moby/sys user (rules)
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.cri import pb
from sampan.runtime.errors import Invalid, NotFound
from sampan.runtime.unpack import BadLayer, Tree

_LONGEST = 1 << 20
_LINKS = 10


@dataclass(frozen=True, slots=True)
class User:
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


def find(root: Path, context: Any, image_user: str) -> User:
    """For a security context, and what the image says. Raises NotFound, Invalid."""
    passwd, group = _table(root, "etc/passwd", 7), _table(root, "etc/group", 4)
    if context.HasField("run_as_group") and not (context.HasField("run_as_user") or context.run_as_username):
        raise Invalid("user group is specified without user")
    if context.HasField("run_as_user"):
        name, group_name = str(context.run_as_user.value), ""
    elif context.run_as_username:
        name, group_name = context.run_as_username, ""
    else:
        name, _, group_name = image_user.partition(":")
    uid, gid, home, login = _user(passwd, name or "0")
    if context.HasField("run_as_group"):
        gid = context.run_as_group.value
    elif group_name:
        gid = _group(group, group_name)
    extra = list(context.supplemental_groups)
    if context.supplemental_groups_policy == pb.Merge and login:
        extra += [int(row[2]) for row in group if login in row[3].split(",") and row[2].isdigit()]
    return User(uid, gid, tuple(dict.fromkeys((gid, *extra))), home)


def _user(passwd: list[list[str]], name: str) -> tuple[int, int, str, str]:
    for row in passwd:
        if (row[0] == name or row[2] == name) and row[2].isdigit() and row[3].isdigit():
            return int(row[2]), int(row[3]), row[5] or "/", row[0]
    if name.isdigit() and int(name) < 1 << 31:
        return int(name), 0, "/", ""
    raise NotFound(f"unable to find user {name}: no matching entries in passwd file")


def _group(group: list[list[str]], name: str) -> int:
    if name.isdigit() and int(name) < 1 << 31:
        return int(name)
    for row in group:
        if row[0] == name and row[2].isdigit():
            return int(row[2])
    raise NotFound(f"unable to find group {name}: no matching entries in group file")


def _table(root: Path, name: str, columns: int) -> list[list[str]]:
    lines = read_inside(root, name).decode(errors="replace").splitlines()
    return [row for row in (line.strip().split(":") for line in lines) if len(row) >= columns]


def read_inside(root: Path, name: str) -> bytes:
    """A file under a root that is not trusted; nothing where there is none."""
    tree = Tree(str(root), "")
    try:
        for _ in range(_LINKS):
            *way, last = [part for part in name.split("/") if part and part != "."] or [""]
            here = tree.parent(tuple(way), make=False)
            mode = os.lstat(last, dir_fd=here).st_mode
            if stat.S_ISLNK(mode):
                target = os.readlink(last, dir_fd=here)
                name = target if target.startswith("/") else "/".join((*way, target))
            elif stat.S_ISREG(mode):
                file = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here)
                with open(file, "rb") as found:
                    return found.read(_LONGEST)
            else:
                return b""
    except (OSError, BadLayer):
        return b""
    finally:
        tree.close()
    return b""

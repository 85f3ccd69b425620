"""OCI runtimes as programs: what they are called with, and what they must not see.

    runc        as it is
    crun        refuses machines with both versions of control groups, where version 2 still has a controller: it is started
                in a mount namespace of its own, without version 2

Source: runc(8), crun(1)
"""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from sampan.runtime import cgroups

KNOWN = ("runc", "crun")


@dataclass(frozen=True, slots=True)
class OciRuntime:
    """`name`: the handler that pods ask for. `program`: a path. `systemd`: who makes control groups."""

    name: str
    program: str
    systemd: bool = False

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("--systemd-cgroup",) if self.systemd else ()


def find(name: str, directory: Path, *, systemd: bool) -> OciRuntime:
    """By a program's name or path. `directory`: for a wrapper, should it need one."""
    program = shutil.which(name) or name
    kind = Path(program).name
    if kind == "crun" and cgroups.hybrid():
        program = str(_without_version_2(program, directory))
    return OciRuntime(kind, program, systemd)


def handlers(default: str, directory: Path, *, systemd: bool) -> dict[str, OciRuntime]:
    """By what pods ask for; nothing is the default."""
    first = find(default, directory, systemd=systemd)
    others = {name: find(name, directory, systemd=systemd) for name in KNOWN if shutil.which(name)}
    return {**others, first.name: first, "": first}


def _without_version_2(program: str, directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    point = cgroups.mounts()[""]
    # made private first: what is unmounted below a shared mount would be unmounted for everyone
    around = shlex.quote(str(_mount_of(point.parent)))
    hide = f'mount --make-private {around}; umount -l {shlex.quote(str(point))}; exec {shlex.quote(program)} "$@"'
    script = directory / "crun"
    script.write_text(f'#!/bin/sh\nexec unshare -m --propagation unchanged /bin/sh -c {shlex.quote(hide)} crun "$@"\n')
    script.chmod(0o755)
    return script


def _mount_of(path: Path) -> Path:
    while not path.is_mount():
        path = path.parent
    return path

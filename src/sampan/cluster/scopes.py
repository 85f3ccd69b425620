"""Out of the login session: under systemd, a cluster's processes run in scopes of their own, below `sampan.slice`.

A session's end takes all of its scope's processes along where logind has KillUserProcesses=yes, sessions of their own or not.
A scope is not below the user's manager, so that nobody's logout stops it. The process is the same as without: `systemd-run`
registers its own id and becomes the program, so that ids, output and inherited files stay as they are.

Source: systemd-run(1), systemd.slice(5), logind.conf(5), sd_booted(3)
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

SLICE = "sampan.slice"
#: what only a running systemd has: its mark, and where root speaks to it
_MARKS = (Path("/run/systemd/system"), Path("/run/systemd/private"))


def manager() -> str:
    """The path of systemd-run, where systemd is this machine's first process and this user may ask it; else empty."""
    try:
        first = Path("/proc/1/comm").read_text().strip()
    except OSError:
        first = ""
    well = chosen(first, root=os.geteuid() == 0, booted=all(mark.exists() for mark in _MARKS))
    return (shutil.which("systemd-run") or "") if well else ""


def chosen(first: str, *, root: bool, booted: bool) -> bool:
    """Are scopes to be used? `first`: the name of process 1, which in a container may be another than the machine's."""
    return first == "systemd" and root and booted


def scoped(command: Sequence[str], *, runner: str, description: str) -> list[str]:
    """`command` as it is to be started. `runner`: what `manager` found; empty: as it is."""
    if not runner:
        return list(command)
    options = ["--scope", "--quiet", "--collect", f"--slice={SLICE}", f"--description={description}"]
    return [runner, *options, "--", *command]

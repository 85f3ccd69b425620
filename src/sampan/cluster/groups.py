"""Control groups that stopped nodes left: removed from every hierarchy.

Source: cgroups(7)
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def remove(name: str, *, empty: bool = False) -> None:
    """`name` and everything below it, wherever it is; with `empty` only if nothing is below. What still has processes stays."""
    for hierarchy in (ROOT, *ROOT.glob("*/")):
        top = hierarchy / name
        if not top.is_dir():
            continue
        below = [] if empty else [Path(directory) for directory, _, _ in os.walk(top, topdown=False)]
        for directory in (*below, top):
            with contextlib.suppress(OSError):
                directory.rmdir()

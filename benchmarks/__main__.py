"""Figures beside their budgets: `make bench`, or `python -m benchmarks [--quick] [NAME...]`.

Medians of several runs, in this process and over the loopback; run it on a quiet machine.
"""

from __future__ import annotations

import subprocess
import sys

ALL = (
    "startup", "store", "api", "authorization", "admission", "customresources", "cel", "client", "controllers",
    "scheduler", "virtual_time", "node", "cluster", "logs", "streams", "network", "dns", "scale",
)  # fmt: skip


def main(arguments: list[str]) -> int:
    """Each in a process of its own, so that none has the other's garbage. The number of those that failed."""
    flags = [name for name in arguments if name.startswith("-")]
    failed = 0
    for name in [name for name in arguments if name not in flags] or ALL:
        print(f"-- {name}", flush=True)
        failed += subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *flags]).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

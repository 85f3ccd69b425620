"""The machine itself is out of memory: the kernel's log says whom it killed, and the Node has an event of it.

What is killed for a container's own limit is that container's story, and told by its status.

Source: kubernetes pkg/kubelet/oom/oom_watcher_linux.go, github.com/google/cadvisor utils/oomparser; Documentation/ABI/testing/dev-kmsg
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger("sampan.kubelet")
_KILLED = re.compile(
    r"oom-kill:constraint=.*?,(?P<where>global_oom|oom_memcg=[^,]*),task_memcg=(?P<group>[^,]*),task=(?P<name>.*),pid=(?P<pid>\d+),uid="
)
MAX_RECORD = 8192


def victim(record: str) -> tuple[str, int] | None:
    """The process that a record of the kernel's log is about, if the whole machine was short of memory."""
    match = _KILLED.search(record)
    if match is None or (match["where"] != "global_oom" and match["group"] != "/"):
        return None
    return match["name"], int(match["pid"])


class OomWatcher:
    """`event`: a type, reason and message about the node."""

    def __init__(self, event: Callable[[str, str, str], None], path: Path = Path("/dev/kmsg")) -> None:
        self._event = event
        self._path = path

    async def run(self) -> None:
        """Until cancelled; at once where the log cannot be read, as in a container."""
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            log.info("cannot watch for a machine out of memory: %s: %s", self._path, error.strerror)
            return
        loop = asyncio.get_running_loop()
        try:
            with contextlib.suppress(OSError):
                os.lseek(file, 0, os.SEEK_END)  # what was before us is not our news
            loop.add_reader(file, self._read, file)
            await asyncio.Event().wait()
        finally:
            loop.remove_reader(file)
            os.close(file)

    def _read(self, file: int) -> None:
        try:
            record = os.read(file, MAX_RECORD).decode(errors="replace")
        except (BlockingIOError, BrokenPipeError):
            return  # EPIPE: records were overwritten before we read them; the next call goes on with the oldest
        found = victim(record)
        if found is not None:
            self._event("Warning", "SystemOOM", f"System OOM encountered, victim process: {found[0]}, pid: {found[1]}")

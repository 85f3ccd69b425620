"""A cluster's processes: begun so that they outlive whoever began them, found again by pid and start time, stopped by pid.

Each runs in a session of its own (under systemd, outside of the login session: `scopes`) with its output in a file. Where a node's namespace is given, it is entered before
anything of ours runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sampan.cluster import scopes
from sampan.cluster.state import Cluster

STOP_SECONDS = 15.0
#: `sampan`, as this process is it
OURS = (sys.executable, "-m", "sampan.cli")


def begin(
    cluster: Cluster, name: str, command: Sequence[str], *, program: Sequence[str] = OURS, namespace: Path | None = None,
    fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:  # fmt: skip
    """`command`: what follows `program`. Notes the process's id under `name`. Raises OSError."""
    whole = [*program, *command]
    if namespace is not None:
        whole = ["nsenter", f"--net={namespace}", "--", *whole]
    whole = _scoped(cluster, name, whole)
    # gRPC need not look after forks: what is forked here is replaced at once
    env = {**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "false"}
    log = cluster.log(name)
    log.parent.mkdir(parents=True, exist_ok=True)
    if not fds:
        _note(cluster, name, whole)
    with _alone(cluster, name), open(log, "ab") as output:
        process = subprocess.Popen(
            whole, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=fds, env=env, start_new_session=True
        )
        cluster.note_pid(process.pid, name)
    return process


def note(cluster: Cluster, name: str, command: Sequence[str]) -> None:
    """How it is started again, by others than us (`keep.sh`)."""
    _note(cluster, name, _scoped(cluster, name, [*OURS, *command]))


def _scoped(cluster: Cluster, name: str, whole: Sequence[str]) -> list[str]:
    return scopes.scoped(whole, runner=scopes.manager(), description=f"{name} of the cluster {cluster.name} of sampan")


def _note(cluster: Cluster, name: str, whole: Sequence[str]) -> None:
    (cluster.directory / f"{name}.command").write_text(shlex.join(whole) + "\n")


@contextlib.contextmanager
def _alone(cluster: Cluster, name: str) -> Iterator[None]:
    """Nobody else starts it meanwhile."""
    with open(cluster.directory / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def stop(pids: Iterable[int], seconds: float = STOP_SECONDS) -> None:
    """Ask all of them to end at once, and end those that have not after a while."""
    handles: dict[int, int] = {}
    try:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                handles[os.pidfd_open(pid)] = pid
        _signal(handles, signal.SIGTERM)
        left = _wait(dict(handles), seconds)
        _signal(left, signal.SIGKILL)
        _wait(left, seconds)
    finally:
        for handle in handles:
            os.close(handle)


def _signal(handles: dict[int, int], number: int) -> None:
    for handle in handles:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)


def _wait(left: dict[int, int], seconds: float) -> dict[int, int]:
    """Those that have not ended by then. A process of ours that ended is reaped."""
    until = time.monotonic() + seconds
    while left and (remaining := until - time.monotonic()) > 0:
        ended, _, _ = select.select(list(left), [], [], remaining)
        for handle in ended:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(left[handle], os.WNOHANG)
            del left[handle]
    return left

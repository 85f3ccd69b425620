"""Whether a server answers others while something is done to it.

Waits are counted in the time that this process works, all its threads together, and the limit is a multiple of what a
known piece of work takes at that moment: neither a busy nor a slow machine is a failure. Without its limits each of the
attacks would keep the server for seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tests.conftest import Local

#: how late an answer may be, in pieces of `_work` (each about 10 ms), and how often we ask, in seconds
WITHIN, EVERY = 40, 0.005
PROBES = ("/readyz", "/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt")


@dataclass
class Probes:
    """`waits`: seconds from when each request was due to its answer."""

    waits: list[float] = field(default_factory=list)
    failed: list[tuple[str, int]] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)


@contextlib.asynccontextmanager
async def responsive(api: Local, within: int = WITHIN) -> AsyncIterator[Probes]:
    """Asks `/readyz` and for a ConfigMap all the while, and fails if an answer was late or wrong."""
    probes = Probes()
    pieces = [_work()]
    asking = asyncio.ensure_future(_ask(api, probes))
    # the first answers come before what follows begins
    await probes.started.wait()
    try:
        yield probes
        # the one that is due now sees what has kept the loop until now
        await asyncio.sleep(2 * EVERY)
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert not probes.failed
    pieces.append(_work())
    late, limit = max(probes.waits), within * max(pieces)
    assert late < limit, f"an answer took {late:.3f} s, the limit is {limit:.3f}"


def _work() -> float:
    """Seconds that a fixed piece of plain Python takes here and now."""
    start = time.process_time()
    table: dict[int, str] = {}
    for number in range(80_000):
        table[number % 1000] = f"{number}"
    return time.process_time() - start


async def _ask(api: Local, probes: Probes) -> None:
    due = time.process_time()
    while True:
        for path in PROBES:
            code = (await api.raw("GET", path)).code
            if code != 200:
                probes.failed.append((path, code))
        probes.waits.extend([time.process_time() - due] * len(PROBES))
        probes.started.set()
        await asyncio.sleep(EVERY / 2)
        due = time.process_time()
        await asyncio.sleep(EVERY / 2)

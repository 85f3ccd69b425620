"""What all commands share that stay in the foreground: a log on stderr, the quicker event loop, an end by signal."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine, Iterator
from typing import Any


def add_verbosity(out: argparse.ArgumentParser) -> None:
    out.add_argument("-v", "--v", type=int, default=0, help="verbosity of the log")


def begin_log(verbosity: int) -> None:
    level = logging.DEBUG if verbosity > 3 else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname).1s %(name)s %(message)s", stream=sys.stderr)


def run(work: Coroutine[Any, Any, int]) -> int:
    """The exit code that it comes to, on uvloop where it is installed."""
    try:
        import uvloop

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    except ImportError:
        runner = asyncio.Runner()
    with runner:
        return runner.run(work)


async def until_told(name: str, work: Coroutine[Any, Any, None], *foreseen: type[Exception]) -> int:
    """The exit code: 0 once SIGTERM or SIGINT has ended it, 1 if it ended by itself. `foreseen` errors, alone or in groups,
    are told in a line each; others are raised."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    await asyncio.wait((task,))
    if task.cancelled():
        return 0
    try:
        task.result()
    except* foreseen as group:
        for error in _leaves(group):
            print(f"sampan {name}: {error}", file=sys.stderr)
    return 1


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _leaves(each)
        else:
            yield each

"""`asyncio.timeout` for many that have the same time: one timer for all of them, since who began first is late first.

    limit = Deadlines(60.0)
    with limit.one():
        await work()            # raises TimeoutError

A request comes with two of these; a timer of its own for each cost four times as much, and filled the loop's queue with
timers that nobody needed any more.

Source of the rules for cancellation: CPython Lib/asyncio/timeouts.py
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class Deadlines:
    """Used in one loop. `seconds` from the start of each."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        #: in the order of their ends
        self.running: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def one(self) -> Deadline:
        return Deadline(self)

    def begin(self, deadline: Deadline, loop: asyncio.AbstractEventLoop) -> None:
        deadline.end = loop.time() + self.seconds
        self.running[deadline] = None
        if self._timer is None:
            self._timer = loop.call_at(deadline.end, self._due, loop)

    def _due(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for deadline in tuple(self.running):
            if deadline.end > now:
                self._timer = loop.call_at(deadline.end, self._due, loop)
                return
            deadline.expire()


class Deadline:
    """One piece of work, done by the task that enters. Raises TimeoutError when it is late."""

    __slots__ = ("_all", "_cancelling", "_late", "_task", "end")

    def __init__(self, all_: Deadlines) -> None:
        self._all = all_
        self._late = False
        self.end = 0.0

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._all.begin(self, loop)

    def expire(self) -> None:
        if not self._late:
            self._late = True
            self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        del self._all.running[self]
        # who cancelled the task besides is heard
        if self._late and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

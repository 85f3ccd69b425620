"""An event loop whose time is virtual: it jumps to the next timer as soon as nothing else is to be done.

Everything that waits by asyncio (`sleep`, `timeout`, other people's code) obeys it, so that an hour passes in the time
that its events take. Real I/O still works: sockets within the loop are served before time may jump, and a thread of the
default executor stops time until it is done. Where other processes take part (`flowing`), time passes as it does for
them, and jumps only during `advance`.

    loop.time()      seconds since the loop began, virtual
    loop.wall()      seconds since the epoch, virtual: what clocks are injected with

Source of the idea: trio's MockClock (`autojump_clock`), looptime
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

#: 2026-01-01T00:00:00Z, so that runs are alike
START = 1_767_225_600.0
#: turns of the loop that are full of work, between two looks at sockets
PASSED = 16


class VirtualLoop(asyncio.SelectorEventLoop):
    """`start`: the wall clock's time at the beginning. `flowing`: time passes by itself while the loop is idle."""

    def __init__(self, start: float = START, *, flowing: bool = False) -> None:
        self._elapsed = 0.0
        self._since = time.monotonic()
        self._flowing = flowing
        self._jumps = 0
        self._threads = 0
        self.start = start
        super().__init__(_Selector(self))

    # -- what time it is -----------------------------------------------------------------------------------------------

    def time(self) -> float:
        if self._flowing:
            return self._elapsed + time.monotonic() - self._since
        return self._elapsed

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self.start + (self.time() if self._flowing else self._elapsed)

    @property
    def flowing(self) -> bool:
        return self._flowing

    @flowing.setter
    def flowing(self, value: bool) -> None:
        self._elapsed, self._since = self.time(), time.monotonic()
        self._flowing = value

    async def advance(self, seconds: float) -> None:
        """Let that much time pass, with all that happens in it, as fast as it can."""
        with self.jumping():
            await asyncio.sleep(seconds)
            # what became due at the very end is done too
            for _ in range(10):
                await asyncio.sleep(0)

    @contextmanager
    def jumping(self) -> Iterator[None]:
        """Time jumps while this lasts, also where it flows otherwise."""
        self._jumps += 1
        try:
            yield
        finally:
            self._jumps -= 1

    # -- for the selector ----------------------------------------------------------------------------------------------

    def may_jump(self) -> bool:
        return (self._jumps > 0 or not self._flowing) and not self._threads

    def jump(self, seconds: float) -> None:
        self._elapsed, self._since = self.time() + seconds, time.monotonic()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        future: asyncio.Future[Any] = super().run_in_executor(executor, func, *args)
        self._threads += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: object) -> None:
        self._threads -= 1


class _Selector(selectors.BaseSelector):
    """The system's selector, which waits only where time may not jump."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()
        self._passed = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0:
            # there is work: the system, which takes as long to ask, is asked now and then
            self._passed += 1
            if self._passed < PASSED:
                return []
        self._passed = 0
        ready = self._real.select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None or not self._loop.may_jump():
            return self._real.select(timeout)
        self._loop.jump(timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def close(self) -> None:
        self._real.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

"""How long pure code may run before others get their turn.

Most checks are done at once. Those that a client can make long (CEL, alternatives of schemas) call `pause` of the pace
that is current every now and then, and the pace decides: nothing (nobody waits), `Handover` (this was begun in an event
loop, which others wait for: do it again elsewhere), or a short rest (in a thread). Whoever runs them says which, by `at`;
they must be fit to be begun again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Protocol, TypeVar, TypeVarTuple

Result = TypeVar("Result")
Args = TypeVarTuple("Args")
#: a thread works so long before it rests so long: then others may have Python
WORK_SECONDS, REST_SECONDS = 0.001, 0.0001


class Handover(Exception):
    """It takes longer than an event loop can afford."""


class GivenUp(Exception):
    """Nobody waits for the result any more."""


class Pace(Protocol):
    def pause(self) -> None: ...


#: None: there is no hurry
current: ContextVar[Pace | None] = ContextVar("pace", default=None)


class Brisk:
    """In an event loop, for so many seconds."""

    __slots__ = ("_until",)

    def __init__(self, seconds: float) -> None:
        self._until = time.perf_counter() + seconds

    def pause(self) -> None:
        if time.perf_counter() > self._until:
            raise Handover


class Patient:
    """In a thread, until `stopped` is set from outside."""

    __slots__ = ("_since", "stopped")

    def __init__(self) -> None:
        self.stopped = False
        self._since = time.perf_counter()

    def pause(self) -> None:
        if self.stopped:
            raise GivenUp
        if time.perf_counter() - self._since > WORK_SECONDS:
            time.sleep(REST_SECONDS)
            self._since = time.perf_counter()


def at(pace: Pace, work: Callable[[*Args], Result], *args: *Args) -> Result:
    """`work(*args)` at that pace."""
    token = current.set(pace)
    try:
        return work(*args)
    finally:
        current.reset(token)

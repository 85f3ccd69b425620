"""Many calls of one kind, a few at first: what fails once is likely to fail a thousand times.

Source: kubernetes/pkg/controller/replicaset/replica_set.go (slowStartBatch)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sampan.api.errors import StatusError
from sampan.http import HttpError

FIRST = 1


async def slow_start(count: int, call: Callable[[int], Awaitable[object]], first: int = FIRST) -> int:
    """`call(0)` ... `call(count - 1)` in batches that double while all goes well; the calls of a batch at once.

    How many went well. When any of a batch fails, no further batch is begun; raises `BatchFailed`, caused by the first
    failure, when the batch is over.
    """
    done, size = 0, min(count, first)
    while size > 0:
        results = await asyncio.gather(*(call(done + number) for number in range(size)), return_exceptions=True)
        errors = [result for result in results if isinstance(result, BaseException)]
        if errors:
            unanswered = any(isinstance(error, HttpError) or _gave_up(error) for error in errors)
            raise BatchFailed(done + size - len(errors), unanswered) from errors[0]
        done += size
        size = min(2 * size, count - done)
    return done


class BatchFailed(Exception):
    """`done`: how many calls went well. `unanswered`: what became of others is not known."""

    def __init__(self, done: int, unanswered: bool = False) -> None:
        super().__init__(done)
        self.done = done
        self.unanswered = unanswered

    @property
    def error(self) -> Exception:
        """The first failure."""
        cause = self.__cause__
        assert isinstance(cause, Exception)
        return cause


def _gave_up(error: BaseException) -> bool:
    """The server did: what it had begun may yet be done."""
    return isinstance(error, StatusError) and error.code >= 500

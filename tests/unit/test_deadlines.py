"""Many pieces of work with one limit, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from sampan.http.deadline import Deadlines
from tests.virtual import virtually


def test_each_is_late_at_its_own_time() -> None:
    async def test() -> None:
        loop, limit = asyncio.get_running_loop(), Deadlines(10)
        ends: dict[int, float] = {}

        async def work(number: int, takes: float) -> None:
            await asyncio.sleep(number)
            with contextlib.suppress(TimeoutError), limit.one():
                await asyncio.sleep(takes)
            ends[number] = loop.time() - began

        began = loop.time()
        await asyncio.gather(*(work(number, takes) for number, takes in enumerate((1, 99, 2, 99, 99))))
        assert ends == {0: 1, 1: 11, 2: 4, 3: 13, 4: 14}
        assert not limit.running
        # after a pause it begins anew
        with pytest.raises(TimeoutError), limit.one():
            await asyncio.sleep(99)
        assert loop.time() - began == 24

    virtually(test)


def test_who_cancels_is_heard() -> None:
    async def test() -> None:
        limit = Deadlines(10)

        async def work() -> None:
            with limit.one():
                await asyncio.sleep(99)

        for seconds in (5, 10):  # before it is late, and at the very moment
            task = asyncio.create_task(work())
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(seconds, task.cancel)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not limit.running

    virtually(test)


def test_what_the_work_raises_comes_through() -> None:
    async def test() -> None:
        limit = Deadlines(10)
        with pytest.raises(KeyError), limit.one():
            raise KeyError
        with pytest.raises(TimeoutError, match="its own"), limit.one():
            raise TimeoutError("its own")
        assert not limit.running

    virtually(test)

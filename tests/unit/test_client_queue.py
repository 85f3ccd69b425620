"""Queues, what runs on them, and expectations; in virtual time."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sampan.api import errors
from sampan.client import Bucket, Controller, Expectations, Exponential, QueueFull, QueueShutDown, WorkQueue
from sampan.client.backoff import controller_limiter
from sampan.testing.loop import VirtualLoop
from tests.virtual import virtually


def test_a_key_is_queued_once_and_worked_on_once_at_a_time() -> None:
    async def test() -> None:
        queue: WorkQueue[str] = WorkQueue()
        for key in ("a", "b", "a"):
            queue.add(key)
        assert len(queue) == 2
        assert await queue.get() == "a"
        queue.add("a")  # while it is worked on: again afterwards
        assert await queue.get() == "b" and len(queue) == 0
        assert queue.unfinished == ["a", "b"]
        queue.done("a")
        assert await queue.get() == "a"
        queue.done("a")
        queue.done("b")
        assert (queue.statistics.adds, queue.statistics.done) == (3, 3)

    virtually(test)


def test_delays_keep_their_order_and_the_earlier_one_counts() -> None:
    async def test() -> None:
        queue: WorkQueue[str] = WorkQueue()
        loop = asyncio.get_running_loop()
        queue.add_after("late", 10)
        queue.add_after("early", 1)
        queue.add_after("late", 5)
        queue.add_after("late", 7)
        queue.add_after("now", 0)
        got = []
        for _ in range(3):
            key = await queue.get()
            got.append((key, round(loop.time(), 3)))
            queue.done(key)
        assert got == [("now", 0), ("early", 1), ("late", 5)]
        await asyncio.sleep(20)
        assert len(queue) == queue.delayed == 0

    virtually(test)


def test_shutting_down() -> None:
    async def test() -> None:
        queue: WorkQueue[str] = WorkQueue(limit=2)
        waiting = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        assert await waiting == "a"
        queue.add("b")
        queue.add("c")
        with pytest.raises(QueueFull):
            queue.add("d")
        draining = asyncio.create_task(queue.drain())
        await asyncio.sleep(0)
        queue.add("e")
        for _ in range(2):
            queue.done(await queue.get())
        with pytest.raises(QueueShutDown):
            await queue.get()
        assert not draining.done()
        queue.done("a")
        await draining

    virtually(test)


def test_a_cancelled_getter_loses_no_key() -> None:
    async def test() -> None:
        queue: WorkQueue[str] = WorkQueue()
        first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        first.cancel()
        assert await second == "a"

    virtually(test)


def test_limiters() -> None:
    slow = Exponential(0.005, 1000)
    assert [slow.when("k") for _ in range(4)] == [0.005, 0.01, 0.02, 0.04]
    for _ in range(200):
        slow.when("k")
    assert slow.when("k") == 1000 and slow.when("other") == 0.005
    slow.forget("k")
    assert slow.failures("k") == 0
    now = 0.0
    bucket = Bucket(10, 2, lambda: now)
    assert [bucket.take() for _ in range(4)] == [0, 0, 0.1, 0.2]
    now = 10.0
    assert [bucket.try_take() for _ in range(3)] == [True, True, False]

    async def test() -> None:
        limiter = controller_limiter()
        waits = [limiter.when(number) for number in range(102)]
        assert waits[:100] == [0.005] * 100 and waits[100:] == pytest.approx([0.1, 0.2])

    virtually(test)


class QueueMachine(RuleBasedStateMachine):
    """Whatever is done: a key that was added is given out, and never to two at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        asyncio.set_event_loop(self.loop)
        self.queue: WorkQueue[int] = self.loop.run_until_complete(self.make())
        self.owed: set[int] = set()
        self.working: set[int] = set()

    async def make(self) -> WorkQueue[int]:
        return WorkQueue()

    def run(self, action: Any) -> None:
        async def act() -> None:
            action()

        self.loop.run_until_complete(act())

    @rule(key=st.integers(0, 4))
    def add(self, key: int) -> None:
        self.run(lambda: self.queue.add(key))
        self.owed.add(key)

    @rule(key=st.integers(0, 4), seconds=st.floats(0.1, 5))
    def add_after(self, key: int, seconds: float) -> None:
        self.run(lambda: self.queue.add_after(key, seconds))
        self.loop.run_until_complete(asyncio.sleep(6))
        self.owed.add(key)

    @precondition(lambda self: self.owed - self.working)
    @rule()
    def get(self) -> None:
        key = self.loop.run_until_complete(self.queue.get())
        assert key in self.owed and key not in self.working
        self.owed.remove(key)
        self.working.add(key)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        self.run(lambda: self.queue.done(key))
        self.working.remove(key)

    @invariant()
    def counts(self) -> None:
        assert len(self.queue) == len(self.owed - self.working)

    def teardown(self) -> None:
        self.loop.close()


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=8, stateful_step_count=10, deadline=None)


# -- controllers ----------------------------------------------------------------------------------------------------


async def running(controller: Controller, seconds: float) -> None:
    task = asyncio.create_task(controller.run())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled() and controller.queue.shutting_down


def test_failures_are_tried_again_later_and_successes_when_they_ask(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[tuple[str, float]] = []

    async def reconcile(key: str) -> float | None:
        calls.append((key, round(asyncio.get_running_loop().time(), 3)))
        tried = sum(1 for name, _ in calls if name == key)
        if key == "conflict" and tried < 3:
            raise errors.conflict("apps", "deployments", "d")
        if key == "broken" and tried < 3:
            raise RuntimeError("broken")
        return 30 if key == "again" else None

    async def test() -> None:
        controller = Controller("test", reconcile, workers=2)
        for name in ("conflict", "broken", "again"):
            controller.enqueue({"metadata": {"name": name}})
        await running(controller, 40)

    caplog.set_level(logging.INFO)
    virtually(test)
    assert [at for key, at in calls if key == "conflict"] == [0, 0.005, 0.015]
    assert [at for key, at in calls if key == "broken"] == [0, 0.005, 0.015]
    assert [at for key, at in calls if key == "again"] == [0, 30]
    assert [record.getMessage() for record in caplog.records] == ["test: failed to sync broken: broken"] * 2


def test_a_key_is_dropped_after_so_many_failures() -> None:
    calls: list[str] = []

    async def reconcile(key: str) -> None:
        calls.append(key)
        raise RuntimeError("never")

    async def test() -> None:
        controller = Controller("test", reconcile, max_retries=3)
        controller.queue.add("k")
        await running(controller, 2000)
        assert controller.queue.failures("k") == 0

    virtually(test)
    assert calls == ["k"] * 4


def test_workers_work_side_by_side_and_stop_when_told() -> None:
    async def test() -> None:
        at_once = most = 0

        async def reconcile(key: str) -> None:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            try:
                await asyncio.sleep(100)
            finally:
                at_once -= 1

        controller = Controller("test", reconcile, workers=3)
        for number in range(5):
            controller.queue.add(str(number))
        await running(controller, 150)
        assert (most, at_once) == (3, 0)

    virtually(test)


# -- expectations -----------------------------------------------------------------------------------------------------


def test_expectations() -> None:
    now = 0.0
    expectations = Expectations(lambda: now)
    assert expectations.satisfied("k")
    expectations.expect_creations("k", 2)
    expectations.creation_observed("k")
    assert not expectations.satisfied("k") and expectations.pending("k") == (1, 0)
    expectations.creation_observed("k")
    assert expectations.satisfied("k")
    expectations.expect_deletions("k", ["u1", "u2"])
    for uid in ("u1", "u1", "other"):
        expectations.deletion_observed("k", uid)
    assert not expectations.satisfied("k") and expectations.deletion_expected("k", "u2")
    expectations.deletion_observed("k", "u2")
    assert expectations.satisfied("k")
    expectations.expect_creations("k", 1)
    now = 300.5
    assert expectations.satisfied("k")
    expectations.expect("k", 1, 1)
    expectations.raise_("k", 1, 0)
    expectations.deletion_observed("k")
    assert expectations.pending("k") == (2, 0)
    expectations.delete("k")
    assert expectations.satisfied("k")


def test_a_timer_that_is_due_at_once_tells_no_time() -> None:
    """uvloop's loop gives a handle without `when` for it."""
    uvloop = pytest.importorskip("uvloop")

    async def both() -> set[str]:
        queue: WorkQueue[str] = WorkQueue()
        queue.add_after("soon", 1e-4)
        queue.add_after("sooner", 5e-5)
        queue.add_after("later", 2e-3)
        return {await queue.get() for _ in range(3)}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(both()) == {"soon", "sooner", "later"}

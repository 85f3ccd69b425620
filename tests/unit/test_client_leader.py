"""Leader election in virtual time: one leads, others wait, and take over when they may."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from sampan.client import Client, EventRecorder, HttpError, LeaderElector, LeadershipLost
from sampan.testing.inprocess import InProcessTransport
from tests.virtual import ADMIN, admin, clock, server, virtually


class World:
    """Electors on one server, and who led when."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.led: list[tuple[str, str, float]] = []
        self.down: set[str] = set()

    def elector(self, name: str, **options: Any) -> LeaderElector:
        def ask(request: Any) -> Any:
            if name in self.down:
                raise HttpError("down")
            return self.app(request)

        client = Client(InProcessTransport(ask, ADMIN))
        return LeaderElector(
            client, "kube-system", "lock", identity=name, clock=clock, rng=random.Random(name), **options
        )

    def start(self, elector: LeaderElector) -> asyncio.Task[None]:
        name, loop = elector.identity, asyncio.get_running_loop()

        async def lead() -> None:
            self.led.append((name, "starts", loop.time()))
            try:
                await asyncio.sleep(10**6)
            finally:
                self.led.append((name, "stops", loop.time()))

        return asyncio.create_task(elector.run(lead))

    @property
    def story(self) -> list[str]:
        return [f"{name} {what}" for name, what, _ in self.led]


def test_one_leads_and_gives_the_lease_back() -> None:
    async def test() -> None:
        api = await server()
        world = World(api.handler)
        recorder = EventRecorder(admin(api), "test", clock=clock)
        recorder.start()
        heard: list[str] = []
        first = world.start(world.elector("a", recorder=recorder))
        await asyncio.sleep(1)
        second = world.start(world.elector("b", on_new_leader=heard.append))
        await asyncio.sleep(100)
        assert world.story == ["a starts"] and heard == ["a"]
        lease = await admin(api).get("leases.coordination.k8s.io", "lock", "kube-system")
        assert lease["spec"]["holderIdentity"] == "a" and lease["spec"]["leaseDurationSeconds"] == 15
        assert lease["spec"]["leaseTransitions"] == 0 and lease["spec"]["acquireTime"].startswith("2023-11-14T22:13:20")
        released = asyncio.get_running_loop().time()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await asyncio.sleep(6)
        assert world.story == ["a starts", "a stops", "b starts"] and heard == ["a", "b"]
        assert world.led[-1][2] - released < 5
        lease = await admin(api).get("leases.coordination.k8s.io", "lock", "kube-system")
        assert lease["spec"]["leaseTransitions"] == 1
        await recorder.flush()
        messages = [event["message"] for event in await admin(api).items("events", "kube-system")]
        assert messages == ["a became leader", "a stopped leading"]
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)

    virtually(test)


def test_who_cannot_renew_stops_before_another_begins() -> None:
    async def test() -> None:
        world = World((await server()).handler)
        first = world.start(world.elector("a"))
        await asyncio.sleep(1)
        second = world.start(world.elector("b"))
        await asyncio.sleep(50)
        world.down.add("a")
        cut = asyncio.get_running_loop().time()
        with pytest.raises(LeadershipLost):
            await first
        stopped = asyncio.get_running_loop().time()
        assert 8 <= stopped - cut <= 14
        await asyncio.sleep(20)
        assert world.story == ["a starts", "a stops", "b starts"]
        assert world.led[-1][2] >= stopped
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)

    virtually(test)


def test_what_leads_may_fail_or_end() -> None:
    async def test() -> None:
        world = World((await server()).handler)

        async def fails() -> None:
            raise RuntimeError("failed while leading")

        async def ends() -> None:
            await asyncio.sleep(1)

        with pytest.raises(RuntimeError, match="failed while leading"):
            await world.elector("a").run(fails)
        elector = world.elector("b")
        await elector.run(ends)
        assert not elector.is_leader

    virtually(test)


def test_durations_that_cannot_work() -> None:
    client = Client(InProcessTransport(lambda request: None, ADMIN))  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match="leaseDuration must be greater than renewDeadline"):
        LeaderElector(client, "n", "l", identity="a", clock=clock, lease_duration=5)
    with pytest.raises(ValueError, match="Lock identity is empty"):
        LeaderElector(client, "n", "l", identity="", clock=clock)

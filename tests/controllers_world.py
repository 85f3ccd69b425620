"""A control plane in this process, under virtual time, with as many parts as a test starts.

    async def test_x(world: World) -> None:
        await world.start("replicaset-controller")
        await world.admin.create("replicasets", {...}, namespace="default")
        await world.until(lambda: world.pods("default"), "pods")

A test that asks for the fixture `world` (tests/unit/conftest.py) runs in a `VirtualLoop`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from sampan.api.user import User
from sampan.apiserver.config import ApiServerConfig
from sampan.apiserver.server import ApiServer
from sampan.client import Client, EventRecorder, Informers
from sampan.controllers.context import Context, Options, Runs
from sampan.controllers.manager import build
from sampan.hollow import HollowNodes
from sampan.testing.inprocess import InProcessTransport
from sampan.testing.loop import VirtualLoop

Obj = dict[str, Any]
ADMIN = User("admin", ("system:masters", "system:authenticated"))
MANAGER = User("system:kube-controller-manager", ("system:authenticated",))
PATIENCE = 3600.0


def account(name: str) -> User:
    """The ServiceAccount of a controller."""
    groups = ("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated")
    return User(f"system:serviceaccount:kube-system:{name}", groups)


class World:
    """`wrap`: what to put around every controller's transport (to let it fail). `options`: of the controllers."""

    def __init__(self, options: Options | None = None, seed: int = 0, wrap: Callable[[Any], Any] = lambda t: t) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.loop = loop
        self.clock = loop.wall
        self.options = options or Options()
        self.rng = random.Random(seed)
        self.wrap = wrap
        config = ApiServerConfig(port=0, store="memory", bookmark_seconds=1e9)
        self.server = ApiServer(config, clock=self.clock, rng=random.Random(seed + 1), listen=False)
        self.admin: Client
        self.informers: Informers
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._recorders: list[EventRecorder] = []
        self._changed = asyncio.Event()

    async def __aenter__(self) -> World:
        await self.server.start()
        self.admin = self.client(ADMIN, "test")
        self.informers = Informers(
            self.client(MANAGER, "kube-controller-manager"), rng=self.rng, detect_mutation=True, watch_seconds=10**9
        )
        self._unsubscribe = self.server.store.subscribe(lambda events: self._changed.set())  # type: ignore[attr-defined]
        return self

    async def __aexit__(self, *_: object) -> None:
        for name in tuple(self.tasks):
            await self.stop(name)
        for recorder in self._recorders:
            await recorder.aclose()
        self._unsubscribe()
        await self.informers.aclose()
        await self.server.stop(0)

    def client(self, user: User, agent: str) -> Client:
        return Client(InProcessTransport(self.server.handler, user), user_agent=agent)

    def context(self) -> Context:
        def of(name: str) -> Client:
            transport = self.wrap(InProcessTransport(self.server.handler, account(name)))
            return Client(transport, user_agent="kube-controller-manager")

        return Context(self.informers, of, self.recorder, self.clock, self.rng, self.options)

    def recorder(self, component: str, client: Client) -> EventRecorder:
        made = EventRecorder(client, component, clock=self.clock, rng=self.rng)
        made.start()
        self._recorders.append(made)
        return made

    # -- parts ---------------------------------------------------------------------------------------------------------

    async def start(self, *names: str) -> None:
        """Controllers by upstream's names."""
        for name in names:
            controller: Runs = build(name, self.context())
            self.informers.start()
            self.tasks[name] = asyncio.create_task(controller.run(), name=name)
        await self.informers.wait_synced()

    async def stop(self, name: str) -> None:
        """Cancel one, as a crash would; `start` it again to see what becomes of it."""
        task = self.tasks.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def hollow(self, count: int = 1, **more: Any) -> HollowNodes:
        """Simulated nodes `n1`, `n2`, ... that play the pods bound to them."""
        client = self.client(ADMIN, "kubelet")
        nodes = HollowNodes(
            client,
            self.informers,
            lambda component: self.recorder(component, client),
            names=[f"n{number}" for number in range(1, count + 1)],
            clock=self.clock,
            rng=self.rng,
            **more,
        )
        self.informers.start()
        self.tasks["hollow"] = asyncio.create_task(nodes.run(), name="hollow")
        await self.until(lambda: self.all("nodes", count), "nodes")
        return nodes

    # -- looking -------------------------------------------------------------------------------------------------------

    def all(self, resource: str, at_least: int = 0, group: str = "", namespace: str = "") -> list[Obj]:
        """What is stored of a resource, or nothing while there are fewer than `at_least`."""
        records = list(self.server.api.cached(group, resource).list(namespace))
        return [record.obj() for record in records] if len(records) >= at_least else []

    def pods(self, namespace: str = "default") -> list[Obj]:
        return self.all("pods", namespace=namespace)

    def get(self, resource: str, name: str, namespace: str = "default", group: str = "") -> Obj | None:
        record = self.server.api.cached(group, resource).get(f"{namespace}/{name}" if namespace else name)
        return record.obj() if record is not None else None

    def events(self, reason: str = "") -> list[Obj]:
        return [event for event in self.all("events") if not reason or event.get("reason") == reason]

    async def until(self, predicate: Callable[[], Any], what: str = "it", seconds: float = PATIENCE) -> Any:
        """Wait (virtually) until `predicate` says something true, and return that."""
        try:
            async with asyncio.timeout(seconds):
                while not (found := predicate()):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{what} did not come to be within {seconds:.0f} virtual seconds") from None
        return found

    async def settle(self, seconds: float = 5.0) -> None:
        """Until nothing has been written for so many virtual seconds."""
        while True:
            self._changed.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            except TimeoutError:
                return

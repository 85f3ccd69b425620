"""What makes a cluster of an API server: controllers, scheduler and simulated nodes, in one process or each in its own.

Each part is a client like any other, with its own certificate or ServiceAccount; each leads only while it holds its
Lease. They start in any order and wait for what they need.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.client import (
    Client,
    Config,
    EventRecorder,
    HttpError,
    HttpsTransport,
    Informers,
    LeaderElector,
    LeadershipLost,
    StatusError,
)
from sampan.client.metrics import Page, Requests, queues_onto
from sampan.cluster.accounts import Accounts
from sampan.cluster.secure_port import NO_PORT, SecurePort, Serving
from sampan.controllers.configz import configz
from sampan.controllers.context import Context, Options
from sampan.controllers.manager import Manager

if TYPE_CHECKING:
    from ipaddress import IPv4Network

    from sampan.hollow.life import Life
    from sampan.network.nodes import ClusterNetwork
    from sampan.scheduler.config import Configuration
    from sampan.scheduler.scheduler import Scheduler

log = logging.getLogger("sampan.cluster")
MANAGER = "kube-controller-manager"
RETRY_SECONDS = 1.0
Part = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the API server is, and the directory with the certificates of `certificates.ensure`."""

    server: str
    pki: Path

    def config(self, name: str = "") -> Config:
        """As the client whose certificate is `name`; without one: nobody, for tokens."""
        if not name:
            return Config(self.server, ca_file=self.pki / "ca.crt")
        certificate, key = self.pki / f"{name}.crt", self.pki / f"{name}.key"
        return Config(self.server, ca_file=self.pki / "ca.crt", certificate_file=certificate, key_file=key)


@dataclass(slots=True)
class Parts:
    """What runs in this process."""

    controllers: bool = True
    scheduler: bool = True
    hollow: int = 0
    #: of simulated pods; None: the usual one
    life: Life | None = None
    leader_elect: bool = True
    #: their own ports
    manager_port: Serving = NO_PORT
    scheduler_port: Serving = NO_PORT
    #: what this process has asked of the API server
    asked: Requests = field(default_factory=Requests)
    #: of the nodes on this machine, which the host keeps routes to
    network: ClusterNetwork | None = None
    options: Options = field(default_factory=Options)


async def run(credentials: Credentials, parts: Parts) -> None:
    """Until cancelled. Parts that need not wait for a Lease share one mirror of the cluster's objects."""
    async with contextlib.AsyncExitStack() as stack:
        shared = None
        if not parts.leader_elect:
            transport = HttpsTransport(credentials.config("controller-manager"), metrics=parts.asked)
            stack.push_async_callback(transport.aclose)
            client = Client(transport, user_agent=mirror_agent(parts.controllers, parts.scheduler))
            shared = await stack.enter_async_context(Informers(client))
        running: list[Part] = []
        if parts.controllers:
            running.append(await stack.enter_async_context(controllers(credentials, parts, shared)))
        if parts.scheduler:
            running.append(await stack.enter_async_context(scheduler(credentials, parts, shared)))
        if parts.hollow:
            running.append(await stack.enter_async_context(hollow(credentials, parts, shared)))
        if parts.network is not None and shared is not None:
            running.append(routes(shared, parts.network))
        async with asyncio.TaskGroup() as group:
            for part in running:
                group.create_task(_kept(part))


def mirror_agent(controllers: bool, scheduler: bool) -> str:
    """Who watches for several: ComponentStatus tells from it which of them are there."""
    names = [name for name, there in ((MANAGER, controllers), ("kube-scheduler", scheduler)) if there]
    return f"sampan ({', '.join(names)})"


async def _kept(part: Part) -> None:
    """Run, and again when leadership was lost or the server went away."""
    while True:
        try:
            await part()
        except (LeadershipLost, StatusError, HttpError) as error:
            log.warning("%s; starting again", error)
        await asyncio.sleep(RETRY_SECONDS)


def identity() -> str:
    return f"{socket.gethostname()}_{uuid.uuid4()}"


async def led(client: Client, name: str, part: Part, served: SecurePort) -> None:
    """Run a part while this process holds its Lease."""
    elector = LeaderElector(client, "kube-system", name, identity=identity(), clock=time.time)
    served.led_by(elector)
    await elector.run(part)


@contextlib.asynccontextmanager
async def mirrored(client: Client, shared: Informers | None) -> AsyncIterator[Informers]:
    """The informers that all share, or new ones."""
    if shared is not None:
        yield shared
        return
    async with Informers(client) as own:
        yield own


@contextlib.asynccontextmanager
async def controllers(credentials: Credentials, parts: Parts, mirror: Informers | None) -> AsyncIterator[Part]:
    """The controller manager. Its informers are those of all controllers."""
    asked = parts.asked
    transport = HttpsTransport(credentials.config("controller-manager"), metrics=asked)
    shared = HttpsTransport(credentials.config(), metrics=asked)
    client = Client(transport, user_agent=MANAGER)
    served = SecurePort(MANAGER, client, parts.manager_port, started=time.time(), clock=time.time)
    served.configuration = configz(parts.options, leader_elect=parts.leader_elect)
    served.pages.append(asked.onto)
    accounts = Accounts(client, shared, time.time, MANAGER)
    recorders: list[EventRecorder] = []

    def recorder(component: str, own: Client) -> EventRecorder:
        made = EventRecorder(own, component, clock=time.time)
        made.start()
        recorders.append(made)
        return made

    async def lead() -> None:
        async with mirrored(client, mirror) as informers:
            context = Context(informers, accounts.client, recorder, time.time, random.Random(), parts.options)
            manager = Manager(context)
            with served.shows(manager_page(manager), health=manager.running):
                async with asyncio.TaskGroup() as group:
                    group.create_task(manager.run())
                    if parts.network is not None:
                        own, pool = accounts.client("service-controller"), parts.network.ranges.balancers
                        group.create_task(balancers(own, informers, recorder("service-controller", own), pool))

    async def part() -> None:
        await (led(client, MANAGER, lead, served) if parts.leader_elect else lead())

    try:
        async with served:
            yield part
    finally:
        for made in recorders:
            await made.aclose()
        await transport.aclose()
        await shared.aclose()


def manager_page(manager: Manager) -> Callable[[Page], None]:
    def add(page: Page) -> None:
        queues_onto(page, manager.queues())
        page.family(
            "running_managed_controllers", "gauge", "Indicates where instances of a controller are currently running",
            (({"manager": MANAGER, "name": name}, 1) for name in manager.running),
        )  # fmt: skip

    return add


@contextlib.asynccontextmanager
async def scheduler(credentials: Credentials, parts: Parts, mirror: Informers | None) -> AsyncIterator[Part]:
    from sampan.scheduler.config import Configuration
    from sampan.scheduler.scheduler import Scheduler

    asked = parts.asked
    transport = HttpsTransport(credentials.config("scheduler"), metrics=asked)
    client = Client(transport, user_agent="kube-scheduler")
    served = SecurePort("kube-scheduler", client, parts.scheduler_port, started=time.time(), clock=time.time)
    served.pages.append(asked.onto)

    async def lead() -> None:
        async with mirrored(client, mirror) as informers:
            made = Scheduler(client, informers, clock=time.time)
            with shown(served, made, Configuration()):
                await made.run()

    async def part() -> None:
        await (led(client, "kube-scheduler", lead, served) if parts.leader_elect else lead())

    try:
        async with served:
            yield part
    finally:
        await transport.aclose()


@contextlib.asynccontextmanager
async def hollow(credentials: Credentials, parts: Parts, mirror: Informers | None) -> AsyncIterator[Part]:
    """Simulated nodes `hollow-1`, `hollow-2`, ..."""
    from sampan.hollow import HollowNodes

    transport = HttpsTransport(credentials.config("admin"))
    client = Client(transport, user_agent="kubelet")
    recorder = EventRecorder(client, "kubelet", clock=time.time)
    recorder.start()

    async def part() -> None:
        async with mirrored(client, mirror) as informers:
            names = [f"hollow-{number}" for number in range(1, parts.hollow + 1)]
            nodes = HollowNodes(
                client, informers, lambda component: recorder, names=names, clock=time.time, life=parts.life
            )
            informers.start()
            await nodes.run()

    try:
        yield part
    finally:
        await recorder.aclose()
        await transport.aclose()


async def balancers(client: Client, informers: Informers, recorder: EventRecorder, pool: IPv4Network) -> None:
    from sampan.network.proxy.balancers import LoadBalancers

    await LoadBalancers(client, informers, recorder, pool).run()


def routes(mirror: Informers, network: ClusterNetwork) -> Part:
    """The host's way to pods and Services, which the API server and the user take."""
    from sampan.network.proxy.routes import Routes

    ranges = network.ranges
    kept = Routes(mirror, network.route, services=(ranges.services, ranges.balancers), on=ranges.nodes)

    async def part() -> None:
        mirror.start()
        await kept.run()

    return part


@contextlib.contextmanager
def shown(served: SecurePort, scheduler: Scheduler, configuration: Configuration) -> Iterator[None]:
    """The scheduler that runs now, on its port."""
    from sampan.scheduler.config import configz

    served.configuration = configz(configuration)
    served.ready["sched-handler-sync"] = lambda: "" if scheduler.synced else "handlers are not fully synchronized"
    with served.shows(lambda page: scheduler.metrics.onto(page, scheduler)):
        yield


def options_of(pki: Path, **more: object) -> Options:
    """Controllers' options with the cluster's own CA and keys. Raises OSError."""

    def read(name: str) -> str:
        return (pki / name).read_text()

    known = {"root_ca": read("ca.crt"), "signing_cert": read("ca.crt"), "signing_key": read("ca.key")}
    return Options(**{**known, **more})  # type: ignore[arg-type]

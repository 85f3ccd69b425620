"""A node with pods, the world beyond it, an API server, and a proxy between them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from sampan.api.user import User
from sampan.client import Client, Informers
from sampan.network.cni.pods import Pods, Settings
from sampan.network.namespaces import inside
from sampan.network.proxy.model import HEADLESS, PROXY_NAME, SERVICE_NAME
from sampan.network.proxy.options import Options
from sampan.network.proxy.proxy import Proxy
from sampan.network.proxy.routes import SLICES
from sampan.testing.inprocess import InProcessTransport
from tests.conftest import Local
from tests.network.lab import Lab

ADMIN = User("admin", ("system:masters", "system:authenticated"))
NODE, NODE_IP, WORLD_IP, FAR_IP = "node", "192.0.2.10", "192.0.2.1", "10.244.9.2"
CLUSTER, CIDR = IPv4Network("10.244.0.0/16"), IPv4Network("10.244.7.0/24")
Obj = dict[str, Any]


@dataclass
class Stage:
    """Pods `a`, `b`, `c` are on the node, `far` is on another; each serves its name on TCP 8080 and UDP 8053."""

    lab: Lab
    client: Client
    informers: Informers
    node: Path
    world: Path
    pods: Pods
    ips: dict[str, str] = field(default_factory=dict)
    slices: set[str] = field(default_factory=set)
    version: int = 0
    seen: asyncio.Condition = field(default_factory=asyncio.Condition)
    proxy: Proxy | None = None

    def at(self, name: str) -> Path:
        return {"node": self.node, "world": self.world}.get(name, self.lab.run / name)

    async def pod(self, name: str) -> None:
        namespace = self.lab.namespace(name)
        with inside(self.node):
            self.ips[name] = str(self.pods.attach(name, namespace).address)
        await self.serve(name)

    async def serve(self, name: str) -> None:
        await self.lab.serve(self.at(name), 8080, name)
        await self.lab.serve_udp(self.at(name), 8053, name)

    # -- objects -------------------------------------------------------------------------------------------------------

    async def service(self, name: str, *endpoints: str | Obj, **spec: Any) -> Obj:
        """With a slice of these endpoints: pods by name, or with conditions."""
        port = {"name": "web", "port": 80, "targetPort": 8080}
        body = {"metadata": {"name": name}, "spec": {"ports": [port], **spec}}
        made = await self.client.create("services", body, "default")
        await self.slice(name, *endpoints)
        return made

    async def slice(self, name: str, *endpoints: str | Obj, ports: Iterable[Obj] = ()) -> None:
        """As it shall be now."""
        every = list(ports) or [
            {"name": "web", "port": 8080, "protocol": "TCP"},
            {"name": "dns", "port": 8053, "protocol": "UDP"},
        ]
        body = {
            "metadata": {"name": name, "namespace": "default", "labels": {SERVICE_NAME: name}}, "addressType": "IPv4", "ports": every,
            "endpoints": [self._endpoint(each) for each in endpoints],
        }  # fmt: skip
        if name in self.slices:
            made = await self.client.update(SLICES, body)
        else:
            made = await self.client.create(SLICES, body, "default")
        self.slices.add(name)
        await self.settled(made)

    def _endpoint(self, which: str | Obj) -> Obj:
        given: Obj = {"pod": which} if isinstance(which, str) else dict(which)
        pod = given.pop("pod")
        return {
            "addresses": [self.ips[pod]], "nodeName": "other" if pod == "far" else NODE,
            "conditions": {"ready": True, "serving": True, "terminating": False, **given},
        }  # fmt: skip

    async def settled(self, *objects: Obj) -> None:
        """Until the rules say what these objects, the newest of their kinds, say."""
        assert self.proxy is not None
        wanted = max((int(each["metadata"]["resourceVersion"]) for each in objects), default=0)
        async with asyncio.timeout(10):
            async with self.seen:
                await self.seen.wait_for(lambda: self.version >= wanted)
            await self.proxy.idle.wait()

    def saw(self, obj: Obj) -> None:
        self.version = max(self.version, int(obj["metadata"]["resourceVersion"]))
        task = asyncio.ensure_future(self._tell())
        task.add_done_callback(lambda done: done.result())

    async def _tell(self) -> None:
        async with self.seen:
            self.seen.notify_all()

    # -- what happens --------------------------------------------------------------------------------------------------

    async def ask(self, who: str, host: str, port: int = 80, seconds: float = 3.0) -> str:
        return await self.lab.ask(self.at(who), host, port, seconds=seconds)

    async def names(self, who: str, host: str, port: int = 80, times: int = 24) -> set[str]:
        return set(await self.lab.names(self.at(who), host, port, times))


async def scene(lab: Lab, client: Client, informers: Informers, state: Path) -> Stage:
    """All but the proxy."""
    node, world, far = (lab.namespace(name) for name in ("node", "world", "far"))
    lab.wire(node, f"{NODE_IP}/24", world, f"{WORLD_IP}/24")
    lab.wire(far, f"{FAR_IP}/24", node, "10.244.9.1/24", names=("eth0", "far0"))
    pods = Pods(Settings(state, CIDR, CLUSTER))
    with inside(node):
        pods.prepare()
    stage = Stage(lab, client, informers, node, world, pods)
    stage.ips["far"] = FAR_IP
    await stage.serve("far")
    for name in "abc":
        await stage.pod(name)
    return stage


@asynccontextmanager
async def staged(lab: Lab, api: Local, state: Path, **options: Any) -> AsyncIterator[Stage]:
    client = Client(InProcessTransport(api.server.handler, ADMIN), user_agent="test")
    async with Informers(client) as informers:
        stage = await scene(lab, client, informers, state)
        settings = Options(NODE, cluster_cidr=CLUSTER, health=("", 0), metrics=("", 0), **options)
        stage.proxy = Proxy(informers, settings, clock=time.time, namespace=stage.node)
        # after the proxy's own: what they have seen, it has
        for name, selector in (("services", f"!{PROXY_NAME},!{HEADLESS}"), (SLICES, f"!{HEADLESS}")):
            informer = informers.get(name, label_selector=selector)
            informer.add_handler(stage.saw, lambda _, new: stage.saw(new), stage.saw)
        informers.start()
        running = asyncio.create_task(stage.proxy.run())
        try:
            async with asyncio.timeout(10):
                await stage.proxy.idle.wait()
            yield stage
            assert not running.done(), running.result()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

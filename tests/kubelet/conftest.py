"""A node for each test module: an API server with its controllers in this process, a kubelet beside it, and a runtime in a process of its
own; in directories, a cgroup and a pod range of their own. What is left of it afterwards is counted.

    async def test_it(node: NodeUnderTest) -> None:
        pod = await node.run({"containers": [node.container("sleep", "1000")]})
        await node.until(pod, "status.phase=Running")
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sampan.api.user import User
from sampan.client import Client
from sampan.http import ConnectFailed
from sampan.kubelet.inotify import Watch
from sampan.kubelet.kubelet import Kubelet
from sampan.kubelet.options import Options
from sampan.network.namespaces import inside
from sampan.testing import Cluster
from sampan.testing.conditions import Condition
from sampan.testing.inprocess import InProcessTransport
from tests.cri_client import Cri
from tests.images import busybox
from tests.runtime.homes import HOMES, Home
from tests.runtime.homes import IMAGE as IMAGE

Obj = dict[str, Any]
AUTHENTICATED = "system:authenticated"


class Door(InProcessTransport):
    """The way to the API server, which can be shut."""

    def __init__(self, handler: Any, user: User) -> None:
        super().__init__(handler, user)
        self.closed = False
        self._opened: list[Any] = []

    async def close(self) -> None:
        self.closed = True
        streams, self._opened = self._opened, []
        for each in streams:
            await each.aclose()

    async def request(self, *arguments: Any, **more: Any) -> Any:
        if self.closed:
            raise ConnectFailed("it is away")
        return await super().request(*arguments, **more)

    async def stream(self, *arguments: Any, **more: Any) -> Any:
        if self.closed:
            raise ConnectFailed("it is away")
        found = await super().stream(*arguments, **more)
        self._opened.append(found)
        return found


@dataclass
class NodeUnderTest:
    """`cluster` is the control plane, `cri` the runtime's own voice, `kubelet` what is tested."""

    name: str
    home: Home
    cluster: Cluster
    cri: Cri
    pod_cidr: str
    options: Options
    kubelet: Kubelet | None = None
    _task: asyncio.Task[None] | None = None
    _door: Any = None
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    # -- the kubelet ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Until the node is registered."""
        user = User(f"system:node:{self.name}", ("system:nodes", AUTHENTICATED))
        self._door = Door(self.cluster.server.handler, user)
        client = Client(self._door, user_agent="kubelet")
        self.kubelet = await Kubelet(self.options, client, clock=self.cluster.clock, dial=self.dial).__aenter__()
        self._task = asyncio.create_task(self.kubelet.run(), name="kubelet")
        ready = asyncio.ensure_future(self.kubelet.node.registered.wait())
        await asyncio.wait((self._task, ready), return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        """The kubelet alone: containers run on."""
        if self._task is not None and self.kubelet is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self.kubelet.__aexit__()
        self._task = self.kubelet = None

    async def away(self) -> None:
        """The API server cannot be reached by the kubelet any more."""
        await self._door.close()

    async def back(self) -> None:
        self._door.closed = False

    async def dial(self, factory: Any, host: str, port: int, *, ssl: Any, server_hostname: str | None) -> Any:
        """Pods are reached from the node's own network."""
        loop = asyncio.get_running_loop()
        with inside(self.home.network):
            made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        made.setblocking(False)
        await loop.sock_connect(made, (host, port))
        return await loop.create_connection(factory, sock=made, ssl=ssl, server_hostname=server_hostname)

    # -- pods ----------------------------------------------------------------------------------------------------------

    @staticmethod
    def container(*command: str, name: str = "main", **more: Any) -> Obj:
        return {"name": name, "image": IMAGE, "command": list(command), **more}

    def pod(self, spec: Obj, *, name: str = "", **meta: Any) -> Obj:
        """On this node; without a service account's token unless the test wants one."""
        name = name or f"pod-{next(self._numbers)}"
        full = {
            "nodeName": self.name,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 5,
            **spec,
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", **meta},
            "spec": full,
        }

    async def run(self, spec: Obj, *, name: str = "", **meta: Any) -> str:
        """The name of a pod that was made."""
        pod = self.pod(spec, name=name, **meta)
        return str((await self.cluster.client.create("pods", pod))["metadata"]["name"])

    async def until(self, name: str, condition: Condition, timeout: float = 20) -> Obj:
        """The pod then; `condition` as `Cluster.wait_for` has them."""
        found: Obj = await self.cluster.wait_for(f"pod/{name}", condition, timeout=timeout)
        return found

    async def running(self, name: str) -> Obj:
        return await self.until(name, "Ready")

    async def delete(self, name: str, grace: int | None = None) -> None:
        """Until it is gone."""
        await self.cluster.client.delete("pods", name, "default", grace_seconds=grace)
        await self.until(name, "deleted")

    async def clear(self) -> None:
        """No pods, and nothing of them."""
        if self.kubelet is None:
            await self.start()
        assert self.kubelet is not None
        await self.cluster.client.delete_collection("pods", "default", grace_seconds=0)
        async with asyncio.timeout(20):
            await self.kubelet.pods.emptied()

    def log(self, pod: Obj, container: str = "main", restarts: int = 0) -> str:
        meta = pod["metadata"]
        file = self.options.logs / f"{meta['namespace']}_{meta['name']}_{meta['uid']}" / container / f"{restarts}.log"
        lines = (line.split(" ", 3) for line in file.read_text().splitlines())
        return "".join(text + ("\n" if mark == "F" else "") for _, _, mark, text in lines)

    async def logged(self, pod: Obj, text: str) -> None:
        """Until the container has written just that."""
        meta = pod["metadata"]
        directory = self.options.logs / f"{meta['namespace']}_{meta['name']}_{meta['uid']}" / "main"
        await self.changes(directory, lambda: self.log(pod) == text)

    async def changes(self, directory: Path, true: Callable[[], bool]) -> None:
        """Until files in a directory are as they should be."""
        with Watch(directory) as watch:
            async with asyncio.timeout(20):
                while not true():
                    await watch.next(20)

    async def events(self, name: str) -> list[tuple[str, str]]:
        """Reasons and messages of a pod's events, in order."""
        if self.kubelet is not None:
            await self.kubelet.recorder.flush()
        found = [each for each in self.cluster.list("events", "default") if each["involvedObject"]["name"] == name]
        return [(each["reason"], each["message"]) for each in found if each["source"].get("component") == "kubelet"]

    async def has_event(self, name: str, reason: str, holds: Callable[[str], bool] = lambda _: True) -> str:
        """The message of the event, as soon as there is one."""

        def look() -> str:
            found = (each for each in self.cluster.list("events", "default")
                     if each["involvedObject"]["name"] == name and each["reason"] == reason)  # fmt: skip
            return next((each["message"] for each in found if holds(each["message"])), "")

        message: str = await self.cluster.wait_for(look, timeout=20)
        return message


@contextlib.asynccontextmanager
async def made(kind: str = "sampan", **options: Any) -> AsyncIterator[NodeUnderTest]:
    """`kind`: the runtime. `options`: the kubelet's, beside those that keep it to itself."""
    if why := HOMES[kind].missing():
        pytest.skip(why)
    home = HOMES[kind](inside=True)
    if kind == "sampan":
        home.options = ("--network", "cni")
    node_name = options.pop("name", "node-1")
    pod_cidr = f"10.{random.randrange(128, 240)}.{random.randrange(256)}.0/24"
    told = Options(
        name=node_name, runtime=f"unix://{home.socket}", root=home.root / "kubelet", logs=home.root / "logs" / "pods",
        node_ips=("127.0.0.1",), port=0, cgroup_root=home.cgroup, pod_cidr=pod_cidr, address="127.0.0.1",
        healthz_port=0, static_pods=home.root / "manifests", cluster_dns=("10.96.0.10",), **options,
    )  # fmt: skip
    try:
        home.open()
        (home.root / "manifests").mkdir()
        cri = await home.connect()
        await home.load(busybox(), IMAGE)
        async with Cluster(https=True) as cluster:
            told = replace(told, client_ca=cluster.client_ca)
            node = NodeUnderTest(node_name, home, cluster, cri, pod_cidr, told)
            await node.start()
            await cluster.wait_for(f"node/{node_name}", "Ready", timeout=20)
            await cluster.wait_for("serviceaccount/default", timeout=20)
            try:
                yield node
            finally:
                await node.clear()
                await node.stop()
        await cri.__aexit__()
    finally:
        left = home.close()
    assert left == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[NodeUnderTest]:
    """One for all tests of a module, each with pods of its own."""
    async with made() as node:
        yield node

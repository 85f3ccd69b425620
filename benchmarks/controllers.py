"""Controllers: what a pod of a Deployment costs them, and a Deployment of 1,000 pods from nothing to Running.

    python -m benchmarks.controllers

The first is taken against a double of the API server in this process, whose own time is taken off: it is the CPU of
Deployment and ReplicaSet controller, client and informers together. The second is `sampan up --hollow 100` with the
durable store: API server in one process, controllers, scheduler and simulated nodes in another.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson

from benchmarks.api import Bench
from sampan.api.times import format_time
from sampan.client import Client, Config, EventRecorder, HttpsTransport, Informers
from sampan.controllers.context import Context
from sampan.controllers.manager import build
from sampan.http import Reply

Obj = dict[str, Any]
Figure = tuple[str, float, str, str]
PODS = 1000
NAMES = ("deployment-controller", "replicaset-controller")


def deployment(replicas: int, name: str = "web") -> Obj:
    container = {"name": "c", "image": "nginx:1", "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}
    spec = {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}}, "revisionHistoryLimit": 10,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        "progressDeadlineSeconds": 600,
    }  # fmt: skip
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


class Double:
    """Just enough of an API server, and of scheduler and kubelets: a pod made is bound and runs a moment later."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Obj]] = {"pods": {}, "replicasets": {}, "deployments": {}}
        self.events: dict[str, Obj] = {}
        self.streams: dict[str, list[Lines]] = {}
        #: all pods are available, says the Deployment
        self.done = asyncio.Event()
        self.version = 0
        self.writes: dict[str, int] = {}
        self.spent = 0.0

    def put(self, resource: str, obj: Obj, kind: str = "MODIFIED") -> bytes:
        """Store, and tell who watches."""
        self.version += 1
        meta = obj["metadata"]
        meta["resourceVersion"] = str(self.version)
        self.objects[resource][meta["name"]] = obj
        if resource == "deployments" and obj["status"].get("availableReplicas") == PODS:
            self.done.set()
        raw = orjson.dumps(obj)
        for stream in self.streams.get(resource, ()):
            stream.send(b'{"type":"%b","object":%b}\n' % (kind.encode(), raw))
        return raw

    def make(self, resource: str, obj: Obj) -> bytes:
        meta = obj["metadata"]
        meta["name"] = meta.get("name") or f"{meta['generateName']}{self.version:05x}"
        meta |= {"namespace": "default", "uid": f"{self.version:032x}", "generation": 1}
        meta["creationTimestamp"] = format_time(time.time())
        obj.setdefault("status", {"phase": "Pending"} if resource == "pods" else {})
        if resource == "pods":
            asyncio.get_running_loop().call_later(0.02, self.play, meta["name"], False)
        return self.put(resource, obj, "ADDED")

    def play(self, name: str, bound: bool) -> None:
        start = time.process_time()
        pod = self.objects["pods"][name]
        if not bound:
            pod["spec"]["nodeName"] = "node-1"
            asyncio.get_running_loop().call_later(0.02, self.play, name, True)
        else:
            now = format_time(time.time())
            kinds = ("Initialized", "Ready", "ContainersReady", "PodScheduled")
            conditions = [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in kinds]
            statuses = [{"name": "c", "ready": True, "restartCount": 0, "state": {"running": {"startedAt": now}}}]
            pod["status"] = {"phase": "Running", "conditions": conditions, "containerStatuses": statuses}
        self.put("pods", pod)
        self.spent += time.process_time() - start

    async def request(self, method: str, path: str, *, body: bytes = b"", **_: Any) -> Reply:
        start = time.process_time()
        obj = orjson.loads(body)
        parts = path.partition("?")[0].split("/namespaces/default/")[1].split("/")
        what = f"{method} {'/'.join((parts[0], *parts[2:]))}"
        self.writes[what] = self.writes.get(what, 0) + 1
        if method == "POST" and parts[0] in self.objects:
            raw = self.make(parts[0], obj)
        elif method == "PUT":
            raw = self.put(parts[0], obj)
        else:  # an event, or a patch of one
            name = parts[1] if len(parts) > 1 else obj["metadata"]["name"]
            self.events[name] = {**self.events.get(name, {}), **obj}
            raw = orjson.dumps(self.events[name])
        self.spent += time.process_time() - start
        return Reply(201 if method == "POST" else 200, {"content-type": "application/json"}, raw)

    async def stream(self, path: str, **_: Any) -> Lines:
        stream = Lines()
        self.streams.setdefault(path.partition("?")[0].rpartition("/")[2], []).append(stream)
        end = {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}
        stream.send(b'{"type":"BOOKMARK","object":%b}\n' % orjson.dumps({"metadata": end}))
        return stream

    async def upgrade(self, method: str, path: str, **_: Any) -> Any:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing is open."""


class Lines:
    """A watch: what is sent before it is read comes in one piece."""

    code = 200
    headers: dict[str, str] = {}

    def __init__(self) -> None:
        self.waiting: list[bytes] = []
        self.more = asyncio.Event()

    def send(self, line: bytes) -> None:
        self.waiting.append(line)
        self.more.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await self.more.wait()
            self.more.clear()
            lines, self.waiting = self.waiting, []
            yield b"".join(lines)

    async def read(self, max_body: int = 0) -> bytes:
        return b""

    async def aclose(self) -> None:
        """Nothing is open."""


async def own_share() -> list[Figure]:
    """CPU of both controllers for each pod of a Deployment, until all are available; and their writes."""
    double = Double()
    client = Client(double, user_agent="bench")
    informers = Informers(client, rng=random.Random(1))
    recorders: list[EventRecorder] = []

    def recorder(component: str, client: Client) -> EventRecorder:
        recorders.append(EventRecorder(client, component, clock=time.time, rng=random.Random(1)))
        recorders[-1].start()
        return recorders[-1]

    context = Context(informers, lambda name: client, recorder, time.time, random.Random(1))
    tasks = [asyncio.create_task(build(name, context).run()) for name in NAMES]
    informers.start()
    await informers.wait_synced()
    spent = time.process_time()
    double.make("deployments", deployment(PODS))
    await double.done.wait()
    spent = time.process_time() - spent - double.spent
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for made in recorders:
        await made.aclose()
    await informers.aclose()
    others = sum(count for what, count in double.writes.items() if what not in ("POST pods", "POST events"))
    return [
        (f"CPU of the controllers for each of {PODS:,} pods", spent / PODS * 1e6, "us", "<= 500"),
        ("writes besides the pods' creations and events", others, "", "<= 60"),
        ("events", double.writes.get("POST events", 0), "", "<= 30"),
    ]


def cpu(pid: int) -> float:
    """Seconds a process has run."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def processes(home: Path) -> dict[str, int]:
    """Of a cluster, by name."""
    return {path.stem: int(path.read_text().split()[0]) for path in home.rglob("*.pid")}


async def scale_up() -> list[Figure]:
    """From 0 to 1,000 replicas on 100 simulated nodes."""
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory))
        server = json.loads(bench.run("up", "--hollow", "100", "-o", "json"))["server"]
        pids = processes(Path(directory))
        pki = bench.pki
        config = Config(server, ca_file=pki / "ca.crt", certificate_file=pki / "admin.crt", key_file=pki / "admin.key")
        try:
            async with Client(HttpsTransport(config), user_agent="bench") as client:
                await nodes_ready(client, 100)
                one = statistics.median([await one_runs(client, f"one-{number}") for number in range(5)])
                await client.create("deployments", deployment(0))
                await asyncio.sleep(3)
                before = {name: cpu(pid) for name, pid in pids.items()}
                took = await all_available(client)
                spent = {name: cpu(pid) - before[name] for name, pid in pids.items()}
        finally:
            bench.run("down")
    return [
        ("Deployment of 1 replica, applied to Running", one * 1000, "ms", "<= 100"),
        (f"Deployment from 0 to {PODS:,} replicas on 100 simulated nodes", took, "s", "<= 10"),
        *((f"... CPU of {name} for each pod", seconds / PODS * 1e6, "us", "-") for name, seconds in spent.items()),
    ]


async def all_available(client: Client) -> float:
    """Seconds from the Deployment's scaling until all of it is available."""
    start = time.perf_counter()
    await client.set_scale("deployments", "web", "default", PODS)
    async with await client.watch("deployments", "default", field_selector="metadata.name=web") as watch:
        async for event in watch:
            if event.object.get("status", {}).get("availableReplicas") == PODS:
                break
    return time.perf_counter() - start


async def one_runs(client: Client, name: str) -> float:
    """Seconds from a Deployment's creation until its pod runs."""
    start = time.perf_counter()
    await client.create("deployments", deployment(1, name))
    async with await client.watch("pods", "default", initial=True, label_selector=f"app={name}") as watch:
        async for event in watch:
            if event.object.get("status", {}).get("phase") == "Running":
                break
    return time.perf_counter() - start


async def nodes_ready(client: Client, count: int) -> None:
    names: set[str] = set()
    async with await client.watch("nodes", initial=True) as watch:
        async for event in watch:
            names |= {event.object["metadata"]["name"]} if event.type == "ADDED" else set()
            if len(names) >= count:
                return


async def measure() -> list[Figure]:
    return [*await own_share(), *await scale_up()]


if __name__ == "__main__":
    import uvloop  # as the commands run

    for what, figure, unit, budget in uvloop.run(measure()):
        print(f"{what:64} {figure:12,.1f} {unit:4} budget {budget}")

"""The API server over TLS: a load generator in this process, the server in one of its own, and nobody else.

The generator shares the machine; with two cores each has one. `python -m benchmarks.api`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from benchmarks.report import Figure, few, run
from sampan.cluster import certificates

Make = Callable[[int], bytes]


class Client(asyncio.Protocol):
    """One keep-alive connection. Replies by Content-Length go to `done(code, body)`; of a stream, to `chunk(data)`.

    As little as can be is done here: what the generator takes, the server does not get.
    """

    def __init__(self) -> None:
        self.transport: Any = None
        self.done: Callable[[int, bytes], None] = lambda code, body: None
        self.chunk: Callable[[bytes], None] | None = None
        self._data: list[bytes] = []
        self._have, self._need, self._code, self._head = 0, 0, 0, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.done(0, b"the connection was lost")

    def data_received(self, data: bytes) -> None:
        if self.chunk is not None:
            self.chunk(data)
            return
        self._data.append(data)
        self._have += len(data)
        if not self._need and not self._begin():
            return
        if self._have >= self._need:
            whole = self._data[0] if len(self._data) == 1 else b"".join(self._data)
            self._data, self._have, self._need = [], 0, 0
            self.done(self._code, whole[self._head :])

    def _begin(self) -> bool:
        """Has the head come?"""
        whole = b"".join(self._data)
        end = whole.find(b"\r\n\r\n")
        if end < 0:
            return False
        self._code, self._head = int(whole[9:12]), end + 4
        at = whole.find(b"Content-Length: ", 0, end)
        self._need = self._head + (int(whole[at + 16 : whole.find(b"\r", at)]) if at >= 0 else 0)
        return True

    async def send(self, request: bytes) -> tuple[int, bytes]:
        answer: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self.done = lambda code, body: answer.set_result((code, body)) if not answer.done() else None
        self.transport.write(request)
        return await answer

    async def watch(self, request: bytes, chunk: Callable[[bytes], None]) -> None:
        """From the head on, everything goes to `chunk`."""
        await self.send(request)
        self.chunk = chunk


def request(method: str, path: str, body: Any = None, media: str = "application/json", accept: str = "*/*") -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nUser-Agent: bench/1\r\n"
    head += f"Content-Type: {media}\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


class Bench:
    """A cluster of its own, and the figures taken from it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {
            "SAMPAN_HOME": str(home),
            "KUBECONFIG": str(home / "config"),
            "SAMPAN_NODES": "0",
            "PATH": "/usr/bin:/bin",
        }
        self.pki = home / "clusters" / "default" / "pki"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    def serve(self, data: Path | None = None) -> None:
        """The API server by itself, as `sampan up` starts it; until it says that it is ready."""
        certificates.ensure(self.pki, ["10.96.0.1"])
        self.port = _free_port()
        reader, writer = os.pipe()
        flags = {
            "secure-port": self.port, "ready-fd": writer, "data-dir": data or self.home,
            "tls-cert-file": self.pki / "apiserver.crt", "tls-private-key-file": self.pki / "apiserver.key",
            "client-ca-file": self.pki / "ca.crt", "service-account-key-file": self.pki / "sa.pub",
            "service-account-signing-key-file": self.pki / "sa.key",
        }  # fmt: skip
        command = [sys.executable, "-m", "sampan.cli", "apiserver", *(f"--{name}={flags[name]}" for name in flags)]
        # as users have it: compiled once
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self.process = subprocess.Popen(command, pass_fds=[writer], stderr=subprocess.DEVNULL, env=env)
        os.close(writer)
        with open(reader, "rb") as said:
            if not said.read(5) == b"ready":
                raise RuntimeError("the server did not start")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()

    def run(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "sampan.cli", *arguments]
        return subprocess.run(command, env=self.env, check=True, capture_output=True, text=True).stdout

    async def connect(self, *, known: bool = True) -> Client:
        """As the administrator, or as nobody."""
        context = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        if known:
            context.load_cert_chain(self.pki / "admin.crt", self.pki / "admin.key")
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(Client, "127.0.0.1", self.port, ssl=context))[1]

    async def rate(self, make: Make, total: int, connections: int = 16, ok: tuple[int, ...] = (200, 201)) -> float:
        """Requests a second."""
        clients = [await self.connect() for _ in range(connections)]
        numbers = iter(range(total))
        finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        left = total

        def next_one(client: Client) -> None:
            number = next(numbers, None)
            if number is not None:
                client.transport.write(make(number))

        def answered(client: Client) -> Callable[[int, bytes], None]:
            def done(code: int, body: bytes) -> None:
                nonlocal left
                left -= 1
                if code not in ok and not finished.done():
                    finished.set_exception(RuntimeError(f"{code}: {body[:300]!r}"))
                elif left:
                    next_one(client)
                elif not finished.done():
                    finished.set_result(None)

            return done

        start = time.perf_counter()
        for client in clients:
            client.done = answered(client)
            next_one(client)
        await finished
        took = time.perf_counter() - start
        for client in clients:
            client.transport.close()
        return total / took

    async def median_ms(self, what: bytes, runs: int = 9) -> float:
        client = await self.connect()
        figures = []
        for _ in range(runs):
            start = time.perf_counter()
            code, _ = await client.send(what)
            figures.append((time.perf_counter() - start) * 1000)
            assert code == 200
        client.transport.close()
        return statistics.median(figures)

    def pid(self) -> int:
        if self.process is not None:
            return self.process.pid
        return int(json.loads(self.run("status", "-o", "json"))[0]["pid"])

    def memory(self) -> float:
        """MB resident in the server."""
        text = Path(f"/proc/{self.pid()}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def cpu(self) -> float:
        """Seconds of a processor that the server has taken, all its threads."""
        tasks = Path(f"/proc/{self.pid()}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    async def bare(self, total: int) -> float:
        """Requests a second that a server takes that does nothing."""
        port, self.port = self.port, _free_port()
        files = [str(self.pki / name) for name in ("apiserver.crt", "apiserver.key")]
        command = [sys.executable, "-m", "benchmarks.bare", str(self.port), *files]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None and await process.stdout.readline()
            return await self.rate(lambda _: b"GET / HTTP/1.1\r\n\r\n", total)
        finally:
            process.terminate()
            await process.wait()
            self.port = port

    async def figures(self, what: str, make: Make, total: int, budget: str) -> list[Figure]:
        """The rate, and what each request costs the server."""
        before = self.cpu()
        rate = await self.rate(make, total)
        each = (self.cpu() - before) / total * 1e6
        return [(what, rate, "/s", budget), ("  processor time of the server for each", each, "us", "-")]

    async def idle_cpu(self, seconds: float = 10.0) -> float:
        """Per cent of a core that the server takes while nobody asks."""
        before = self.cpu()
        await asyncio.sleep(seconds)
        return (self.cpu() - before) / seconds * 100


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[Bench]:
    """A server of its own, while it is used."""
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory))
        try:
            bench.serve()
            yield bench
        finally:
            bench.stop()


def pod(name: str) -> dict[str, Any]:
    env = [{"name": f"VARIABLE_{number}", "value": "x" * 40} for number in range(26)]
    containers = [{"name": "c", "image": "registry.example.com/app:v1", "env": env, "ports": [{"containerPort": 80}]}]
    meta = {"name": name, "labels": {"app": "web", "tier": "front"}}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": meta, "spec": {"containers": containers}}


def deployment(name: str, replicas: int) -> dict[str, Any]:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    return {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": name}, "spec": spec}


EVENTS = 40
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PROTOBUF = "application/vnd.kubernetes.protobuf"
PODS, CMS = "/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


async def measure() -> list[Figure]:
    async with served() as bench:
        return await figures(bench)


async def figures(bench: Bench) -> list[Figure]:
    out: list[Figure] = [("idle CPU of the server", await bench.idle_cpu(few(10)), "%", "< 0.5")]
    what = "for scale: a server that does nothing, TLS, 16 connections"
    out.append((what, await bench.bare(few(20000)), "/s", "(86,000 where budgets were set)"))
    data, pods = {"data": {"k": "x" * 1000}}, few(5000)

    def config_map(number: int) -> bytes:
        return request("POST", CMS, {"metadata": {"name": f"c{number}"}, **data})

    out += await bench.figures("create ConfigMap 1 KB, durable, 16 connections", config_map, few(3000), ">= 4,000")
    before = bench.memory()

    def new_pod(number: int) -> bytes:
        return request("POST", PODS, pod(f"p{number:05}"))

    what = "create Pod 5 KB, all default admission, durable, 16 connections"
    out += await bench.figures(what, new_pod, pods, ">= 1,500")
    out.append(("memory for each stored 5 KB Pod", (bench.memory() - before) * 1024 / pods, "KB", "<= 12"))
    one = request("GET", f"{PODS}/p00001")
    out += await bench.figures("GET one Pod, 16 connections", lambda _: one, few(20000), ">= 15,000")
    what = f"LIST {pods:,} Pods, whole, with transfer"
    out.append((what, await bench.median_ms(request("GET", PODS)), "ms", "<= 60"))
    out.append(("LIST a page of 500", await bench.median_ms(request("GET", f"{PODS}?limit=500")), "ms", "<= 5"))
    binary = request("GET", PODS, accept=PROTOBUF)
    what = "  in protobuf, each encoded for the first time"
    out.append((what, await bench.median_ms(binary, 1), "ms", "-"))
    out.append(("  in protobuf, encoded before", await bench.median_ms(binary), "ms", "<= 60"))
    out += encoding(json.loads((await (await bench.connect()).send(one))[1]))
    table = request("GET", f"{PODS}?limit=500", accept=TABLE)
    out.append(("Table of 500 Pods, cold", await bench.median_ms(table, 1), "ms", "<= 10"))
    out.append(("Table of 500 Pods, nothing changed", await bench.median_ms(table), "ms", "<= 3"))
    await bench.rate(lambda n: request("POST", DEPLOYMENTS, deployment(f"d{n}", 1)), 16)

    def patch(number: int) -> bytes:
        body = {"spec": {"replicas": number + 2}}
        return request("PATCH", f"{DEPLOYMENTS}/d{number % 16}", body, "application/strategic-merge-patch+json")

    def apply(number: int) -> bytes:
        path = f"{DEPLOYMENTS}/d{number % 16}?fieldManager=bench&force=true"
        return request("PATCH", path, deployment(f"d{number % 16}", number + 2), "application/apply-patch+yaml")

    def update(number: int) -> bytes:
        return request("PUT", f"{DEPLOYMENTS}/d{number % 16}", deployment(f"d{number % 16}", number + 2))

    out += await bench.figures("update of a Deployment", update, few(2000), ">= 2,000")
    out += await bench.figures("strategic merge patch of a Deployment", patch, few(2000), ">= 1,200")
    out += await bench.figures("server-side apply of a Deployment", apply, few(1000), ">= 600")
    before = bench.cpu()
    rate = await fan_out(bench, few(1000))
    each = (bench.cpu() - before) / (few(1000) * EVENTS) * 1e6
    out.append((f"watch: deliveries to {few(1000):,} watchers, over TLS", rate, "/s", ">= 40,000 (plain)"))
    out.append(("  processor time of the server for each", each, "us", "-"))
    return out


def encoding(stored: dict[str, Any], runs: int = 300) -> list[Figure]:
    """One Pod from a dict to bytes, and from bytes to a dict."""
    import orjson

    from sampan.api.schema import facts, protobuf, protobuf_write

    node, data = facts.struct("core_v1", "Pod"), orjson.dumps(stored)
    message = protobuf_write.encode(node, stored)
    out: list[Figure] = []
    for what, work in (
        ("encode a 5 KB Pod as protobuf", lambda: protobuf_write.encode(node, stored)),
        ("  as JSON", lambda: orjson.dumps(stored)),
        ("read a 5 KB Pod from protobuf", lambda: protobuf.message(node, message)),
        ("  from JSON", lambda: orjson.loads(data)),
    ):
        took = []
        for _ in range(runs):
            start = time.perf_counter()
            work()
            took.append(time.perf_counter() - start)
        out.append((what, statistics.median(took) * 1e6, "us", "-"))
    return out


async def fan_out(bench: Bench, watchers: int = 1000, events: int = EVENTS) -> float:
    """Deliveries of 5 KB events a second, over TLS, from one writer to all watchers; raises TimeoutError when one is lost."""
    clients = [await bench.connect() for _ in range(watchers)]
    path = "/api/v1/namespaces/kube-public/configmaps"
    _, listed = await clients[0].send(request("GET", path))
    since = json.loads(listed)["metadata"]["resourceVersion"]
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    left = watchers

    def counted() -> Callable[[bytes], None]:
        seen = 0

        def chunk(data: bytes) -> None:
            nonlocal seen, left
            seen += data.count(b'{"type":"ADDED"')
            if seen == events:
                left -= 1
                if not left:
                    finished.set_result(None)

        return chunk

    for client in clients:
        await client.watch(request("GET", f"{path}?watch=1&resourceVersion={since}"), counted())

    writer = await bench.connect()
    start = time.perf_counter()
    for number in range(events):
        body = {"metadata": {"name": f"w{number}"}, "data": {"k": "x" * 5000}}
        await writer.send(request("POST", path, body))
    async with asyncio.timeout(120):
        await finished
    took = time.perf_counter() - start
    for client in clients:
        client.transport.close()
    return watchers * events / took


if __name__ == "__main__":
    run(measure)

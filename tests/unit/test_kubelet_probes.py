"""Probes under virtual time, and their requests to real servers."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sampan.api.times import format_time
from sampan.http.client import dial
from sampan.kubelet.cri import CriFailed
from sampan.kubelet.hooks import HookFailed, run_hook
from sampan.kubelet.probes import Outcome, ProbeError, Probes, attempt, grpc, http
from sampan.testing.loop import START

Obj = dict[str, Any]
GOOD, BAD = Outcome("success", "ok"), Outcome("failure", "HTTP probe failed with statuscode: 500")


class World:
    """One pod with one container, probed by answers that the test gives."""

    def __init__(self, *, restart: str = "Always", sidecar: bool = False, started: float = 0.0, **probes: Obj) -> None:
        loop = asyncio.get_running_loop()
        self.clock: Callable[[], float] = lambda: START + loop.time()
        container = {
            "name": "app",
            **{f"{kind}Probe": {"periodSeconds": 10, **probe} for kind, probe in probes.items()},
        }
        if sidecar:
            container["restartPolicy"] = "Always"
        spec: Obj = {"restartPolicy": restart, "containers": [{"name": "main"}] if sidecar else [container]}
        if sidecar:
            spec["initContainers"] = [container]
        self.pod: Obj = {"metadata": {"name": "web", "namespace": "default", "uid": "u"}, "spec": spec}
        self.field = "initContainerStatuses" if sidecar else "containerStatuses"
        self.status: Obj = {}
        self.answers: dict[str, Outcome | Exception] = {}
        self.asked: list[tuple[float, str]] = []
        self.told: list[tuple[str, str]] = []
        self.changes: list[tuple[float, str, str]] = []
        self.kinds = {id(container[f"{kind}Probe"]): kind for kind in probes}
        self.probes = self.made()
        self.runs("c1", started)

    def made(self) -> Probes:
        async def run(*_: object) -> tuple[int, bytes]:
            raise AssertionError

        return Probes(
            run, self, self.changed, status=lambda _: self.status, clock=self.clock, rng=random.Random(1),
            attempt=self.attempt,
        )  # fmt: skip

    def event(self, about: Obj, type: str, reason: str, message: str) -> None:
        assert type == "Warning" and about["fieldPath"].endswith("{app}")
        self.told.append((reason, message))

    def changed(self, uid: str, name: str, kind: str, result: str) -> None:
        self.changes.append((asyncio.get_running_loop().time(), kind, result))

    async def attempt(self, probe: Obj, container: Obj, container_id: str, ip: str) -> Outcome:
        kind = self.kinds[id(probe)]
        self.asked.append((asyncio.get_running_loop().time(), kind))
        answer = self.answers.get(kind, GOOD)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def runs(self, key: str, started: float = 0.0, **state: Obj) -> None:
        self.status = {
            "phase": "Running",
            "podIPs": [{"ip": "10.0.0.5"}],
            self.field: [
                {"name": "app", "containerID": f"sampan://{key}",
                 "state": state or {"running": {"startedAt": format_time(START + started)}}}
            ],
        }  # fmt: skip
        self.probes.add(self.pod)


def times(world: World, kind: str) -> list[float]:
    return [when for when, asked in world.asked if asked == kind]


@pytest.mark.virtual
async def test_liveness_fails_after_its_threshold_and_rests_until_another_container_comes() -> None:
    world = World(liveness={"failureThreshold": 2})
    world.answers["liveness"] = BAD
    await asyncio.sleep(35)
    assert times(world, "liveness") == [0, 10]
    assert world.changes == [(0, "liveness", "success"), (10, "liveness", "failure")]
    assert world.probes.live("c1") is False
    assert world.told == [("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500")] * 2
    world.answers["liveness"] = GOOD
    world.runs("c2", 36)
    await asyncio.sleep(10)
    assert times(world, "liveness") == [0, 10, 40]
    assert (world.probes.live("c1"), world.probes.live("c2")) == (None, True)


@pytest.mark.virtual
async def test_readiness_is_asked_at_once_when_a_container_has_come() -> None:
    world = World(readiness={"successThreshold": 2})
    world.status = {}
    await asyncio.sleep(3)
    assert world.asked == [] and not world.probes.ready("u", "c1")
    world.runs("c1")
    await asyncio.sleep(0.001)
    assert times(world, "readiness") == [3] and not world.probes.ready("u", "c1")
    await asyncio.sleep(8)
    assert world.probes.ready("u", "c1")
    world.answers["readiness"] = BAD
    await asyncio.sleep(15)
    assert world.probes.ready("u", "c1"), "three failures are needed"
    await asyncio.sleep(20)
    assert not world.probes.ready("u", "c1")
    world.answers["readiness"] = GOOD
    await asyncio.sleep(30)
    assert world.probes.ready("u", "c1"), "it is asked on"


@pytest.mark.virtual
async def test_nothing_else_is_asked_until_it_has_started() -> None:
    world = World(startup={"periodSeconds": 5, "failureThreshold": 4}, readiness={"periodSeconds": 100}, liveness={})
    world.answers["startup"] = BAD
    await asyncio.sleep(12)
    assert times(world, "startup") == [0, 5, 10]
    assert times(world, "readiness") == times(world, "liveness") == []
    assert not world.probes.started("u", "c1") and world.probes.startup("c1") is None
    world.answers["startup"] = GOOD
    await asyncio.sleep(3.5)
    assert world.probes.started("u", "c1") and world.probes.startup("c1")
    assert times(world, "readiness") == [15], "at once, not at its next turn"
    await asyncio.sleep(20)
    assert times(world, "startup") == [0, 5, 10, 15] and times(world, "liveness") == [20, 30]


@pytest.mark.virtual
async def test_a_container_that_does_not_start_is_given_up() -> None:
    world = World(startup={"failureThreshold": 3})
    world.answers["startup"] = BAD
    await asyncio.sleep(60)
    assert times(world, "startup") == [0, 10, 20] and world.probes.startup("c1") is False
    assert world.changes[-1] == (20, "startup", "failure")


@pytest.mark.virtual
async def test_a_container_that_is_about_to_start_has_not_failed() -> None:
    world = World(startup={"periodSeconds": 1}, liveness={"periodSeconds": 1})
    world.runs("c2", waiting={"reason": "ContainerCreating"})
    await asyncio.sleep(5)
    assert world.probes.startup("c2") is None and world.probes.live("c2") is not False
    world.runs("c2", 5)
    await asyncio.sleep(2)
    assert world.probes.startup("c2") is True


@pytest.mark.virtual
async def test_initial_delay_counts_from_the_containers_start() -> None:
    world = World(started=4, liveness={"initialDelaySeconds": 15})
    await asyncio.sleep(31)
    assert times(world, "liveness") == [20, 30]


@pytest.mark.virtual
async def test_what_cannot_be_tried_is_tried_three_times_and_means_nothing() -> None:
    world = World(liveness={"failureThreshold": 1})
    world.answers["liveness"] = ProbeError('strconv.Atoi: parsing "web": invalid syntax')
    await asyncio.sleep(1)
    assert len(world.asked) == 3 and world.probes.live("c1")
    words = 'Liveness probe errored and resulted in unknown state: strconv.Atoi: parsing "web": invalid syntax'
    assert world.told == [("Unhealthy", words)]


@pytest.mark.virtual
async def test_a_warning_is_a_success() -> None:
    world = World(readiness={})
    world.answers["readiness"] = Outcome("warning", "Probe terminated redirects, Response body: moved")
    await asyncio.sleep(1)
    assert world.probes.ready("u", "c1")
    words = "Readiness probe warning: Probe terminated redirects, Response body: moved"
    assert world.told == [("ProbeWarning", words)]


@pytest.mark.virtual
async def test_a_terminating_pod_is_asked_for_its_readiness_alone() -> None:
    world = World(readiness={}, liveness={"failureThreshold": 1})
    await asyncio.sleep(1)
    world.answers.update(readiness=BAD, liveness=BAD)
    world.pod["metadata"]["deletionTimestamp"] = format_time(START + 1)
    world.probes.add(world.pod)
    await asyncio.sleep(30)
    assert times(world, "liveness") == [0] and not world.probes.ready("u", "c1")
    assert ("liveness", "failure") not in [change[1:] for change in world.changes]
    world.probes.remove("u")
    asked = len(world.asked)
    await asyncio.sleep(30)
    assert len(world.asked) == asked


@pytest.mark.virtual
@pytest.mark.parametrize(
    ("restart", "sidecar", "again"), [("Never", False, False), ("OnFailure", False, True), ("Never", True, True)]
)
async def test_an_ended_container_is_not_ready_and_followed_if_it_comes_again(
    restart: str, sidecar: bool, again: bool
) -> None:
    world = World(restart=restart, sidecar=sidecar, readiness={})
    await asyncio.sleep(1)
    assert world.probes.ready("u", "c1")
    world.runs("c1", terminated={"exitCode": 1})
    await asyncio.sleep(15)
    assert not world.probes.ready("u", "c1")
    world.runs("c2", 16)
    await asyncio.sleep(15)
    assert world.probes.ready("u", "c2") == again


@pytest.mark.virtual
async def test_a_kubelet_that_starts_anew_believes_what_it_said_before_and_spreads_its_questions() -> None:
    world = World(readiness={"failureThreshold": 3})
    await world.probes.aclose()
    await asyncio.sleep(1000)
    world.asked.clear()
    world.pod["status"] = {"startTime": format_time(START), **world.status}
    world.pod["status"]["containerStatuses"][0].update(ready=True)
    world.probes = world.made()
    world.answers["readiness"] = BAD
    world.runs("c1")
    await asyncio.sleep(10)
    assert 1000 < world.asked[0][0] < 1010 and world.probes.ready("u", "c1")
    await asyncio.sleep(20)
    assert not world.probes.ready("u", "c1")


@pytest.mark.virtual
async def test_an_attempt_that_takes_long_is_not_made_up_for() -> None:
    world = World(liveness={"periodSeconds": 1})

    async def slow(*_: object) -> Outcome:
        world.asked.append((asyncio.get_running_loop().time(), "liveness"))
        await asyncio.sleep(2.5)
        return GOOD

    world.probes._attempt = slow
    await asyncio.sleep(8)
    assert times(world, "liveness") == [0, 2.5, 5, 7.5]


@pytest.mark.virtual
async def test_results_are_counted() -> None:
    world = World(readiness={}, liveness={})
    await asyncio.sleep(11)
    world.answers["readiness"] = BAD
    await asyncio.sleep(10)
    lines = world.probes.metrics().splitlines()
    labels = 'container="app",namespace="default",pod="web"'
    assert f'prober_probe_total{{{labels},pod_uid="u",probe_type="Readiness",result="successful"}} 2' in lines
    assert f'prober_probe_total{{{labels},pod_uid="u",probe_type="Readiness",result="failed"}} 1' in lines
    assert (
        'prober_probe_duration_seconds_bucket{container="app",le="0.005",namespace="default",pod="web",probe_type="Liveness"} 3'
        in lines
    )
    assert f'prober_probe_duration_seconds_count{{{labels},probe_type="Readiness"}} 2' in lines


# -- attempts ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def server(
    answer: Callable[[str], bytes] | None, context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[str]]]:
    """Takes requests, and answers with what `answer` makes of a head; None: says nothing. Heads are kept."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.read(1 << 16)).decode(errors="replace")  # a request, or the beginning of a handshake
            heads.append(head)
            if answer is None:
                await reader.read()
            else:
                writer.write(answer(head))
                await writer.drain()
        except OSError:
            return
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with listener:
        yield listener.sockets[0].getsockname()[1], heads


def reply(code: int, body: str = "", **headers: str) -> Callable[[str], bytes]:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return lambda _: f"HTTP/1.1 {code} X\r\nContent-Length: {len(body)}\r\n{lines}\r\n{body}".encode()


async def nothing(*_: object) -> tuple[int, bytes]:
    raise AssertionError


async def tried(probe: Obj, container: Obj | None = None) -> Outcome:
    return await attempt({"timeoutSeconds": 1, **probe}, container or {"name": "app"}, "c1", "127.0.0.1", nothing)


async def free_port() -> int:
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as listener:
        return int(listener.sockets[0].getsockname()[1])


async def test_http() -> None:
    async with server(reply(200, "x" * 20000)) as (port, heads):
        container = {"name": "app", "ports": [{"name": "web", "containerPort": port}]}
        done = await tried({"httpGet": {"port": "web", "path": "/a b?c=d"}}, container)
        assert done.result == "success" and len(done.output) == http.MAX_BODY
        lines = heads[0].splitlines()
        assert lines[0] == "GET /a%20b?c=d HTTP/1.1"
        assert sorted(lines[1:-1]) == [
            "Accept: */*", "Connection: close", f"Host: 127.0.0.1:{port}", "User-Agent: kube-probe/1.37"
        ]  # fmt: skip
        own = [{"name": "Host", "value": "example.org"}, {"name": "X-A", "value": "1"}, {"name": "Accept", "value": ""},
               {"name": "User-Agent", "value": "me"}]  # fmt: skip
        await tried({"httpGet": {"port": port, "httpHeaders": own}})
        assert sorted(heads[1].splitlines()[1:-1]) == [
            "Connection: close",
            "Host: example.org",
            "User-Agent: me",
            "X-A: 1",
        ]


@pytest.mark.parametrize(("code", "result"), [(204, "success"), (304, "warning"), (404, "failure"), (500, "failure")])
async def test_http_codes(code: int, result: str) -> None:
    async with server(reply(code)) as (port, _):
        done = await tried({"httpGet": {"port": port}})
    assert done.result == result
    assert result != "failure" or done.output == f"HTTP probe failed with statuscode: {code}"


async def test_http_redirects() -> None:
    def answer(head: str) -> bytes:
        path = head.split()[1]
        targets = {"/": "/there", "/far": "http://example.org/", "/loop": "/loop"}
        return reply(302, "moved", Location=targets[path])(head) if path in targets else reply(200, path)(head)

    async with server(answer) as (port, heads):
        assert await tried({"httpGet": {"port": port}}) == Outcome("success", "/there")
        far = await tried({"httpGet": {"port": port, "path": "/far"}})
        assert far == Outcome("warning", "Probe terminated redirects, Response body: moved")
        heads.clear()
        loop = await tried({"httpGet": {"port": port, "path": "/loop"}})
        assert loop == Outcome("failure", f'Get "http://127.0.0.1:{port}/loop": stopped after 10 redirects')
        assert len(heads) == 10


async def test_https_is_not_verified(pki: Any) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pki.path("apiserver.crt"), pki.path("apiserver.key"))
    async with server(reply(200, "ok"), context) as (port, _):
        assert await tried({"httpGet": {"port": port, "scheme": "HTTPS", "host": "localhost"}}) == Outcome(
            "success", "ok"
        )
        plain = await tried({"httpGet": {"port": port}})
        assert plain.result == "failure"
    async with server(reply(200)) as (port, _):
        done = await tried({"httpGet": {"port": port, "scheme": "HTTPS"}})
        words = "http: server gave HTTP response to HTTPS client"
        assert done == Outcome("failure", f'Get "https://127.0.0.1:{port}/": {words}')


async def test_http_that_does_not_answer() -> None:
    port = await free_port()
    refused = await tried({"httpGet": {"port": port, "path": "/healthz"}})
    words = f'Get "http://127.0.0.1:{port}/healthz": dial tcp 127.0.0.1:{port}: connect: connection refused'
    assert refused == Outcome("failure", words)
    async with server(None) as (port, _):
        late = await tried({"httpGet": {"port": port}, "timeoutSeconds": 0.05})
        words = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        assert late == Outcome("failure", f'Get "http://127.0.0.1:{port}/": {words}')
    async with server(lambda _: b"") as (port, _):
        assert await tried({"httpGet": {"port": port}}) == Outcome("failure", f'Get "http://127.0.0.1:{port}/": EOF')
    async with server(lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx") as (port, _):
        with pytest.raises(ProbeError, match="unexpected EOF"):
            await tried({"httpGet": {"port": port}})


async def test_ports_that_are_none() -> None:
    with pytest.raises(ProbeError, match=r'strconv.Atoi: parsing "web": invalid syntax'):
        await tried({"tcpSocket": {"port": "web"}})
    with pytest.raises(ProbeError, match="invalid port number: 70000"):
        await tried({"httpGet": {"port": "70000"}})


async def test_tcp() -> None:
    async with server(None) as (port, _):
        assert (await tried({"tcpSocket": {"port": port}})).result == "success"
    refused = await tried({"tcpSocket": {"port": port}})
    assert refused == Outcome("failure", f"dial tcp 127.0.0.1:{port}: connect: connection refused")


async def test_commands() -> None:
    asked: list[tuple[str, list[str], float]] = []
    result: tuple[int, bytes] | Exception = (0, b"fine")

    async def run(container: str, command: Any, timeout: float) -> tuple[int, bytes]:
        asked.append((container, list(command), timeout))
        if isinstance(result, Exception):
            raise result
        return result

    probe = {"exec": {"command": ["cat", "/tmp/healthy"]}, "timeoutSeconds": 3}

    async def tried() -> Outcome:
        return await attempt(probe, {"name": "app"}, "c1", "", run)

    assert await tried() == Outcome("success", "fine") and asked == [("c1", ["cat", "/tmp/healthy"], 3.0)]
    result = (1, b"cat: can't open '/tmp/healthy'\n")
    assert await tried() == Outcome("failure", "cat: can't open '/tmp/healthy'\n")
    result = CriFailed("DEADLINE_EXCEEDED", "slow")
    assert await tried() == Outcome("failure", 'command timed out: "cat /tmp/healthy" timed out after 3s')
    result = CriFailed("NOT_FOUND", "no such container")
    with pytest.raises(ProbeError, match="rpc error: code = NotFound desc = no such container"):
        await tried()


@pytest.mark.parametrize(
    ("answer", "healthy", "words"),
    [
        (b"\x08\x01", True, "service healthy"),
        (b"\x08\x02", False, 'service unhealthy (responded with "NOT_SERVING")'),
        (b"", False, 'service unhealthy (responded with "UNKNOWN")'),
    ],
)
async def test_grpc(answer: bytes, healthy: bool, words: str) -> None:
    async with health({"": answer}) as port:
        assert await grpc.check("127.0.0.1", port, "", 1) == (healthy, words)


async def test_grpc_goes_where_the_others_go() -> None:
    asked: list[tuple[str, int]] = []

    async def elsewhere(factory: Any, host: str, port: int, **more: Any) -> Any:
        asked.append((host, port))
        return await dial(factory, "127.0.0.1", there, **more)

    async with health({"": b"\x08\x01"}) as there:
        assert await grpc.check("10.9.8.7", 50051, "", 2, elsewhere) == (True, "service healthy")
    assert set(asked) == {("10.9.8.7", 50051)}
    words = 'timeout: failed to connect service "10.9.8.7:50051" within 0s: context deadline exceeded'
    assert await grpc.check("10.9.8.7", 50051, "", 0.1, elsewhere) == (False, words)


@asynccontextmanager
async def health(answers: dict[str, bytes]) -> AsyncIterator[int]:
    import importlib

    rpc: Any = importlib.import_module("grpc")
    aio: Any = importlib.import_module("grpc.aio")

    async def check(request: bytes, context: Any) -> bytes:
        name = request[2:].decode()
        if name not in answers:
            await context.abort(rpc.StatusCode.NOT_FOUND, "unknown service")
        return answers[name]

    handlers = {"Check": rpc.unary_unary_rpc_method_handler(check)}
    made = aio.server()
    made.add_generic_rpc_handlers((rpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
    port = made.add_insecure_port("127.0.0.1:0")
    await made.start()
    try:
        yield port
    finally:
        await made.stop(None)


async def test_grpc_that_is_something_else() -> None:
    async with health({"a" * 100: b"\x08\x01"}) as port:
        done = await tried({"grpc": {"port": port, "service": "b"}})
        words = "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service"
        assert done == Outcome("failure", words)
    assert grpc.request("a" * 200) == b"\x0a\xc8\x01" + b"a" * 200
    port = await free_port()
    words = f'timeout: failed to connect service "127.0.0.1:{port}" within 0s: context deadline exceeded'
    assert await grpc.check("127.0.0.1", port, "", 0.1) == (False, words)


# -- hooks -------------------------------------------------------------------------------------------------------------

POD: Obj = {"metadata": {"name": "web", "namespace": "default", "uid": "u"}}


async def hooked(handler: Obj, run: Any = nothing, **more: Any) -> None:
    await run_hook(handler, POD, {"name": "app"}, "c1", "127.0.0.1", run, **more)


async def test_hooks_over_http() -> None:
    async with server(reply(500)) as (port, heads):
        await hooked({"httpGet": {"port": port, "path": "/bye"}})
        assert heads[0].startswith("GET /bye ") and "User-Agent: kube-lifecycle/1.37" in heads[0]
        told: list[str] = []
        secret = [{"name": "Authorization", "value": "x"}]
        handler = {"httpGet": {"port": port, "scheme": "HTTPS", "httpHeaders": secret}}
        heads.clear()
        await hooked(handler, tell=lambda *words: told.append(words[1]))
        assert told == ["LifecycleHTTPFallback"] and "Authorization" not in heads[-1]
    with pytest.raises(
        HookFailed,
        match=r'HTTP lifecycle hook \(/x\) for Container "app" in Pod "web_default\(u\)" failed - error: Get',
    ):
        await hooked({"httpGet": {"port": port, "path": "/x"}})


async def test_hooks_by_command() -> None:
    async def fail(container: str, command: Any, timeout: float) -> tuple[int, bytes]:
        assert timeout == 0
        return 3, b"no\n"

    words = 'Exec lifecycle hook ([sh -c exit 3]) for Container "app" in Pod "web_default(u)" failed - error: '
    with pytest.raises(HookFailed) as caught:
        await hooked({"exec": {"command": ["sh", "-c", "exit 3"]}}, fail)
    assert str(caught.value) == words + "command 'sh -c exit 3' exited with 3: no\n, message: \"no\\n\""
    with pytest.raises(HookFailed, match="Cannot run handler: invalid handler"):
        await hooked({"tcpSocket": {"port": 1}})


@pytest.mark.virtual
async def test_hooks_that_sleep() -> None:
    await hooked({"sleep": {"seconds": 7}})
    assert asyncio.get_running_loop().time() == 7

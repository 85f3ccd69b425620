"""Logs and proxies of the API server, against a kubelet and pods that say what they were asked."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from sampan.apiserver.config import ApiServerConfig
from sampan.apiserver.server import ApiServer
from sampan.cluster.certificates import Pki
from sampan.http import HttpClient, Reply, UpgradeRefused
from sampan.http.client import dial
from sampan.http.server.listener import Server
from sampan.http.server.messages import RawConnection, Request, Response, Writer

POD_IP = "10.1.2.3"
POD, NODE, SERVICE = (
    f"/api/v1/{path}/proxy" for path in ("namespaces/default/pods/web", "nodes/n1", "namespaces/default/services/web")
)
LOG = "/api/v1/namespaces/default/pods/web/log"
PAGE = """<!doctype html><!-- <a href="/no"> --><A class=x HREF = '/a?b=1&amp;c=2'>a</a>
<img src=/i.png longdesc="i.html"><a href="http://elsewhere.example/x"><a href="//cdn/x"><a href="#part">
<script src="/s.js">if (a < b) { document.write('<a href="/raw">') }</script><form action="http://10.1.2.3:8080/do"> 1 < 2 &lt;é"""
PAGE_THROUGH = """<!doctype html><!-- <a href="/no"> --><A class=x HREF = "PROXY/a?b=1&amp;c=2">a</a>
<img src="PROXY/i.png" longdesc="i.html"><a href="http://elsewhere.example/x"><a href="//cdn/x"><a href="#part">
<script src="PROXY/s.js">if (a < b) { document.write('<a href="/raw">') }</script><form action="PROXY/do"> 1 < 2 &lt;é"""


class Echo:
    """After an upgrade: what comes goes back."""

    def __init__(self, connection: RawConnection) -> None:
        self.connection = connection

    def received(self, data: bytes) -> None:
        self.connection.send(data)
        if data.endswith(b"bye"):
            self.connection.close()

    def lost(self) -> None: ...

    def stop(self) -> None: ...


@dataclass
class Backend:
    """A pod's program, and a kubelet. `asked` and `gone`: of the endless paths."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    written: int = 0

    def app(self, request: Request) -> Response | Any:
        match request.raw_path.rsplit("/", 1)[-1]:
            case "page.html":
                return Response(200, (("Content-Type", "text/html; charset=utf-8"),), PAGE.encode())
            case "moved":
                return Response(302, (("Location", f"http://{POD_IP}:8080/there?x=1"),))
            case "cookies":
                headers = (
                    ("Set-Cookie", "a=1"),
                    ("Set-Cookie", "b=2"),
                    ("Access-Control-Allow-Origin", "*"),
                    ("Content-Encoding", "br"),
                )
                return Response(200, headers, b"not really br")
            case "upgrade":
                return Response(101, (("Upgrade", "echo"), ("Connection", "Upgrade")), upgrade=Echo)
            case "web" | "side" if "follow=true" in request.query:
                return Response(200, (("Content-Type", "text/plain"),), stream=self.endless)
            case "refused":
                return Response(
                    400,
                    (("Content-Type", "text/plain"),),
                    b'container "refused" in pod "web" is waiting to start: ContainerCreating',
                )
            case "never":
                return self.never(request)
        said = {
            "method": request.method,
            "path": request.raw_path,
            "query": request.query,
            "body": request.body.decode(),
        }
        return Response(
            200, (("Content-Type", "application/json"),), json.dumps({**said, "headers": request.headers}).encode()
        )

    async def endless(self, writer: Writer) -> None:
        writer.on_close(self.gone.set)
        while not writer.closed:
            writer.write(b"x" * 65536)
            self.written += 65536
            await writer.drain()
            await asyncio.sleep(0)

    async def never(self, request: Request) -> Response:
        request.connection.abandon()
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.gone.set()
        raise AssertionError


@dataclass
class World:
    server: ApiServer
    backend: Backend
    http: HttpClient

    async def __call__(self, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return await self.http.request(method, f"http://127.0.0.1:{self.server.port}{path}", body=body, headers=sent)

    async def json(self, method: str, path: str, body: bytes = b"", **headers: str) -> Any:
        return json.loads((await self(method, path, body, **headers)).body)

    async def make(self, path: str, obj: dict[str, Any]) -> None:
        reply = await self("POST", path, json.dumps(obj).encode(), content_type="application/json")
        assert reply.code == 201, reply.body


@pytest.fixture
async def world(pki: Pki) -> AsyncIterator[World]:
    backend = Backend()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.path("apiserver.crt"), pki.path("apiserver.key"))
    pod = Server(backend.app, ssl_context=None, hosts=["127.0.0.1"], port=0)
    kubelet = Server(backend.app, ssl_context=context, hosts=["127.0.0.1"], port=0)
    server = ApiServer(ApiServerConfig(port=0, store="memory", authorization_modes=("AlwaysAllow",)))
    for each in (pod, kubelet, server):
        await each.start()

    async def to_pod(factory: Callable[[], Any], host: str, port: int, **more: Any) -> Any:
        if (host, port) == (POD_IP, 8080):
            host, port = "127.0.0.1", pod.port
        return await dial(factory, host, port, **more)

    server.api.dialer.connect = to_pod
    async with HttpClient() as http:
        world = World(server, backend, http)
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port}},
        }
        await world.make(
            "/api/v1/nodes", {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n1"}, "status": status}
        )
        containers = [
            {"name": name, "image": "i", "ports": ports}
            for name, ports in (("web", [{"containerPort": 8080}]), ("side", []))
        ]
        spec = {"nodeName": "n1", "containers": containers, "initContainers": [{"name": "refused", "image": "i"}]}
        await world.make("/api/v1/namespaces/default/pods", {"metadata": {"name": "web"}, "spec": spec})
        found = await world.json("GET", "/api/v1/namespaces/default/pods/web")
        found["status"] |= {"podIP": POD_IP, "podIPs": [{"ip": POD_IP}], "hostIP": "127.0.0.1", "phase": "Running"}
        path = "/api/v1/namespaces/default/pods/web/status"
        assert (await world("PUT", path, json.dumps(found).encode(), content_type="application/json")).code == 200
        yield world
    await asyncio.gather(server.stop(0), pod.shutdown(0), kubelet.shutdown(0))


async def test_every_method_goes_through(world: World) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        found = await world.json(method, f"{POD}/a/b%20c//d/?x=1&x=2", b"body" if method != "GET" else b"")
        assert (found["method"], found["path"], found["query"]) == (method, "/a/b%20c/d/", "x=1&x=2")
        assert found["body"] == ("body" if method != "GET" else "")
    head = await world("HEAD", f"{POD}/page.html")
    assert (head.code, int(head.headers["content-length"]), head.body) == (200, len(PAGE.encode()), b"")


async def test_headers_there(world: World) -> None:
    found = await world.json(
        "GET", f"{POD}/x/", authorization="Basic secret", connection="x-mine", x_mine="1", x_other="2", host="me:1"
    )
    headers = found["headers"]
    assert not {"authorization", "x-mine", "connection"} & set(headers)
    assert headers["x-other"] == "2" and headers["host"] == "me:1" and headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-uri"] == f"{POD}/x/"


async def test_what_the_client_accepts_is_the_pods_matter(world: World) -> None:
    found = await world.json("GET", f"{POD}/x", accept="text/html")
    assert found["headers"]["accept"] == "text/html"


async def test_headers_back(world: World) -> None:
    reply = await world.http.stream("GET", f"http://127.0.0.1:{world.server.port}{POD}/cookies", raw=True)
    headers = [(name.lower(), value) for name, value in reply.header_list]
    assert await reply.read() == b"not really br"
    assert [value for name, value in headers if name == "set-cookie"] == ["a=1", "b=2"]
    names = [name for name, _ in headers]
    assert "access-control-allow-origin" not in names and "content-encoding" in names and names.count("date") == 1


async def test_links_and_redirects_lead_back(world: World) -> None:
    assert (await world("GET", f"{POD}/page.html")).body.decode() == PAGE_THROUGH.replace("PROXY", POD)
    moved = await world("GET", f"{POD}/moved")
    assert (moved.code, moved.headers["location"]) == (302, f"{POD}/there?x=1")


async def test_the_bare_path_is_a_directory(world: World) -> None:
    reply = await world("GET", f"{POD}?a=b")
    assert (reply.code, reply.headers["location"]) == (301, f"{POD}/?a=b")
    assert (await world.json("GET", f"{POD}/"))["path"] == (await world.json("POST", POD))["path"] == "/"


async def test_upgrades_pass(world: World) -> None:
    headers = [("Connection", "Upgrade"), ("Upgrade", "echo")]
    for path in (POD, NODE):
        upgraded = await world.http.upgrade(
            "GET", f"http://127.0.0.1:{world.server.port}{path}/upgrade", headers=headers
        )
        upgraded.writer.write(b"hello, bye")
        assert await upgraded.reader.read() == b"hello, bye"
        upgraded.writer.close()
    with pytest.raises(UpgradeRefused) as refused:
        await world.http.upgrade("GET", f"http://127.0.0.1:{world.server.port}{POD}/x", headers=headers)
    assert "invalid upgrade response: status code 200" in refused.value.reply.body.decode()


async def test_to_a_kubelet(world: World) -> None:
    found = await world.json("GET", f"{NODE}/stats/summary?only_cpu_and_memory=true")
    assert (found["path"], found["query"]) == ("/stats/summary", "only_cpu_and_memory=true")


async def test_to_a_service(world: World) -> None:
    refused = await world.json("GET", f"{SERVICE}/x")
    assert (refused["code"], refused["message"]) == (404, 'services "web" not found')
    await world.make(
        "/api/v1/namespaces/default/services",
        {"metadata": {"name": "web"}, "spec": {"ports": [{"name": "http", "port": 80}]}},
    )
    for name, said in (
        ("web:81", 'no service port 81 found for service "web"'),
        ("web:80", 'no endpoints available for service "web:80"'),
    ):
        path = SERVICE.replace("services/web", f"services/{name}")
        refused = await world.json("GET", f"{path}/x")
        assert (refused["code"], refused["message"]) == (503, said)
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    made = {"addressType": "IPv4", "ports": [{"name": "http", "port": 8080}]}
    stray = [
        {"addresses": ["10.9.9.9"]},
        {"addresses": ["10.9.9.9"], "targetRef": {"kind": "Pod", "name": "web", "namespace": "default"}},
    ]
    labels = {"kubernetes.io/service-name": "web"}
    await world.make(slices, {**made, "metadata": {"name": "stray", "labels": labels}, "endpoints": stray})
    assert (
        await world("GET", f"{SERVICE.replace('web', 'web:http')}/x")
    ).code == 503  # addresses that are no pod's are not believed
    right = [{"addresses": [POD_IP], "targetRef": {"kind": "Pod", "name": "web", "namespace": "default"}}]
    await world.make(slices, {**made, "metadata": {"name": "right", "labels": labels}, "endpoints": right})
    for name in ("web:80", "web:http", "http:web:80"):
        assert (await world.json("GET", f"{SERVICE.replace('services/web', f'services/{name}')}/x"))["path"] == "/x"


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("ftp:web:80", 400, 'invalid pod request "ftp:web:80"'),
        ("a:b:c:d", 400, 'invalid pod request "a:b:c:d"'),
        ("none:80", 404, 'pods "none" not found'),
        ("web:9", 503, "error trying to reach service: dial tcp 10.1.2.3:9"),
    ],
)
async def test_where_a_proxy_cannot_go(world: World, name: str, code: int, said: str) -> None:
    async def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(111, "Connection refused")

    world.server.api.dialer.connect = refuse
    found = await world.json("GET", f"/api/v1/namespaces/default/pods/{name}/proxy/x")
    assert found["code"] == code and found["message"].startswith(said)


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [("//", "/"), ("//x", "/x"), ("/a//b/", "/a/b/"), ("/a%2Fb%20c(d)", "/a/b%20c%28d%29")],
)
async def test_the_path_beyond_a_proxy_is_cleaned(world: World, sent: str, arrives: str) -> None:
    assert (await world.json("GET", POD + sent))["path"] == arrives


async def test_who_goes_is_not_waited_for(world: World) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", world.server.port)
    writer.write(f"GET {POD}/never HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await asyncio.wait_for(world.backend.asked.wait(), 5)
    writer.close()
    await asyncio.wait_for(world.backend.gone.wait(), 5)


# -- logs --------------------------------------------------------------------------------------------------------------


async def test_a_log_is_asked_for_with_all_options(world: World) -> None:
    query = "container=side&previous=true&timestamps=1&sinceTime=2026-01-02T03:04:05Z&limitBytes=7&stream=Stderr"
    found = await world.json("GET", f"{LOG}?{query}")
    assert found["path"] == "/containerLogs/default/web/side"
    expected = "previous=true&timestamps=true&limitBytes=7&sinceTime=2026-01-02T03%3A04%3A05Z&stream=Stderr"
    assert found["query"] == expected


@pytest.mark.parametrize(
    ("query", "code", "said"),
    [
        (
            "",
            400,
            "a container name must be specified for pod web, choose one of: [web side] or one of the init containers: [refused]",
        ),
        ("container=x", 400, "container x is not valid for pod web"),
        (
            "container=web&tailLines=-1",
            422,
            'PodLogOptions "web" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0',
        ),
        (
            "container=web&limitBytes=0",
            422,
            'PodLogOptions "web" is invalid: limitBytes: Invalid value: 0: must be greater than 0',
        ),
        ("container=web&tailLines=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        (
            "container=web&sinceSeconds=1&sinceTime=2026-01-02T03:04:05Z",
            422,
            'PodLogOptions "web" is invalid: : Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified',
        ),
        ("container=refused", 400, 'container "refused" in pod "web" is waiting to start: ContainerCreating'),
    ],
)
async def test_logs_that_are_refused(world: World, query: str, code: int, said: str) -> None:
    found = await world.json("GET", f"{LOG}?{query}")
    assert (found["code"], found["message"]) == (code, said)


@pytest.mark.parametrize("protocol", ["", "binary.k8s.io", "base64.binary.k8s.io"])
async def test_a_log_as_websocket_messages(world: World, protocol: str) -> None:
    """As pages in browsers ask for it; the first message is empty."""
    from wsproto import ConnectionType
    from wsproto.connection import Connection as Frames
    from wsproto.events import BytesMessage, CloseConnection, TextMessage

    headers = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ]
    if protocol:
        headers.append(("Sec-WebSocket-Protocol", protocol))
    upgraded = await world.http.upgrade(
        "GET", f"http://127.0.0.1:{world.server.port}{LOG}?container=side", headers=headers
    )
    assert upgraded.headers.get("sec-websocket-protocol", "") == protocol
    frames, messages = Frames(ConnectionType.CLIENT), list[Any]()
    while not messages or not isinstance(messages[-1], CloseConnection):
        frames.receive_data(await upgraded.reader.read(65536) or None)
        messages.extend(frames.events())
    upgraded.writer.close()
    first, *rest, _ = messages
    kind = TextMessage if protocol.startswith("base64") else BytesMessage
    assert isinstance(first, kind) and not first.data and all(isinstance(each, kind) for each in rest)
    whole = b"".join(base64.b64decode(each.data) if kind is TextMessage else bytes(each.data) for each in rest)
    assert json.loads(whole)["path"] == "/containerLogs/default/web/side"


async def test_following_is_as_fast_as_it_is_read_and_ends_with_the_reader(world: World) -> None:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", world.server.port))
    await loop.sock_sendall(sock, f"GET {LOG}?container=web&follow=true HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (await loop.sock_recv(sock, 100)).startswith(b"HTTP/1.1 200")
    before = -1
    while before != world.backend.written:  # it comes to rest when all buffers are full
        before = world.backend.written
        for _ in range(50):
            await asyncio.sleep(0.001)
    assert world.backend.written < 64 << 20 and not world.backend.gone.is_set()
    # somebody reads it page by page: the servers are patient (ours as the kubelet's is told to be)
    assert world.server.server is not None
    for connection in tuple(world.server.server.connections):
        connection.sweep(asyncio.get_running_loop().time() + 10_000)
    await asyncio.sleep(0.01)
    assert any(connection.stream for connection in world.server.server.connections)
    assert not world.backend.gone.is_set()
    sock.close()
    await asyncio.wait_for(world.backend.gone.wait(), 5)

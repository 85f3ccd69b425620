"""exec, attach and port-forward at the API server: what is refused, and what a kubelet is asked."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl

import pytest

from sampan.api.hollow import HOLLOW
from sampan.cluster import certificates
from sampan.http.server.listener import Server
from sampan.http.server.messages import Request, Response
from tests.conftest import Local

PODS = "/api/v1/namespaces/default/pods"
SPDY = {"connection": "Upgrade", "upgrade": "SPDY/3.1", "x_stream_protocol_version": "v4.channel.k8s.io"}


class Kubelet:
    """Answers everything alike, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.answer = Response(500, (("Content-Type", "text/plain"),), b'container not found ("main")')
        self.port = 0

    def __call__(self, request: Request) -> Response:
        if not request.raw_path.startswith("/metrics"):  # of nodes they are asked by themselves
            self.asked.append(request)
        return self.answer


@pytest.fixture
async def kubelet(pki: certificates.Pki) -> AsyncIterator[Kubelet]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.path("apiserver.crt"), pki.path("apiserver.key"))
    made = Kubelet()
    server = Server(made, ssl_context=context, hosts=["127.0.0.1"], port=0)
    await server.start()
    made.port = server.port
    yield made
    await server.shutdown(0)


async def make(api: Local, port: int, *containers: str, node: str = "n1", **labels: str) -> None:
    assert (await api("POST", "/api/v1/nodes", {"metadata": {"name": "n1", "labels": labels}}))[0] == 201
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    patched = await api("PATCH", "/api/v1/nodes/n1/status", {"status": status}, "application/merge-patch+json")
    assert patched[0] == 200
    account = {"metadata": {"name": "default"}}
    await api("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    spec: dict[str, Any] = {"containers": [{"name": name, "image": "x"} for name in containers or ("main",)]}
    if node:
        spec["nodeName"] = node
    assert (await api("POST", PODS, {"metadata": {"name": "p"}, "spec": spec}))[0] == 201


async def test_the_kubelet_is_asked_in_our_name(api: Local, kubelet: Kubelet) -> None:
    await make(api, kubelet.port)
    target = f"{PODS}/p/exec?command=sh&command=-c&command=a%20%26%20b&stdin=true&stdout=1&stderr=false"
    code, body = await api("POST", target, impersonate_user="joe", impersonate_group="system:masters", **SPDY)
    assert (code, body) == (500, b'container not found ("main")')
    (seen,) = kubelet.asked
    assert (seen.method, seen.raw_path) == ("POST", "/exec/default/p/main")
    assert parse_qsl(seen.query) == [
        ("input", "1"), ("output", "1"), ("command", "sh"), ("command", "-c"), ("command", "a & b"),
    ]  # fmt: skip
    assert seen.headers["x-stream-protocol-version"] == "v4.channel.k8s.io" and seen.headers["upgrade"] == "SPDY/3.1"
    assert not [name for name in seen.headers if name.startswith("impersonate") or name == "authorization"]

    await api("POST", f"{PODS}/p/attach?stdout=true&tty=true", **SPDY)
    await api("POST", f"{PODS}/p/portforward?ports=80&ports=81", **SPDY)
    assert [(each.raw_path, each.query) for each in kubelet.asked[1:]] == [
        ("/attach/default/p/main", "output=1&tty=1"), ("/portForward/default/p", "port=80%2C81"),
    ]  # fmt: skip


async def test_an_answer_that_is_none_is_an_error(api: Local, kubelet: Kubelet) -> None:
    await make(api, kubelet.port)
    kubelet.answer = Response(200, (), b"hello")
    code, body = await api("POST", f"{PODS}/p/exec?command=sh&stdout=1", **SPDY)
    assert (code, body["message"]) == (500, "Internal error occurred: invalid upgrade response: status code 200")
    # tunnels get the refusal before they are one
    kubelet.answer = Response(403, (), b"no")
    tunnel = {"connection": "Upgrade", "upgrade": "websocket", "sec_websocket_version": "13",
              "sec_websocket_key": "AAAAAAAAAAAAAAAAAAAAAA==", "sec_websocket_protocol": "SPDY/3.1+portforward.k8s.io"}  # fmt: skip
    assert await api("GET", f"{PODS}/p/portforward", **tunnel) == (403, b"no")
    assert kubelet.asked[-1].method == "POST" and kubelet.asked[-1].headers["upgrade"] == "SPDY/3.1"


async def test_pods_that_cannot_be_connected_to(api: Local) -> None:
    await make(api, 1, "a", "b", node="")

    async def said(target: str, **headers: str) -> tuple[int, str]:
        code, body = await api("POST", f"{PODS}/{target}", **headers)
        return code, body["message"]

    assert await said("none/exec?command=x", **SPDY) == (404, 'pods "none" not found')
    words = "a container name must be specified for pod p, choose one of: [a b]"
    assert await said("p/exec?command=x", **SPDY) == (400, words)
    assert await said("p/exec?command=x&container=c", **SPDY) == (400, "container c is not valid for pod p")
    assert await said("p/attach?container=a", **SPDY) == (400, "pod p does not have a host assigned")
    assert await said("p/portforward", **SPDY) == (400, "pod p does not have a host assigned")


async def test_nodes_that_cannot_be_connected_to(api: Local) -> None:
    await make(api, 1)
    target = f"{PODS}/p/exec?command=x&stdout=1"
    code, body = await api("POST", target)
    assert (code, body["message"]) == (400, "Upgrade request required")
    code, body = await api("POST", target, **SPDY)
    words = "error dialing backend: dial tcp 127.0.0.1:1: connect: connection refused"
    assert (code, body["message"]) == (500, words)
    patch = {"metadata": {"labels": {HOLLOW: "true"}}}
    await api("PATCH", "/api/v1/nodes/n1", patch, "application/merge-patch+json")
    code, body = await api("POST", target, **SPDY)
    words = "pod p is simulated: node n1 runs no containers to connect to"
    assert (code, body["message"]) == (400, words)


async def test_who_may_only_get_runs_no_commands(api: Local) -> None:
    await make(api, 1)
    role = {"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get"]}]}
    binding = {
        "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    assert (await api("POST", f"{rbac}/roles", role))[0] == 201
    assert (await api("POST", f"{rbac}/rolebindings", binding))[0] == 201
    websocket = {"connection": "Upgrade", "upgrade": "websocket", "sec_websocket_protocol": "v5.channel.k8s.io"}
    code, body = await api("GET", f"{PODS}/p/exec?command=x&stdout=1", impersonate_user="eve", **websocket)
    assert code == 403 and 'User "eve" cannot create resource "pods/exec"' in body["message"]

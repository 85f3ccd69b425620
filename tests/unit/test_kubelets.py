"""Where the API server finds a node's kubelet."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from cryptography import x509

from sampan.api.errors import StatusError
from sampan.apiserver.config import KubeletClientConfig
from sampan.apiserver.kubelets import Kubelets, preferred_address
from sampan.cluster import certificates
from sampan.http.server.listener import Server
from sampan.http.server.messages import Request, Response
from tests.conftest import Local


async def node(api: Local, name: str, addresses: list[dict[str, str]], port: int | None = None) -> None:
    body: dict[str, Any] = {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": f"{name}.local"}}}
    assert (await api("POST", "/api/v1/nodes", body))[0] == 201
    status: dict[str, Any] = {"addresses": addresses}
    if port is not None:
        status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": port}}
    patch = {"status": status}
    code, _ = await api("PATCH", f"/api/v1/nodes/{name}/status", patch, "application/merge-patch+json")
    assert code == 200


async def test_the_url_is_of_the_best_address_and_the_reported_port(api: Local) -> None:
    both = [{"type": "Hostname", "address": "a"}, {"type": "InternalIP", "address": "10.0.0.7"}]
    await node(api, "a", both, 10260)
    await node(api, "b", [{"type": "InternalIP", "address": "fd00::7"}])
    kubelets = api.server.api.kubelets
    assert kubelets.url("a") == "https://10.0.0.7:10260"
    assert kubelets.url("b") == "https://[fd00::7]:10250"
    with pytest.raises(StatusError, match='nodes "c" not found'):
        kubelets.url("c")


def test_the_order_of_types_decides() -> None:
    found: dict[str, Any] = {"metadata": {"labels": {"kubernetes.io/hostname": "n1"}}, "status": {"addresses": []}}
    assert preferred_address(found, ("InternalIP", "Hostname")) == "n1"
    found["status"]["addresses"] = [{"type": "ExternalIP", "address": "1.2.3.4"}]
    words = r"no preferred addresses found; known addresses: \[{ExternalIP 1.2.3.4}\]"
    with pytest.raises(StatusError, match=words):
        preferred_address(found, ("InternalIP",))


async def test_kubelets_see_our_certificate(api: Local, pki: certificates.Pki) -> None:
    seen: list[bytes | None] = []

    def app(request: Request) -> Response:
        seen.append(request.peer_certificate)
        return Response(200, (), b"ok")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.path("apiserver.crt"), pki.path("apiserver.key"))
    context.load_verify_locations(pki.path("ca.crt"))
    context.verify_mode = ssl.CERT_REQUIRED
    server = Server(app, ssl_context=context, hosts=["127.0.0.1"], port=0)
    await server.start()
    name = "apiserver-kubelet-client"
    config = KubeletClientConfig(pki.path(f"{name}.crt"), pki.path(f"{name}.key"), pki.path("ca.crt"))
    kubelets = Kubelets(api.server.api, config)
    try:
        await node(api, "a", [{"type": "InternalIP", "address": "127.0.0.1"}], server.port)
        for client in (kubelets.client, kubelets.trusting):
            assert (await client.request("GET", kubelets.url("a") + "/healthz")).body == b"ok"
    finally:
        await kubelets.aclose()
        await server.shutdown(0)
    subjects = [x509.load_der_x509_certificate(each).subject.rfc4514_string() for each in seen if each]
    assert subjects == ["CN=kube-apiserver-kubelet-client,O=system:masters"] * 2

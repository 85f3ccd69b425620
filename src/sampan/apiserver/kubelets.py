"""The way from the API server to a node's kubelet: its URL from the Node's status, and a client with our certificate.

    url = call.api.kubelets.url(node)                       # https://10.0.0.2:10250
    await call.api.kubelets.client.request("GET", f"{url}/healthz")

Whoever asks kubelets asks here: logs, exec, attach, port-forward, the proxy. Connections are opened by the Dialer alone.
Certificates are read from their files when the first connection needs them, and again when the files have changed.

Source: kubernetes/pkg/kubelet/client/kubelet_client.go, kubernetes/pkg/util/node/node.go (GetPreferredNodeAddress)
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.api import errors
from sampan.apiserver.config import KubeletClientConfig
from sampan.http.client import HttpClient
from sampan.http.errors import join_host_port

if TYPE_CHECKING:
    from sampan.api.kind import Obj
    from sampan.apiserver.api import Api

DEFAULT_PORT = 10250
HOSTNAME_LABEL = "kubernetes.io/hostname"


class Kubelets:
    """`client` verifies kubelets' certificates if there is a CA to do it with; `trusting` never does."""

    def __init__(self, api: Api, config: KubeletClientConfig) -> None:
        self._api = api
        self._config = config
        self.client = HttpClient(ssl_context=_contexts(config, verify=True), dial=api.dialer)
        self.trusting = HttpClient(ssl_context=_contexts(config, verify=False), dial=api.dialer)

    def url(self, node: str) -> str:
        """Without a slash at its end. Raises StatusError: 404 for no such node, 500 for one without an address."""
        record = self._api.cached("", "nodes").get(node)
        if record is None:
            raise errors.not_found("", "nodes", node)
        found = record.obj()
        endpoint = (found.get("status", {}).get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
        port = endpoint.get("Port") or 0
        host = preferred_address(found, self._config.address_types)
        return f"https://{join_host_port(host, port if port > 0 else DEFAULT_PORT)}"

    async def aclose(self) -> None:
        await self.client.aclose()
        await self.trusting.aclose()


def preferred_address(node: Obj, types: tuple[str, ...]) -> str:
    """The first address of the first of `types` that the node has. Raises StatusError."""
    addresses = node.get("status", {}).get("addresses") or ()
    for wanted in types:
        for each in addresses:
            if each["type"] == wanted:
                return str(each["address"])
        label = (node["metadata"].get("labels") or {}).get(HOSTNAME_LABEL)
        if wanted == "Hostname" and label:
            return str(label)
    known = " ".join(f"{{{each['type']} {each['address']}}}" for each in addresses)
    raise errors.internal(f"no preferred addresses found; known addresses: [{known}]")


def _contexts(config: KubeletClientConfig, *, verify: bool) -> Callable[[], ssl.SSLContext]:
    """The context of a new connection: the last one, while the files it was made of are the same."""
    files = [each for each in (config.certificate_file, config.key_file, config.ca_file) if each is not None]
    made: list[tuple[tuple[int, ...], ssl.SSLContext]] = []

    def context() -> ssl.SSLContext:
        state = tuple(map(_changed, files))
        if not made or made[0][0] != state:
            made[:] = [(state, _context(config, verify=verify and config.ca_file is not None))]
        return made[0][1]

    return context


def _changed(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _context(config: KubeletClientConfig, *, verify: bool) -> ssl.SSLContext:
    out = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    out.minimum_version = ssl.TLSVersion.TLSv1_2
    out.set_alpn_protocols(["http/1.1"])
    if verify:
        out.load_verify_locations(config.ca_file)
    else:
        # as upstream does without --kubelet-certificate-authority: kubelets may have signed for themselves
        out.check_hostname = False
        out.verify_mode = ssl.CERT_NONE
    if config.certificate_file is not None:
        out.load_cert_chain(config.certificate_file, config.key_file)
    return out

"""The one place that opens connections for the API server: to an address, or to a Service.

A Service is resolved anew for every connection: to a ready endpoint of it, chosen at random, and the port that the
endpoints have for the Service's port. `connect` does the dialling itself, so that it may happen in another network
namespace.

DEVIATION: upstream dials the cluster IP of a Service unless --enable-aggregator-routing is set; the API server here may
be where the service proxy is not, and dials an endpoint always.

Source: k8s.io/apiserver/pkg/util/proxy/proxy.go (ResolveEndpoint; the errors)
"""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from sampan.http.client import Dial, dial
from sampan.http.errors import ConnectFailed

if TYPE_CHECKING:
    from sampan.api.kind import Obj
    from sampan.apiserver.api import Api

P = TypeVar("P", bound=asyncio.BaseProtocol)
SERVICE_OF_SLICE = "kubernetes.io/service-name"


class Dialer:
    def __init__(self, api: Api, connect: Dial = dial) -> None:
        self.api = api
        self.connect = connect

    async def __call__(
        self, factory: Callable[[], P], host: str, port: int, *, ssl: tls.SSLContext | None, server_hostname: str | None
    ) -> tuple[Any, P]:
        """By address or name, as `sampan.http.client.Dial`."""
        return await self.connect(factory, host, port, ssl=ssl, server_hostname=server_hostname)

    def to_service(self, namespace: str, name: str, service_port: int) -> Dial:
        """A Dial that goes to the Service whatever host and port it is asked for."""

        async def to_endpoint(
            factory: Callable[[], P], host: str, port: int, *, ssl: tls.SSLContext | None, server_hostname: str | None
        ) -> tuple[Any, P]:
            host, port = self.resolve(namespace, name, service_port)
            return await self.connect(factory, host, port, ssl=ssl, server_hostname=server_hostname)

        return to_endpoint

    def resolve(self, namespace: str, name: str, port: int) -> tuple[str, int]:
        """Address and port of a ready endpoint. Raises ConnectFailed in upstream's words."""
        record = self.api.cached("", "services").get(f"{namespace}/{name}")
        if record is None:
            raise ConnectFailed(f'service "{name}" not found')
        spec: Obj = record.obj()["spec"]
        if spec.get("type") == "ExternalName":
            return spec["externalName"], port
        asked = next((item for item in spec.get("ports") or () if item["port"] == port), None)
        if asked is None:
            raise ConnectFailed(f'no service port {port} found for service "{name}"')
        found = list(self._of_slices(namespace, name, asked)) or list(self._of_endpoints(namespace, name, asked))
        if not found:
            raise ConnectFailed(f'no endpoints available for service "{name}"')
        return self.api.rng.choice(found)

    def _of_slices(self, namespace: str, name: str, port: Obj) -> Iterator[tuple[str, int]]:
        for record in self.api.cached("discovery.k8s.io", "endpointslices").list(namespace):
            if (record.labels or {}).get(SERVICE_OF_SLICE) != name:
                continue
            found = record.obj()
            number = _number(found.get("ports") or (), port)
            for endpoint in found.get("endpoints") or () if number else ():
                if (endpoint.get("conditions") or {}).get("ready") is not False:
                    yield from ((address, number) for address in endpoint["addresses"][:1])

    def _of_endpoints(self, namespace: str, name: str, port: Obj) -> Iterator[tuple[str, int]]:
        record = self.api.cached("", "endpoints").get(f"{namespace}/{name}")
        for subset in record.obj().get("subsets") or () if record is not None else ():
            number = _number(subset.get("ports") or (), port)
            yield from ((item["ip"], number) for item in subset.get("addresses") or () if number)


def _number(ports: Any, port: Obj) -> int:
    """Of the endpoints' ports the one with the Service port's name; 0: none."""
    return next((item.get("port") or 0 for item in ports if (item.get("name") or "") == (port.get("name") or "")), 0)

"""What others ask the proxy: whether it is well, its numbers, and for a load balancer whether a Service has endpoints here.

Source: kubernetes/pkg/proxy/healthcheck/{proxy_health,service_health}.go, cmd/kube-proxy/app/server.go (serveMetrics)
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from sampan.api.times import format_time
from sampan.http.prometheus import MEDIA
from sampan.http.server.listener import Server
from sampan.http.server.messages import Request, Response

log = logging.getLogger("sampan.network.proxy")
Obj = dict[str, Any]
_JSON = (("Content-Type", "application/json"), ("X-Content-Type-Options", "nosniff"))
_TEXT = (("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff"))
TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"
#: how long a change may wait before the proxy is called unwell: twice upstream's longest time between syncs
LATE_SECONDS = 60.0


class Health:
    """`clock`: seconds since 1970."""

    def __init__(self, clock: Callable[[], float], time: Callable[[], float], metrics: Callable[[], str]) -> None:
        self._clock, self._time, self._metrics = clock, time, metrics
        self._queued: float | None = None
        self._updated = clock()
        self.eligible = True
        self._checks: dict[int, tuple[str, int, Server]] = {}

    def queued(self) -> None:
        if self._queued is None:
            self._queued = self._time()

    def synced(self) -> None:
        self._queued, self._updated = None, self._clock()

    @property
    def healthy(self) -> bool:
        return self._queued is None or self._time() - self._queued < LATE_SECONDS

    def node(self, node: Obj | None) -> None:
        """Ours, as it is now: one that is about to go must get no new connections from outside."""
        taints = ((node or {}).get("spec") or {}).get("taints") or ()
        leaving = node is not None and "deletionTimestamp" in node["metadata"]
        self.eligible = not leaving and not any(each["key"] == TO_BE_DELETED for each in taints)

    # -- /healthz, /livez, /metrics ------------------------------------------------------------------------------------

    def __call__(self, request: Request) -> Response:
        """The application of the health server."""
        if request.raw_path not in ("/healthz", "/livez"):
            return Response(404, _TEXT, b"404 page not found\n")
        well = self.healthy and (self.eligible or request.raw_path == "/livez")
        now = self._clock()
        body = {"lastUpdated": format_time(self._updated if not self.healthy else now), "currentTime": format_time(now)}
        if request.raw_path == "/healthz":
            body["nodeEligible"] = self.eligible  # type: ignore[assignment]
        return Response(200 if well else 503, _JSON, json.dumps(body, separators=(",", ": ")).encode())

    def metrics(self, request: Request) -> Response:
        """The application of the metrics server."""
        if request.raw_path == "/metrics":
            return Response(200, (("Content-Type", MEDIA),), self._metrics().encode())
        if request.raw_path == "/proxyMode":
            return Response(200, _TEXT, b"nftables")
        if request.raw_path == "/healthz":
            return Response(200, _TEXT, b"ok")
        return Response(404, _TEXT, b"404 page not found\n")

    # -- load balancers' checks ----------------------------------------------------------------------------------------

    async def serve_checks(self, wanted: Mapping[int, tuple[str, int]]) -> None:
        """`wanted`: by health check node port the Service and how many endpoints it has here."""
        for port in self._checks.keys() - wanted.keys():
            await self._checks.pop(port)[2].shutdown(0)
        for port, (service, count) in wanted.items():
            known = self._checks.get(port)
            if known is not None:
                self._checks[port] = (service, count, known[2])
                continue
            server = Server(lambda _, port=port: self._check(port), ssl_context=None, hosts=["0.0.0.0"], port=port)  # type: ignore[misc]
            try:
                await server.start()
            except OSError as error:
                log.error("failed to start healthcheck %s on port %d: %s", service, port, error)
                continue
            self._checks[port] = (service, count, server)

    def _check(self, port: int) -> Response:
        service, count, _ = self._checks[port]
        namespace, _, name = service.partition("/")
        well = count > 0 and self.healthy and self.eligible
        body = (
            "{\n"
            '\t"service": {\n'
            f'\t\t"namespace": "{namespace}",\n'
            f'\t\t"name": "{name}"\n'
            "\t},\n"
            f'\t"localEndpoints": {count},\n'
            f'\t"serviceProxyHealthy": {"true" if self.healthy and self.eligible else "false"}\n'
            "}"
        )
        headers = (*_JSON, ("X-Load-Balancing-Endpoint-Weight", str(count)))
        return Response(200 if well else 503, headers, body.encode())

    async def aclose(self) -> None:
        await self.serve_checks({})

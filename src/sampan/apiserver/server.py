"""The API server as a process has it: store, API, handler and sockets, put together.

    server = ApiServer(ApiServerConfig(...))
    await server.start()        # serving; server.port says where
    await server.stop()         # requests finish, watches end cleanly, the store is flushed

Everything that serving does not need is imported when first asked for: starting is measured in milliseconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import ssl
import time
from collections.abc import Callable
from typing import Any

import orjson

from sampan.api.metrics_v1beta1 import NAMES as METRICS
from sampan.api.registry import Registry, default_names
from sampan.apiserver import health, replies
from sampan.apiserver.address_repair import AddressRepair
from sampan.apiserver.admission import order
from sampan.apiserver.api import Api
from sampan.apiserver.authentication import identity
from sampan.apiserver.authentication.token_secrets import TokenSecrets
from sampan.apiserver.authorization.aggregation import Aggregation
from sampan.apiserver.authorization.chain import Authorization
from sampan.apiserver.bootstrap import Bootstrap
from sampan.apiserver.config import ApiServerConfig
from sampan.apiserver.handler import Handler
from sampan.apiserver.policies.status import PolicyStatus
from sampan.apiserver.routing import RequestInfo
from sampan.http.server.listener import Server
from sampan.http.server.messages import Request, Response
from sampan.http.server.tls import server_context
from sampan.store.contract import Store
from sampan.store.open import create as create_store

VERSION: dict[str, str] = {
    "major": "1",
    "minor": "37",
    "emulationMajor": "1",
    "emulationMinor": "37",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "36",
    "gitVersion": "v1.37.0+sampan",
    "gitCommit": hashlib.sha1(b"sampan").hexdigest(),
    "gitTreeState": "clean",
    "buildDate": "2026-11-24T00:00:00Z",
    "goVersion": "none",
    "compiler": "CPython",
    "platform": "linux/amd64",
}


class ApiServer:
    """One API server. `port` is known after `start`."""

    def __init__(
        self,
        config: ApiServerConfig,
        *,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
        listen: bool = True,
        store: Store | None = None,
    ) -> None:
        """`clock`: seconds since the epoch. `listen` False: no socket is opened; requests come through `handler`.
        `store`: one that there is already, instead of what `config` says."""
        self.config = config
        self.listen = listen
        self.store = store or create_store(config.store, config.data_dir, config.etcd_tls)
        self.registry = Registry((*default_names(), *METRICS))
        self.api = Api(
            self.registry,
            self.store,
            clock=clock,
            rng=rng,
            bookmark_seconds=config.bookmark_seconds,
            service_cidr=config.service_cidr,
            node_ports=config.node_port_range,
            event_ttl=config.event_ttl,
            admission=order.chain(
                config.enable_admission_plugins,
                config.disable_admission_plugins,
                config.admission_control_config_file,
            ),
            authorization=lambda api: Authorization(api, config.authorization_modes),
        )
        self.api.identity = identity.build(self.api, config)
        self.api.kubelet_client = config.kubelets
        self.handler = Handler(self.api, self.static, self.api.identity.authentication)
        self.aggregation = Aggregation(self.api, self.handler)
        self.address_repair = AddressRepair(self.api, self.handler)
        self.server: Server | None = None
        self.token_secrets: TokenSecrets | None = None
        self.policy_status = PolicyStatus(self.api)
        self.stopping = False
        self.started = clock()
        self._documents: dict[str, Any] = {}

    @property
    def port(self) -> int:
        return self.server.port if self.server is not None else self.config.port

    async def start(self) -> None:
        """Raises StoreError, OSError (a port in use, unreadable files)."""
        await self.store.open()
        await self.api.open()
        config = self.config
        if self.listen:
            context = self._tls()
            self.server = Server(self.handler, ssl_context=context, hosts=config.bind_hosts, port=config.port)
            await self.server.start()
        ca = config.client_ca_file.read_text() if config.client_ca_file else ""
        await Bootstrap(self.api, ca=ca, address=config.advertise_address, port=self.port).run()
        self.aggregation.start()
        self.address_repair.start()
        self.token_secrets = TokenSecrets(self.api, self.handler, ca)
        self.token_secrets.start()
        self.policy_status.start()
        # once we are ready: there may be no nodes at all
        asyncio.get_running_loop().call_soon(self._follow_nodes)
        self.api.ready = True

    def _follow_nodes(self) -> None:
        if not self.stopping:
            self.api.node_metrics.start()

    async def stop(self, grace: float = 5.0) -> None:
        self.stopping = True
        if self.token_secrets is not None:
            await self.token_secrets.stop()
        if self.api.identity is not None:
            await self.api.identity.close()
        await self.aggregation.stop()
        await self.address_repair.stop()
        await self.policy_status.close()
        await self.api.close()
        if self.server is not None:
            await self.server.shutdown(grace)
        await self.store.close()

    def _tls(self) -> ssl.SSLContext | None:
        config = self.config
        if config.cert_file is None:
            return None
        context = server_context(config.client_ca_file)
        context.load_cert_chain(config.cert_file, config.key_file)
        return context

    # -- what is no resource -------------------------------------------------------------------------------------------

    def static(self, request: Request, info: RequestInfo, query: dict[str, str]) -> Response | None:
        """Discovery, OpenAPI, version, health and metrics; None for a path that is nothing."""
        if request.method not in ("GET", "HEAD"):
            return None
        first, _, rest = info.path.lstrip("/").partition("/")
        match first:
            case "healthz" | "livez" | "readyz" if rest or not info.path.endswith("/"):
                excluded = [part[8:] for part in request.query.split("&") if part.startswith("exclude=")]
                return health.serve(first, rest, self.checks(first), query, excluded, self.api.metrics.checked)
            case "version" if not rest.strip("/"):  # clients of OpenShift ask for /version/openshift
                return self.json(orjson.dumps(VERSION, option=orjson.OPT_INDENT_2))
            case "metrics":
                return self.metrics(rest)
            case "api" | "apis":
                return self.discovery(request, info.path)
            case ".well-known" | "openid":
                return self.issuer_document(info.path)
            case "openapi":
                return self.openapi(request, info.path, query)
            case "":
                return self.json(orjson.dumps({"paths": self.paths()}, option=orjson.OPT_INDENT_2))
        return None

    @staticmethod
    def json(body: bytes, media: str = "application/json", **headers: str) -> Response:
        more = [(name.replace("_", "-"), value) for name, value in headers.items()]
        cache = [("Cache-Control", "no-cache, private")] if "Cache_Control" not in headers else []
        return Response(200, [("Audit-Id", replies.audit_id()), *cache, ("Content-Type", media), *more], body)

    def issuer_document(self, path: str) -> Response | None:
        from sampan.apiserver.authentication import discovery

        config, address = self.config, self.config.advertise_address
        host = f"[{address}]" if ":" in address else address
        uri = config.service_account_jwks_uri or f"https://{host}:{self.port}{discovery.JWKS}"
        assert self.api.identity is not None
        found = discovery.serve(self.api.identity, path, uri)
        return self.json(found[1], found[0], Cache_Control="public, max-age=3600") if found else None

    def checks(self, endpoint: str) -> dict[str, health.Check]:
        out: dict[str, health.Check] = {"ping": lambda: "", "log": lambda: "", "etcd": lambda: ""}
        if endpoint == "readyz":
            out["informer-sync"] = lambda: ""
        out["poststarthook/start-apiserver-admission-initializer"] = lambda: ""
        out["poststarthook/start-system-namespaces-controller"] = lambda: "" if self.api.ready else "not finished"
        out["poststarthook/bootstrap-controller"] = lambda: "" if self.api.ready else "not finished"
        if endpoint == "readyz":
            out["shutdown"] = lambda: "process is shutting down" if self.stopping else ""
        return out

    def metrics(self, rest: str) -> Response | None:
        from sampan.apiserver import metrics_page
        from sampan.http.prometheus import MEDIA

        if rest not in ("", "slis"):
            return None
        metrics = self.api.metrics
        body = metrics_page.render_slis(metrics) if rest else metrics_page.render(self.api, VERSION, self.started)
        return Response(200, (("Content-Type", MEDIA),), body)

    def paths(self) -> list[str]:
        out = ["/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/apis/"]
        for group, versions in self.registry.groups():
            if group:
                out.extend([f"/apis/{group}", *(f"/apis/{group}/{version}" for version in versions)])
        out.extend(f"/{name}" for name in health.ENDPOINTS)
        return sorted([*out, "/metrics", "/metrics/slis", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/version"])

    def discovery(self, request: Request, path: str) -> Response | None:
        if "discovery" not in self._documents:
            from sampan.apiserver.discovery import Discovery

            self._documents["discovery"] = Discovery(self.registry)
        return _document(request, self._documents["discovery"].serve(path.rstrip("/"), request.headers))

    def openapi(self, request: Request, path: str, query: dict[str, str]) -> Response | None:
        if "openapi" not in self._documents:
            from sampan.apiserver.openapi.serve import OpenApi

            self._documents["openapi"] = OpenApi(self.registry)
        return _document(request, self._documents["openapi"].serve(path.rstrip("/"), query, request.headers))


def _document(request: Request, found: tuple[int, list[tuple[str, str]], bytes] | None) -> Response | None:
    """A document with its own headers; None: there is none."""
    if found is None:
        return None
    code, headers, body = found
    return Response(code, [("Audit-Id", replies.audit_id()), *headers], body)

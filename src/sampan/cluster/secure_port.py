"""The port of a component that otherwise only asks: how it is, what it counts, how it was configured.

    async with SecurePort("kube-scheduler", client, Serving(port=10259), started=now, clock=time.time) as served:
        served.ready["sched-handler-sync"] = lambda: ""
        served.pages.append(scheduler_page)

HTTPS alone. Health may be asked by anyone; for everything else the API server says who asks and whether they may.

Source: kubernetes/cmd/kube-scheduler/app/server.go, cmd/kube-controller-manager/app/{controllermanager,serve}.go; k8s.io/apiserver/pkg/
server/{healthz,options}, component-base/configz
"""

from __future__ import annotations

import contextlib
import logging
import ssl
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson

from sampan.api.errors import StatusError, forbidden, unauthorized
from sampan.client import Client, HttpError, LeaderElector
from sampan.client.delegated import Authentication, Authorization
from sampan.client.metrics import Page, process_onto
from sampan.http.prometheus import MEDIA
from sampan.http.server import tls
from sampan.http.server.listener import Server
from sampan.http.server.messages import Request, Response

Obj = dict[str, Any]
#: why it is not well; empty: it is
Check = Callable[[], str]
ALWAYS = ("/healthz", "/readyz", "/livez")
ALLOWED_SECONDS = REFUSED_SECONDS = 10.0
_VERBS = {"GET": "get", "HEAD": "get", "POST": "post", "PUT": "put", "PATCH": "patch", "DELETE": "delete"}
_TEXT = (("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff"))
_JSON = (("Content-Type", "application/json"), ("Cache-Control", "no-cache, private"))
log = logging.getLogger("sampan.cluster")


class NotServed(Exception):
    """The port cannot be had."""


@dataclass(frozen=True, slots=True)
class Serving:
    """The flags. `port` 0: there is none. `client_ca` None: what the cluster's ConfigMap names. `any_port`: another one where it is taken."""

    port: int
    bind: str = "0.0.0.0"
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    always_allow: tuple[str, ...] = ALWAYS
    any_port: bool = False


NO_PORT = Serving(0)


class SecurePort:
    """Of one component. `health`, `ready`: checks by name; `pages`: each adds to `/metrics`; `configuration`: `/configz`."""

    def __init__(
        self, name: str, client: Client, serving: Serving, *, started: float, clock: Callable[[], float]
    ) -> None:
        self.name = name
        self.health: dict[str, Check] = {}
        self.ready: dict[str, Check] = {}
        self.pages: list[Callable[[Page], None]] = []
        self.configuration: Obj = {}
        self._client = client
        self._serving = serving
        self._started, self._clock = started, clock
        self._authenticate = Authentication(client, clock=clock, anonymous=True)
        self._authorize = Authorization(client, allowed=ALLOWED_SECONDS, refused=REFUSED_SECONDS)
        self._server: Server | None = None
        self._elector: LeaderElector | None = None

    @contextlib.contextmanager
    def shows(self, page: Callable[[Page], None], *, health: Iterable[str] = ()) -> Iterator[None]:
        """While something runs: its page, and that each part of it (`health`) is there."""
        parts: dict[str, Check] = dict.fromkeys(health, _well)
        self.pages.append(page)
        self.health.update(parts)
        try:
            yield
        finally:
            self.pages.remove(page)
            for name in parts:
                del self.health[name]

    def led_by(self, elector: LeaderElector) -> None:
        """What it has to say is shown from now on, in the place of the one before."""
        self.health["leaderElection"] = elector.problem
        self._elector = elector

    @property
    def port(self) -> int:
        return self._server.port if self._server is not None else 0

    async def __aenter__(self) -> SecurePort:
        """Raises NotServed."""
        serving = self._serving
        if serving.port:
            try:
                context = self._context()
                await self._listen(context, serving.port)
            except (OSError, ssl.SSLError) as error:
                raise NotServed(
                    f"failed to create listener: failed to listen on {serving.bind}:{serving.port}: {error}"
                ) from None
            log.info("%s serves on https://%s:%d", self.name, serving.bind, self.port)
            if serving.client_ca is None:
                await self._look_up_ca(context)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            await self._server.shutdown(1.0)

    async def _listen(self, context: ssl.SSLContext, port: int) -> None:
        """Raises OSError."""
        server = Server(self.app, ssl_context=context, hosts=[self._serving.bind], port=port)
        try:
            await server.start()
        except OSError:
            await server.shutdown(0)
            if not (port and self._serving.any_port):
                raise
            await self._listen(context, 0)
            return
        self._server = server

    def _context(self) -> ssl.SSLContext:
        """Raises OSError, ssl.SSLError."""
        serving = self._serving
        context = tls.server_context(serving.client_ca)
        if serving.certificate is not None:
            context.load_cert_chain(serving.certificate, serving.key)
        else:
            with tempfile.NamedTemporaryFile(suffix=".pem") as file:
                file.write(b"".join(tls.self_signed("localhost", ["localhost"], self._clock())))
                file.flush()
                context.load_cert_chain(file.name)
        return context

    async def _look_up_ca(self, context: ssl.SSLContext) -> None:
        where = "configmap/extension-apiserver-authentication in kube-system"
        try:
            found = await self._client.get("configmaps", "extension-apiserver-authentication", "kube-system")
            context.load_verify_locations(cadata=found["data"]["client-ca-file"])
            context.verify_mode = ssl.CERT_OPTIONAL
        except (StatusError, HttpError) as error:
            log.warning("Unable to get %s: %s. Client certificates are not believed", where, error)
        except (KeyError, ssl.SSLError):
            log.warning(
                "Cluster doesn't provide client-ca-file in %s, so client certificate authentication won't work.", where
            )

    # -- answers -------------------------------------------------------------------------------------------------------

    async def app(self, request: Request) -> Response:
        path = unquote(request.raw_path)
        user = await self._authenticate(request)
        if user is None:
            return _status(unauthorized())
        verb = _VERBS.get(request.method, request.method.lower())
        if path not in self._serving.always_allow:
            try:
                allowed = await self._authorize(user, nonResourceAttributes={"path": path, "verb": verb})
            except (StatusError, HttpError) as error:
                log.error("cannot authorize %s: %s", user.name, error)
                return Response(500, _TEXT, f"Internal Server Error: {path!r}: {error}\n".encode())
            if not allowed:
                return _status(forbidden_path(user.name, verb, path))
        return self._answer(path, request.query)

    def _answer(self, path: str, query: str) -> Response:
        first, _, rest = path.lstrip("/").partition("/")
        match first, rest:
            case "healthz", _:
                return _health("healthz", {"ping": _well, **self.health}, rest, query)
            case "livez", _:
                return _health("livez", {"ping": _well}, rest, query)
            case "readyz", _:
                return _health("readyz", {"ping": _well, **self.health, **self.ready}, rest, query)
            case "configz", "":
                return Response(200, _JSON, orjson.dumps(self.configuration))
            case "metrics", "":
                page = Page()
                for add in self.pages:
                    add(page)
                if (elector := self._elector) is not None:
                    page.family(
                        "leader_election_master_status", "gauge",
                        "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master.",
                        [({"name": elector.name}, int(elector.is_leader))],
                    )  # fmt: skip
                process_onto(page, self._started)
            case "metrics", "slis":
                page = Page()
                checks = {("healthz", name): check for name, check in self.health.items()}
                checks |= {("readyz", name): check for name, check in {**self.health, **self.ready}.items()}
                page.family(
                    "kubernetes_healthcheck", "gauge", "This metric records the result of a single healthcheck.",
                    (({"name": name, "type": kind}, 0 if check() else 1) for (kind, name), check in checks.items()),
                )  # fmt: skip
            case _:
                return Response(404, _TEXT, b"404 page not found\n")
        return Response(200, (("Content-Type", MEDIA),), str(page).encode())


def _well() -> str:
    return ""


def _health(kind: str, checks: dict[str, Check], only: str, query: str) -> Response:
    """As all of Kubernetes' programs tell it."""
    if only:
        if only not in checks:
            return Response(404, _TEXT, b"404 page not found\n")
        bad = checks[only]()
        return Response(500, _TEXT, f"internal server error: {bad}\n".encode()) if bad else Response(200, _TEXT, b"ok")
    words = query.replace("=", "&").split("&")
    left_out = {item.partition("=")[2] for item in query.split("&") if item.startswith("exclude=")}
    lines, failed = [], False
    for name, check in checks.items():
        if name in left_out:
            lines.append(f"[+]{name} excluded: ok\n")
            continue
        unwell = bool(check())
        failed = failed or unwell
        lines.append(f"[-]{name} failed: reason withheld\n" if unwell else f"[+]{name} ok\n")
    told = "".join(lines)
    if failed:
        return Response(500, _TEXT, f"{told}{kind} check failed\n".encode())
    return Response(200, _TEXT, f"{told}{kind} check passed\n".encode() if "verbose" in words else b"ok")


def forbidden_path(user: str, verb: str, path: str) -> StatusError:
    return forbidden("", "", "", f'User "{user}" cannot {verb} path "{path}"')


def _status(error: StatusError) -> Response:
    return Response(error.code, _JSON, orjson.dumps(error.status))

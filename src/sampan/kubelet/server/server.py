"""Port 10250: every request is authenticated and authorized, then answered by the room that knows; and port 10248 for health alone.

    async with KubeletServer(options, host, cri, client, stats, clock=time.time) as server:
        server.port

Source: kubernetes/pkg/kubelet/server/server.go; kubernetes/cmd/kubelet/app/server.go (healthz server)
"""

from __future__ import annotations

import logging
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

import orjson

from sampan.api.errors import StatusError
from sampan.client import Client
from sampan.client.delegated import Authentication
from sampan.http import HttpError
from sampan.http.prometheus import MEDIA
from sampan.http.server.listener import Server
from sampan.http.server.messages import Request, Response
from sampan.kubelet import certificates
from sampan.kubelet.cri import Cri, CriFailed
from sampan.kubelet.options import Options
from sampan.kubelet.server import metrics, node_logs
from sampan.kubelet.server import tls as serving
from sampan.kubelet.server.authorization import Authorization, subresources, verb_of
from sampan.kubelet.server.configz import configz
from sampan.kubelet.server.container_logs import ContainerLogs, Refused
from sampan.kubelet.server.running import running_pods
from sampan.kubelet.stats import Stats, shown

Obj = dict[str, Any]
SYSTEM_LOGS = Path("/var/log")
log = logging.getLogger("sampan.kubelet.server")
Answer = Awaitable[Response]


class Host(Protocol):
    """What the server must know of the kubelet."""

    def pods(self) -> list[Obj]:
        """All that shall run here, with their latest status."""

    def pod(self, namespace: str, name: str) -> Obj | None: ...

    def unhealthy(self) -> str:
        """Why it is not well; empty: it is."""

    def probe_metrics(self) -> str:
        """For `/metrics/probes`."""

    def preemptions(self) -> Mapping[str, int]:
        """Pods that went for a critical one, by the resource that was short."""


class Streams(Protocol):
    """exec, attach and port-forward; `query` is as it was sent. They answer 101 or raise CriFailed."""

    async def exec(self, request: Request, pod: Obj, container: str) -> Response: ...

    async def attach(self, request: Request, pod: Obj, container: str) -> Response: ...

    async def port_forward(self, request: Request, pod: Obj) -> Response: ...


class KubeletServer:
    """`client`: asks who and whether, as the kubelet. `names`: of the node, for its certificate. Not `tls`: plain HTTP, for tests."""

    def __init__(
        self,
        options: Options,
        host: Host,
        cri: Cri,
        client: Client,
        stats: Stats,
        *,
        clock: Callable[[], float],
        names: Sequence[str] = (),
        tls: bool = True,
        streams: Streams | None = None,
    ) -> None:
        self._options = options
        self._host = host
        self._cri = cri
        self._stats = stats
        self._streams = streams
        self._names = names
        self._tls = tls
        self._client = client
        self._clock = clock
        self._context: ssl.SSLContext | None = None
        self._logs = ContainerLogs(cri, clock=clock)
        self._authenticate = Authentication(
            client if options.webhook else None, clock=clock, anonymous=options.anonymous
        )
        asked = client if options.authorization == "Webhook" else None
        self._authorize = Authorization(asked, options.name)
        self._requests: Counter[tuple[str, str]] = Counter()
        self._started = clock()
        self._server: Server | None = None
        self._healthz: Server | None = None

    @property
    def port(self) -> int:
        return self._server.port if self._server is not None else self._options.port

    @property
    def healthz_port(self) -> int:
        return self._healthz.port if self._healthz is not None else 0

    async def __aenter__(self) -> KubeletServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Raises OSError where a port is taken, or a certificate cannot be read."""
        if self._tls:
            self._context = serving.server_context(self._options, self._names, self._clock())
        options = self._options
        self._server = Server(self.app, ssl_context=self._context, hosts=[options.address], port=options.port)
        await self._server.start()
        if options.healthz_port:
            hosts = [options.healthz_address]
            self._healthz = Server(self._health_only, ssl_context=None, hosts=hosts, port=options.healthz_port)
            try:
                await self._healthz.start()
            except OSError as error:
                # another kubelet of this machine may have it; nobody needs it to run pods
                log.error("Failed to start healthz server: %s", error)

    async def stop(self, grace: float = 2.0) -> None:
        for server in (self._server, self._healthz):
            if server is not None:
                await server.shutdown(grace)

    async def keep(self) -> None:
        """Its certificate: renewed by request where that was asked for, read again where its file changes."""
        options, context = self._options, self._context
        if context is None:
            return
        if options.cert is not None:
            await serving.reread(context, options.cert, options.key)
        elif options.serving_bootstrap:
            await certificates.Rotation(
                options.root / "pki", serving.SERVING, self._client, options.name, clock=self._clock, serving=True,
                names=[options.name, *self._names], stored=context.load_cert_chain,
            ).run()  # fmt: skip

    # -- who and whether -----------------------------------------------------------------------------------------------

    async def app(self, request: Request) -> Response:
        path = unquote(request.raw_path)
        self._requests[request.method, path.strip("/").partition("/")[0]] += 1
        user = await self._authenticate(request)
        if user is None:
            return text(401, "Unauthorized")
        verb, asked = verb_of(request.method), subresources(path)
        for subresource in asked:
            try:
                if await self._authorize(user, verb, subresource):
                    break
            except (StatusError, HttpError) as error:
                log.error("Authorization error: %s", error)
                said = f"user={user.name}, verb={verb}, resource=nodes, subresource={subresource}"
                return text(500, f"Authorization error ({said})")
        else:
            said = f"user={user.name}, verb={verb}, resource=nodes, subresource(s)=[{' '.join(asked)}]"
            return text(403, f"Forbidden ({said})\n")
        try:
            return await self._answer(request, path)
        except Refused as refused:
            return text(refused.code, str(refused))
        except CriFailed as error:
            # as gRPC's errors read in Go; what is asked of something that is gone is not found
            code = 404 if error.gone else 503 if error.down else 500
            return text(code, f"rpc error: code = {_spelled(error.code)} desc = {error.message}")

    # -- answers -------------------------------------------------------------------------------------------------------

    async def _answer(self, request: Request, path: str) -> Response:
        first, _, rest = path.lstrip("/").partition("/")
        parts = [part for part in rest.split("/") if part]
        if first in ("exec", "attach", "portForward", "run"):
            return await self._stream(request, first, parts)
        handler: Callable[[], Answer] | None = {
            "healthz": lambda: self._health(rest, request.query),
            "pods": lambda: _now(pod_list(self._host.pods())),
            "runningpods": self._running,
            "containerLogs": lambda: self._container_logs(parts, request.query),
            "logs": lambda: _now(node_logs.serve(SYSTEM_LOGS, rest)),
            "stats": lambda: self._summary(rest, request.query),
            "metrics": lambda: self._metrics(rest),
            "configz": lambda: _now(json(configz(self._options))),
        }.get(first)
        if handler is None or (first in ("pods", "configz") and parts):
            return text(404, "404: Page Not Found")
        if request.method != "GET" and not (first == "stats" and request.method == "POST"):
            reply = text(405, "Method Not Allowed")
            return Response(405, (*reply.headers, ("Allow", "GET")), reply.body)
        return await handler()

    async def _health(self, only: str, query: str) -> Response:
        why = {"ping": "", "log": "", "syncloop": self._host.unhealthy()}
        if only:
            if only not in why:
                return text(404, "404 page not found\n")
            why = {only: why[only]}
        lines = [f"[-]{name} failed: reason withheld\n" if bad else f"[+]{name} ok\n" for name, bad in why.items()]
        if any(why.values()):
            return text(500, "".join(lines) + "healthz check failed\n")
        return text(200, "".join(lines) + "healthz check passed\n" if "verbose" in query else "ok")

    def _health_only(self, request: Request) -> Response | Awaitable[Response]:
        path = request.raw_path.lstrip("/")
        if path.split("/")[0] != "healthz":
            return text(404, "404 page not found\n")
        return self._health(path.partition("/")[2], request.query)

    async def _running(self) -> Response:
        return pod_list(await running_pods(self._cri))

    async def _container_logs(self, parts: list[str], query: str) -> Response:
        if len(parts) != 3:
            return text(404, "404: Page Not Found")
        namespace, name, container = parts
        found = dict(reversed(parse_qsl(query, keep_blank_values=True)))
        return self._logs.serve(self._host.pod(namespace, name), name, container, found)

    async def _summary(self, rest: str, query: str) -> Response:
        if rest.rstrip("/") != "summary":
            return text(404, "404: Page Not Found")
        asked = dict(parse_qsl(query))
        only = asked.get("only_cpu_and_memory", "").lower() in ("1", "t", "true")
        return json(shown(await self._stats.summary(self._host.pods(), only_cpu_and_memory=only)))

    async def _metrics(self, rest: str) -> Response:
        pods = self._host.pods()
        match rest.rstrip("/"):
            case "":
                page = metrics.own(self._options.name, pods, self._requests, self._started, self._host.preemptions())
                if any(_claims(pod) for pod in pods):
                    page += metrics.volumes(await self._stats.summary(pods))
            case "resource":
                page = metrics.resource(await self._stats.summary(pods, only_cpu_and_memory=True))
            case "cadvisor":
                page = metrics.cadvisor(await self._stats.summary(pods), pods)
            case "probes":
                page = self._host.probe_metrics()
            case "slis":
                page = metrics.slis({"syncloop": self._host.unhealthy()})
            case _:
                return text(404, "404: Page Not Found")
        return Response(200, (("Content-Type", MEDIA),), page.encode())

    async def _stream(self, request: Request, verb: str, parts: list[str]) -> Response:
        wanted = 2 if verb == "portForward" else 3
        if len(parts) not in (wanted, wanted + 1):
            return text(404, "404: Page Not Found")
        if request.method != "POST" and not (request.method == "GET" and verb != "run"):
            return text(405, "405: Method Not Allowed")
        pod = self._host.pod(parts[0], parts[1])
        if pod is None:
            raise Refused(404, "pod does not exist")
        if len(parts) == wanted + 1 and pod["metadata"]["uid"] != parts[2]:
            raise Refused(404, "pod not found")
        if verb == "run":
            return await self._run(request, pod, parts[-1])
        if self._streams is None:
            raise Refused(501, "this kubelet has no streaming")
        match verb:
            case "exec":
                return await self._streams.exec(request, pod, parts[-1])
            case "attach":
                return await self._streams.attach(request, pod, parts[-1])
        return await self._streams.port_forward(request, pod)

    async def _run(self, request: Request, pod: Obj, container: str) -> Response:
        """A command to its end, its output as the answer."""
        status = pod.get("status") or {}
        statuses = [*(status.get("containerStatuses") or ()), *(status.get("ephemeralContainerStatuses") or ())]
        found = next((each for each in statuses if each["name"] == container), None)
        if found is None or "running" not in (found.get("state") or {}):
            raise Refused(500, f'container not found ("{container}")')
        command = dict(parse_qsl(request.query, keep_blank_values=True)).get("cmd", "").split(" ")
        key = found["containerID"].partition("://")[2]
        done = await self._cri.ExecSync(container_id=key, cmd=command, timeout=0)
        if done.exit_code:
            said = (done.stdout + done.stderr).decode(errors="replace")
            raise Refused(500, f"command '{' '.join(command)}' exited with {done.exit_code}: {said}")
        return Response(200, (("Content-Type", "application/json"),), done.stdout + done.stderr)


def _claims(pod: Obj) -> bool:
    return any("persistentVolumeClaim" in each or "ephemeral" in each for each in pod["spec"].get("volumes") or ())


async def _now(reply: Response) -> Response:
    return reply


def text(code: int, said: str) -> Response:
    return Response(
        code, (("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")), said.encode()
    )


def json(found: Any) -> Response:
    return Response(200, (("Content-Type", "application/json"),), orjson.dumps(found))


def pod_list(pods: list[Obj]) -> Response:
    items = [{key: value for key, value in pod.items() if key not in ("kind", "apiVersion")} for pod in pods]
    return json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})


def _spelled(code: str) -> str:
    """`NOT_FOUND` as Go prints it: `NotFound`."""
    return "".join(part.capitalize() for part in code.split("_"))

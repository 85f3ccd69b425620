"""Exec, attach and port-forward on their way through the kubelet: CRI says where, and bytes go there and back.

What client and runtime speak on the connection (SPDY, WebSocket) is theirs; it is passed on unread.

Source: kubernetes/pkg/kubelet/server/server.go (getExec, getAttach, getPortForward), kubelet_pods.go (words);
k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go (NewV4Options)
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from sampan.cri import pb
from sampan.http import HttpError
from sampan.http.client import Dial, HttpClient, dial
from sampan.http.server import websocket
from sampan.http.server.messages import Request, Response
from sampan.http.upgraded import asks, relay
from sampan.kubelet.cri import Cri
from sampan.kubelet.names import CONTAINER_NAME, POD_UID, uid_of

Obj = dict[str, Any]
ANSWER_SECONDS = 30.0
_KINDS = ("containers", "initContainers", "ephemeralContainers")
#: of the query, as the API server names them
_PARAMETERS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}


class Streaming:
    """`server.Streams`. `dial`: how the node's own addresses are reached. Methods raise CriFailed for what the runtime refuses."""

    def __init__(self, cri: Cri, dial: Dial = dial) -> None:
        self._cri = cri
        self._client = HttpClient(dial=dial)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def exec(self, request: Request, pod: Obj, container: str) -> Response:
        query = parse_qs(request.query, keep_blank_values=True)
        options = _options(query)
        if options is None:
            return _none_asked_for()
        key = await self._container(pod, container)
        if not key:
            return _plain(500, f'container not found ("{container}")')
        found = await self._cri.Exec(container_id=key, cmd=query.get("command") or [], **options)
        return await self._through(request, found.url)

    async def attach(self, request: Request, pod: Obj, container: str) -> Response:
        options = _options(parse_qs(request.query))
        if options is None:
            return _none_asked_for()
        key = await self._container(pod, container)
        if not key:
            return _plain(500, f'container not found ("{container}")')
        # whether there is a terminal is the container's own affair
        specs = [each for kind in _KINDS for each in pod["spec"].get(kind) or () if each["name"] == container]
        options["tty"] = bool(specs and specs[0].get("tty"))
        options["stderr"] = options["stderr"] and not options["tty"]
        found = await self._cri.Attach(container_id=key, **options)
        return await self._through(request, found.url)

    async def port_forward(self, request: Request, pod: Obj) -> Response:
        ports: list[int] = []
        if websocket.is_upgrade(request):
            texts = parse_qs(request.query, keep_blank_values=True).get("port") or []
            if not texts:
                return _plain(400, 'query parameter "port" is required')
            for text in texts:
                if not text:
                    return _plain(400, 'query parameter "port" cannot be empty')
                for each in text.split(","):
                    if not (each.isascii() and each.isdigit() and int(each) < 65536):
                        words = f'strconv.ParseUint: parsing "{each}": invalid syntax'
                        return _plain(400, f'unable to parse "{text}" as a port: {words}')
                    if int(each) < 1:
                        return _plain(400, f'port "{text}" must be > 0')
                    ports.append(int(each))
        key = await self._sandbox(pod)
        if not key:
            return _plain(500, f'pod not found ("{pod["metadata"]["name"]}_{pod["metadata"]["namespace"]}")')
        found = await self._cri.PortForward(pod_sandbox_id=key, port=ports)
        return await self._through(request, found.url)

    async def _through(self, request: Request, url: str) -> Response:
        if not asks(request):
            return _plain(400, "Upgrade request required")
        try:
            return await relay(request, self._client, url, timeout=ANSWER_SECONDS)
        except HttpError as error:
            return _plain(502, f"error dialing backend: {error}")

    async def _container(self, pod: Obj, name: str) -> str:
        """The newest container of the name that runs; empty: there is none."""
        labels = {POD_UID: uid_of(pod), CONTAINER_NAME: name}
        wanted = pb.ContainerFilter(label_selector=labels, state=pb.ContainerStateValue(state=pb.CONTAINER_RUNNING))
        found = (await self._cri.ListContainers(filter=wanted)).containers
        return str(max(found, key=lambda each: each.created_at).id) if found else ""

    async def _sandbox(self, pod: Obj) -> str:
        labels = {POD_UID: uid_of(pod)}
        wanted = pb.PodSandboxFilter(label_selector=labels, state=pb.PodSandboxStateValue(state=pb.SANDBOX_READY))
        found = (await self._cri.ListPodSandbox(filter=wanted)).items
        return str(max(found, key=lambda each: each.created_at).id) if found else ""


def _options(query: dict[str, list[str]]) -> dict[str, bool] | None:
    """None: nothing to connect. With a terminal there is no stderr of its own."""
    out = {name: query.get(short, [""])[0] == "1" for name, short in _PARAMETERS.items()}
    out["stderr"] = out["stderr"] and not out["tty"]
    return out if out["stdin"] or out["stdout"] or out["stderr"] else None


def _none_asked_for() -> Response:
    return _plain(400, "you must specify at least 1 of stdin, stdout, stderr")


def _plain(code: int, words: str) -> Response:
    return Response(code, (("Content-Type", "text/plain; charset=utf-8"),), words.encode())

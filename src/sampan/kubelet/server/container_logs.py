"""`/containerLogs/NAMESPACE/POD/CONTAINER`: which of a container's lives is meant, and its log as a stream.

Source: kubernetes/pkg/kubelet/server/server.go (getContainerLogs), kubelet_pods.go (validateContainerLogStatus)
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sampan.api import log_options
from sampan.api.log_options import PodLogOptions
from sampan.cri import pb
from sampan.http.server.messages import Response, Writer
from sampan.http.server.relay import HIGH_WATER, until_closed
from sampan.kubelet import logs
from sampan.kubelet.cri import Cri, CriFailed
from sampan.kubelet.log_lines import LogOptions
from sampan.kubelet.names import containers_of

Obj = dict[str, Any]
log = logging.getLogger("sampan.kubelet.server")
_PULLING = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}


class Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def options_of(query: dict[str, str]) -> PodLogOptions:
    """Raises Refused."""
    query = dict(query)
    # an older name of it
    if tail := query.pop("tail", ""):
        query["tailLines"] = tail
        if tail == "all":
            del query["tailLines"]
    try:
        options = log_options.read(query)
    except ValueError:
        raise Refused(400, '{"message": "Unable to decode query."}') from None
    if log_options.check(options):
        raise Refused(422, '{"message": "Invalid request."}')
    return options


def container_id(pod: Obj, name: str, previous: bool) -> str:
    """As statuses write it. Raises Refused where there is no log (yet)."""
    where = f'container "{name}" in pod "{pod["metadata"]["name"]}"'
    status = pod.get("status") or {}
    fields = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    found = next((each for field in fields for each in status.get(field) or () if each["name"] == name), None)
    if found is None:
        raise Refused(400, f"{where} is not available")
    state, last = found.get("state") or {}, (found.get("lastState") or {}).get("terminated") or {}
    waiting, terminated = state.get("waiting"), state.get("terminated")
    if previous:
        chosen = last.get("containerID", "")
        if not chosen:
            raise Refused(400, f"previous terminated {where} not found")
    elif state.get("running") is not None:
        chosen = found.get("containerID", "")
    elif terminated is not None:
        # where the next one could not be started, the one before has a log
        chosen = terminated.get("containerID") or last.get("containerID", "")
    elif last:
        chosen = last.get("containerID", "")
    elif waiting is not None:
        reason = waiting.get("reason", "")
        raise Refused(400, f"{where} is waiting to start: {_PULLING.get(reason, reason)}")
    else:
        raise Refused(400, f"{where} is waiting to start - no logs yet")
    if not chosen:
        raise Refused(400, f"{where} is terminated")
    return str(chosen)


class ContainerLogs:
    """`clock`: seconds since 1970."""

    def __init__(self, cri: Cri, *, clock: Callable[[], float]) -> None:
        self._cri = cri
        self._clock = clock

    def serve(self, pod: Obj | None, name: str, container: str, query: dict[str, str]) -> Response:
        """Raises Refused."""
        options = options_of(query)
        if pod is None:
            raise Refused(404, f'pod "{name}" does not exist')
        if not any(each["name"] == container for each in containers_of(pod)):
            raise Refused(404, f'container "{container}" not found in pod "{name}"')
        found = container_id(pod, container, options.previous)

        async def stream(writer: Writer) -> None:
            await until_closed(writer, self._stream(found, options, writer))

        return Response(200, (("Content-Type", "text/plain; charset=utf-8"),), stream=stream, patient=True)

    async def _stream(self, named: str, options: PodLogOptions, writer: Writer) -> None:
        container = named.partition("://")[2]
        wanted = LogOptions(
            options.follow,
            options.timestamps,
            self._since(options),
            options.tail_lines,
            options.limit_bytes,
            options.stream,
        )

        async def write(data: bytes) -> None:
            writer.write(data)
            if writer.pending() > HIGH_WATER:
                await writer.drain()

        async def running() -> bool:
            try:
                return bool(await self._state(container) == pb.CONTAINER_RUNNING)
            except CriFailed as error:
                # a runtime that is away says nothing about its containers
                return bool(error.down)

        try:
            status = await self._cri.ContainerStatus(container_id=container)
            await logs.read(Path(status.status.log_path), wanted, write, running)
        except CriFailed as error:
            log.info("container %s: %s", named, error)
            writer.write(f"unable to retrieve container logs for {named}".encode())
        except (logs.LogError, OSError) as error:
            writer.write(str(error).encode())

    async def _state(self, container: str) -> int:
        state: int = (await self._cri.ContainerStatus(container_id=container)).status.state
        return state

    def _since(self, options: PodLogOptions) -> float | None:
        if options.since_seconds is not None:
            return self._clock() - options.since_seconds
        return options.since_time

"""One attempt of one probe: what came of it, in upstream's words.

Source: kubernetes pkg/kubelet/prober/prober.go, pkg/probe/{exec,tcp,http}
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sampan.http.client import Dial, dial
from sampan.http.errors import join_host_port, of_dial
from sampan.kubelet import backoff
from sampan.kubelet.cri import CriFailed
from sampan.kubelet.probes import grpc, http

Obj = dict[str, Any]
#: a command in a container, for so many seconds: its exit code and what it wrote. Raises CriFailed
Run = Callable[[str, Sequence[str], float], Awaitable[tuple[int, bytes]]]


class ProbeError(Exception):
    """It could not be tried: nothing is known."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`warning` is a success that somebody should look at."""

    result: Literal["success", "warning", "failure"]
    output: str = ""


Attempt = Callable[[Obj, Obj, str, str], Awaitable[Outcome]]


async def attempt(probe: Obj, container: Obj, container_id: str, ip: str, run: Run, connect: Dial = dial) -> Outcome:
    """`ip`: the pod's. Raises ProbeError."""
    timeout = float(probe.get("timeoutSeconds") or 1)
    try:
        if command := probe.get("exec"):
            return await _exec(command.get("command") or [], container_id, timeout, run)
        if action := probe.get("httpGet"):
            return await _http(action, container, ip, timeout, connect)
        if action := probe.get("tcpSocket"):
            return await _tcp(action.get("host") or ip, http.port_of(action["port"], container), timeout, connect)
        if action := probe.get("grpc"):
            healthy, output = await grpc.check(ip, action["port"], action.get("service") or "", timeout, connect)
            return Outcome("success" if healthy else "failure", output)
    except http.Refused as error:
        raise ProbeError(str(error)) from None
    raise ProbeError(f"missing probe handler for {container['name']}")


async def _exec(command: Sequence[str], container_id: str, timeout: float, run: Run) -> Outcome:
    try:
        code, written = await run(container_id, command, timeout)
    except CriFailed as error:
        if error.code == "DEADLINE_EXCEEDED":
            return Outcome(
                "failure", f'command timed out: "{" ".join(command)}" timed out after {backoff.text(timeout)}'
            )
        spelled = "".join(part.capitalize() for part in error.code.split("_"))
        raise ProbeError(f"rpc error: code = {spelled} desc = {error.message}") from None
    return Outcome("failure" if code else "success", written[: http.MAX_BODY].decode(errors="replace"))


async def _http(action: Obj, container: Obj, ip: str, timeout: float, connect: Dial) -> Outcome:
    url = http.url_of(action, container, ip)
    try:
        answer = await http.get(url, http.headers_of(action, "probe"), timeout, connect)
    except http.Refused as error:
        if error.body:
            raise
        return Outcome("failure", str(error))
    if 300 <= answer.code < 400:
        return Outcome("warning", f"Probe terminated redirects, Response body: {answer.body}")
    if 200 <= answer.code < 300:
        return Outcome("success", answer.body)
    return Outcome("failure", f"HTTP probe failed with statuscode: {answer.code}")


async def _tcp(host: str, port: int, timeout: float, connect: Dial) -> Outcome:
    try:
        async with asyncio.timeout(timeout):
            transport, _ = await connect(asyncio.Protocol, host, port, ssl=None, server_hostname=None)
    except TimeoutError as error:
        if error.errno is None:
            return Outcome("failure", f"dial tcp {join_host_port(host, port)}: i/o timeout")
        return Outcome("failure", str(of_dial(error, host, port, None)))
    except OSError as error:
        return Outcome("failure", str(of_dial(error, host, port, None)))
    transport.abort()
    return Outcome("success")

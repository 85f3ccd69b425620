"""Lifecycle hooks: what is done right after a container has started, and before it is stopped.

Whoever runs a hook sets its time: it has none of its own. Over HTTP, any answer is a good one.

Source: kubernetes pkg/kubelet/lifecycle/handlers.go
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from sampan.http.client import Dial, dial
from sampan.kubelet import names
from sampan.kubelet.cri import CriFailed
from sampan.kubelet.probes import http
from sampan.kubelet.probes.attempt import Run

Obj = dict[str, Any]
_PLAINTEXT = "server gave HTTP response to HTTPS client"


class HookFailed(Exception):
    """The text is for logs: what a hook wrote may be a secret, and does not belong into events."""


async def run_hook(
    handler: Obj,
    pod: Obj,
    container: Obj,
    container_id: str,
    ip: str,
    run: Run,
    *,
    tell: Callable[[str, str, str], None] | None = None,
    connect: Dial = dial,
) -> None:
    """`ip`: the pod's. `tell`: an event's type, reason, message. Raises HookFailed."""
    where = f'for Container "{container["name"]}" in Pod "{names.pod_text(pod)}" failed'
    if "exec" in handler:
        await _exec(handler["exec"].get("command") or [], container_id, run, where)
    elif "httpGet" in handler:
        try:
            await _http(handler["httpGet"], container, ip, tell, connect)
        except http.Refused as error:
            path = handler["httpGet"].get("path", "")
            raise HookFailed(f"HTTP lifecycle hook ({path}) {where} - error: {error}") from None
    elif "sleep" in handler:
        await asyncio.sleep(handler["sleep"].get("seconds", 0))
    else:
        # tcpSocket is there for objects that are older than this rule
        raise HookFailed(f"Cannot run handler: invalid handler: {json.dumps(handler)}")


async def _exec(command: list[str], container_id: str, run: Run, where: str) -> None:
    title = f"Exec lifecycle hook ([{' '.join(command)}]) {where}"
    try:
        code, written = await run(container_id, command, 0.0)
    except CriFailed as error:
        raise HookFailed(f'{title} - error: {error.message}, message: ""') from None
    if code:
        text = written.decode(errors="replace")
        line = " ".join(command)
        raise HookFailed(f"{title} - error: command '{line}' exited with {code}: {text}, message: {json.dumps(text)}")


async def _http(
    action: Obj, container: Obj, ip: str, tell: Callable[[str, str, str], None] | None, connect: Dial
) -> None:
    if not (action.get("host") or ip):
        raise http.Refused("failed to find networking container")
    url = http.url_of(action, container, ip)
    headers = http.headers_of(action, "lifecycle")
    try:
        await http.get(url, headers, None, connect)
    except http.Refused as error:
        if _PLAINTEXT not in str(error):
            if error.body:  # it has answered
                return
            raise
    else:
        return
    # HTTPS was asked for long before it was done: servers that never had it go on working, without the user's credentials
    public = [(name, value) for name, value in headers if name.lower() != "authorization"]
    await http.get("http" + url.removeprefix("https"), public, None, connect)
    if tell is not None:
        message = "request to HTTPS lifecycle hook got HTTP response, retry with HTTP succeeded"
        tell("Warning", "LifecycleHTTPFallback", message)

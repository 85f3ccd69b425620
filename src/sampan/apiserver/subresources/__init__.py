"""Subresources that are more than the object itself: one file each, found by name in `HANDLERS`."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable

from sampan.apiserver.call import Call
from sampan.apiserver.subresources import (
    approval,
    binding,
    ephemeral,
    eviction,
    finalize,
    resize,
    scale,
    token,
)
from sampan.http.server.messages import Response

Handler = Callable[[Call], Awaitable[Response]]


def _late(name: str) -> Handler:
    """What leads to nodes brings an HTTP client, SPDY and WebSockets along: not before somebody asks for it."""

    async def serve(call: Call) -> Response:
        found: Handler = importlib.import_module(f"sampan.apiserver.subresources.{name}").serve
        return await found(call)

    return serve


#: by (resource, subresource), or subresource alone
HANDLERS: dict[str, Handler] = {
    "scale": scale.serve,
    "certificatesigningrequests/approval": approval.serve,
    "pods/binding": binding.serve,
    "pods/eviction": eviction.serve,
    "pods/ephemeralcontainers": ephemeral.serve,
    "pods/resize": resize.serve,
    "pods/log": _late("log"),
    "pods/exec": _late("stream"),
    "pods/attach": _late("stream"),
    "pods/portforward": _late("stream"),
    "pods/proxy": _late("proxy"),
    "nodes/proxy": _late("proxy"),
    "services/proxy": _late("proxy"),
    "namespaces/finalize": finalize.serve,
    "serviceaccounts/token": token.serve,
}


def handler(resource: str, subresource: str) -> Handler | None:
    return HANDLERS.get(f"{resource}/{subresource}") or HANDLERS.get(subresource)

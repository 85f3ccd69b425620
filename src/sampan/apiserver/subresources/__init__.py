"""Subresources that are more than the object itself: one file each, found by name in `HANDLERS`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sampan.apiserver.call import Call
from sampan.apiserver.subresources import (
    approval,
    binding,
    ephemeral,
    eviction,
    finalize,
    log,
    proxy,
    resize,
    scale,
    stream,
    token,
)
from sampan.http.server.messages import Response

Handler = Callable[[Call], Awaitable[Response]]

#: by (resource, subresource), or subresource alone
HANDLERS: dict[str, Handler] = {
    "scale": scale.serve,
    "certificatesigningrequests/approval": approval.serve,
    "pods/binding": binding.serve,
    "pods/eviction": eviction.serve,
    "pods/ephemeralcontainers": ephemeral.serve,
    "pods/resize": resize.serve,
    "pods/log": log.serve,
    "pods/exec": stream.serve,
    "pods/attach": stream.serve,
    "pods/portforward": stream.serve,
    "pods/proxy": proxy.serve,
    "nodes/proxy": proxy.serve,
    "services/proxy": proxy.serve,
    "namespaces/finalize": finalize.serve,
    "serviceaccounts/token": token.serve,
}


def handler(resource: str, subresource: str) -> Handler | None:
    return HANDLERS.get(f"{resource}/{subresource}") or HANDLERS.get(subresource)

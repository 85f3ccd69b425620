"""What may be asked of the kubelet: what the API server says about the node's subresources.

`/stats/` is `nodes/stats`, `/metrics` `nodes/metrics`, and so on; everything else, and what else allows most of them, is
`nodes/proxy`. Answers are believed for five minutes, refusals for half a minute.

Source: kubernetes/pkg/kubelet/server/auth.go, kubernetes/cmd/kubelet/app/auth.go (BuildAuthz)
"""

from __future__ import annotations

from sampan.api.user import User
from sampan.client import Client, delegated

_VERBS = {"POST": "create", "GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
#: these alone, without `proxy` as the other way in
_OWN = (("/stats", "stats"), ("/metrics", "metrics"), ("/logs", "log"), ("/checkpoint", "checkpoint"))
_FINE = (("/pods", "pods"), ("/runningpods", "pods"), ("/healthz", "healthz"), ("/configz", "configz"))


def verb_of(method: str) -> str:
    return _VERBS.get(method, "")


def subresources(path: str) -> tuple[str, ...]:
    """Any of these allows a request for `path`."""
    for prefix, name in _OWN:
        if path == prefix or path.startswith(prefix + "/"):
            return (name,)
    for prefix, name in _FINE:
        if path == prefix or path.startswith(prefix + "/"):
            return (name, "proxy")
    return ("proxy",)


class Authorization:
    """`client` None: everybody who got in may do everything (mode AlwaysAllow)."""

    def __init__(self, client: Client | None, node: str) -> None:
        self._review = delegated.Authorization(client) if client is not None else None
        self._node = node

    async def __call__(self, user: User, verb: str, subresource: str) -> bool:
        """Raises StatusError, HttpError where there is no answer."""
        if self._review is None:
            return True
        attributes = {
            "verb": verb,
            "version": "v1",
            "resource": "nodes",
            "subresource": subresource,
            "name": self._node,
        }
        return await self._review(user, resourceAttributes=attributes)

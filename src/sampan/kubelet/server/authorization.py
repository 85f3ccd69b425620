"""What may be asked of the kubelet: what the API server says about the node's subresources.

`/stats/` is `nodes/stats`, `/metrics` `nodes/metrics`, and so on; everything else, and what else allows most of them, is
`nodes/proxy`. Answers are believed for five minutes, refusals for half a minute.

Source: kubernetes/pkg/kubelet/server/auth.go, kubernetes/cmd/kubelet/app/auth.go (BuildAuthz)
"""

from __future__ import annotations

import asyncio
from typing import Any

from sampan.client import Client
from sampan.kubelet.server.authentication import User

ALLOWED_SECONDS, REFUSED_SECONDS, MOST_ANSWERS = 300.0, 30.0, 4096
_VERBS = {"POST": "create", "GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
#: these alone, without `proxy` as the other way in
_OWN = (("/stats", "stats"), ("/metrics", "metrics"), ("/logs", "log"), ("/checkpoint", "checkpoint"))
_FINE = (("/pods", "pods"), ("/runningpods", "pods"), ("/healthz", "healthz"), ("/configz", "configz"))
MASTERS = "system:masters"


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
        self._client = client
        self._node = node
        self._known: dict[tuple[Any, ...], tuple[bool, float]] = {}

    async def __call__(self, user: User, verb: str, subresource: str) -> bool:
        """Raises StatusError, HttpError where there is no answer."""
        if self._client is None or MASTERS in user.groups:
            return True
        extra = tuple((key, tuple(values)) for key, values in sorted(user.extra.items()))
        key, now = (user.name, user.uid, user.groups, extra, verb, subresource), asyncio.get_running_loop().time()
        known = self._known.get(key)
        if known is not None and now < known[1]:
            return known[0]
        attributes = {
            "verb": verb,
            "version": "v1",
            "resource": "nodes",
            "subresource": subresource,
            "name": self._node,
        }
        spec: dict[str, Any] = {"user": user.name, "groups": list(user.groups), "resourceAttributes": attributes}
        if user.uid:
            spec["uid"] = user.uid
        if user.extra:
            spec["extra"] = user.extra
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        answer = await self._client.create("subjectaccessreviews", review)
        allowed = bool((answer.get("status") or {}).get("allowed"))
        if len(self._known) >= MOST_ANSWERS:
            self._known.clear()
        self._known[key] = allowed, now + (ALLOWED_SECONDS if allowed else REFUSED_SECONDS)
        return allowed

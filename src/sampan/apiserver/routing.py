"""From method and path to what is asked: verb, resource, namespace, name, subresource.

    GET  /api/v1/namespaces/a/pods?watch=1     watch pods in a
    PUT  /apis/apps/v1/namespaces/a/deployments/d/scale

Segments are decoded one by one after splitting, so that an encoded slash never becomes a separator; empty and dot
segments route nowhere.

Source: k8s.io/apiserver/pkg/endpoints/request/requestinfo.go
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from urllib.parse import unquote

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
#: longer paths are not remembered
MEMORABLE = 256
_NAMESPACE_SUBRESOURCES = {"status", "finalize"}


@dataclass(slots=True)
class RequestInfo:
    """`resource` is empty for paths outside the API. `tail` is what follows the subresource (`proxy/...`). `warnings` go
    with the reply, be it what it may. `apart`: seconds that were not ours, but those of webhooks."""

    path: str
    verb: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""
    tail: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)
    apart: float = 0.0

    @property
    def is_resource(self) -> bool:
        return bool(self.resource)


def parse(method: str, raw_path: str) -> RequestInfo | None:
    """None: a path that no rule reads (empty segments, `.`/`..`, bad encoding)."""
    found = _known(method, raw_path) if len(raw_path) <= MEMORABLE else _parse(method, raw_path)
    if found is None:
        return None
    # the caller's own
    return RequestInfo(
        found.path, found.verb, found.group, found.version, found.namespace, found.resource, found.name,
        found.subresource, found.tail,
    )  # fmt: skip


def _parse(method: str, raw_path: str) -> RequestInfo | None:
    parts = raw_path[1:].split("/")
    if "%" in raw_path:
        try:
            parts = [unquote(part, errors="strict") for part in parts]
        except UnicodeDecodeError:
            return None
        path = "/" + "/".join(parts)
    else:
        path = raw_path
    if len(parts) > 1 and parts[-1] == "":
        parts.pop()
    if not raw_path.startswith("/") or "." in parts or ".." in parts:
        return None
    # what stands behind a proxy is somebody else's path
    at = 6 if parts[2:3] == ["namespaces"] else 4
    ours = parts[:at] if parts[0] == "api" and parts[at : at + 1] == ["proxy"] else parts
    if (len(parts) > 1 and "" in ours) or (path is not raw_path and any("/" in part for part in ours)):
        return None
    info = RequestInfo(path, method.lower())
    if parts[0] == "api" and len(parts) >= 3:
        info.version, rest = parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        info.group, info.version, rest = parts[1], parts[2], parts[3:]
    else:
        return info
    info.verb = _VERBS.get(method, "")
    if rest[0] in ("watch", "proxy") and len(rest) > 1:
        if rest[0] == "proxy":
            return None
        info.verb, rest = "watch", rest[1:]
    if rest[0] == "namespaces":
        if len(rest) == 1:
            info.resource = "namespaces"
        elif len(rest) == 2 or (len(rest) == 3 and rest[2] in _NAMESPACE_SUBRESOURCES):
            info.resource, info.name, info.namespace = "namespaces", rest[1], ""
            info.subresource = rest[2] if len(rest) == 3 else ""
        else:
            info.namespace, rest = rest[1], rest[2:]
            _fill(info, rest)
    else:
        _fill(info, rest)
    if not info.name and info.verb == "get":
        info.verb = "list"
    elif not info.name and info.verb == "delete":
        info.verb = "deletecollection"
    return info


#: what is created, listed and watched has the same path again and again
_known = functools.lru_cache(maxsize=1024)(_parse)


def _fill(info: RequestInfo, rest: list[str]) -> None:
    info.resource = rest[0]
    if len(rest) > 1:
        info.name = rest[1]
    if len(rest) > 2:
        info.subresource = rest[2]
        info.tail = tuple(rest[3:])

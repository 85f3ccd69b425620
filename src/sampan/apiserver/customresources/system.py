"""Requests that the API server makes of itself: they enter where a request is past authorization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.api.kind import Kind
from sampan.api.user import MASTERS, User
from sampan.apiserver.call import Call
from sampan.apiserver.negotiation import Accept
from sampan.apiserver.routing import RequestInfo
from sampan.http.server.messages import Request

if TYPE_CHECKING:
    from sampan.apiserver.api import Api

LOOPBACK = User("system:apiserver", groups=(MASTERS, "system:authenticated"))


def system_call(api: Api, kind: Kind, verb: str, namespace: str, name: str) -> Call:
    """A call as if `system:apiserver` had sent it over the loopback."""
    names = kind.names
    path = f"/apis/{names.group}/{names.version}/{names.resource}"
    request = Request("DELETE" if verb == "delete" else "GET", path, "", {"user-agent": "kube-apiserver"}, [], b"")
    info = RequestInfo(path, verb, names.group, names.version, namespace, names.resource, name)
    return Call(api, request, info, {}, LOOPBACK, Accept(), kind, api.resource(kind))

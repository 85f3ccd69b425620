"""What all subresources that lead to a node share: admission's word on them, and which nodes are only simulated.

Source: k8s.io/apiserver/pkg/endpoints/handlers/rest.go (ConnectResource)
"""

from __future__ import annotations

from sampan.api.hollow import is_hollow
from sampan.api.kind import Obj
from sampan.apiserver.admission.chain import Attributes
from sampan.apiserver.call import Call


def simulated(call: Call, node: str) -> bool:
    """Does the node run nothing, and only say so?"""
    record = call.api.cached("", "nodes").get(node)
    return record is not None and is_hollow(record.labels)


def abandon(call: Call) -> None:
    """From here on somebody else makes us wait: whose client goes meanwhile is not waited for."""
    if call.request.connection is not None:
        call.request.connection.abandon()


async def ask(call: Call) -> Obj:
    """Admission's word on a connection; it is shown the query as the options object that it is upstream, and may change it."""
    info = call.info
    found = next(sub for sub in call.kind.names.subresources if sub.name == info.subresource)
    gvk = (found.group, found.version, found.kind)
    group, version, kind = gvk
    obj: Obj = {"kind": kind, "apiVersion": f"{group}/{version}" if group else version, **_options(call)}
    asked = Attributes(call, "CONNECT", gvk, info.subresource, info.namespace, info.name, obj, None, {}, False)
    await call.api.admission.mutate(asked)
    await call.api.admission.validate(asked)
    return asked.obj or obj


def _options(call: Call) -> Obj:
    from urllib.parse import parse_qs

    from sampan.api.query import boolean

    if call.info.subresource == "proxy":
        return {"path": "/".join(call.info.tail)} if call.info.tail else {}
    out: Obj = {}
    for name in ("stdin", "stdout", "stderr", "tty"):
        if name in call.query:
            out[name] = boolean(call.query, name)
    many = parse_qs(call.request.query)
    for name in ("container", "path"):
        if call.query.get(name):
            out[name] = call.query[name]
    if many.get("command"):
        out["command"] = many["command"]
    if many.get("ports"):
        out["ports"] = [int(part) for item in many["ports"] for part in item.split(",") if part.isdigit()]
    return out

"""Subresources that lead to a node: logs, exec, attach, port-forward and the proxies.

Until there are nodes that answer they say so, in the words a client gets when a pod has not been placed.

Source: kubernetes/pkg/registry/core/pod/strategy.go (LogLocation, streamLocation)
"""

from __future__ import annotations

from sampan.api import errors
from sampan.api.kind import Obj
from sampan.apiserver import replies
from sampan.apiserver.admission.chain import Attributes
from sampan.apiserver.call import Call
from sampan.http.server.messages import Response

#: label of simulated nodes
HOLLOW = "sampan.io/hollow"


async def serve(call: Call) -> Response:
    """Raises 404 for what is not there, 400 for a pod without a node, 503 where the node cannot be asked."""
    if call.info.subresource != "log":
        await _ask(call)
    await call.api.fresh()
    names = call.kind.names
    name = call.info.name.rpartition(":")[0] or call.info.name if names.resource == "services" else call.info.name
    key = f"{call.info.namespace}/{name}" if names.namespaced else name
    record = call.resource.cache.get(key)
    if record is None:
        raise errors.not_found("", names.resource, name)
    if names.resource == "services":
        raise errors.unavailable(f'no endpoints available for service "{name}"')
    if names.resource == "nodes":
        raise errors.unavailable(f"node {name} cannot be reached: this control plane has no way to its nodes yet")
    node = record.field("spec.nodeName")
    if not node:
        raise errors.bad_request(f"pod {name} does not have a host assigned")
    if _simulated(call, node):
        if call.info.subresource == "log":
            said = f"pod {name} is simulated: node {node} runs no containers, and so there is no log\n"
            return replies.text_reply(200, said)
        raise errors.bad_request(f"pod {name} is simulated: node {node} runs no containers to connect to")
    raise errors.unavailable(
        f"node {node} of pod {name} cannot be reached: this control plane has no way to its nodes yet"
    )


def _simulated(call: Call, node: str) -> bool:
    record = call.api.cached("", "nodes").get(node)
    return record is not None and (record.labels or {}).get(HOLLOW) == "true"


async def _ask(call: Call) -> None:
    """Admission's word on a connection; it is shown the query as the options object that it is upstream."""
    info = call.info
    found = next(sub for sub in call.kind.names.subresources if sub.name == info.subresource)
    gvk = (found.group, found.version, found.kind)
    group, version, kind = gvk
    obj: Obj = {"kind": kind, "apiVersion": f"{group}/{version}" if group else version, **_options(call)}
    asked = Attributes(call, "CONNECT", gvk, info.subresource, info.namespace, info.name, obj, None, {}, False)
    await call.api.admission.mutate(asked)
    await call.api.admission.validate(asked)


def _options(call: Call) -> Obj:
    from urllib.parse import parse_qs

    from sampan.apiserver.options import boolean

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

"""Subresources that lead to a node: logs, exec, attach, port-forward and the proxies.

Until there are nodes that answer they say so, in the words a client gets when a pod has not been placed.

Source: kubernetes/pkg/registry/core/pod/strategy.go (LogLocation, streamLocation)
"""

from __future__ import annotations

from sampan.api import errors
from sampan.apiserver.call import Call
from sampan.apiserver.http.messages import Response


async def serve(call: Call) -> Response:
    """Raises 404 for what is not there, 400 for a pod without a node, 503 where the node cannot be asked."""
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
    raise errors.unavailable(
        f"node {node} of pod {name} cannot be reached: this control plane has no way to its nodes yet"
    )

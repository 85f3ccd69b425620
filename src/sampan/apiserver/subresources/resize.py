"""`pods/resize`: change the resources of a pod that runs.

Source: kubernetes/pkg/registry/core/pod/strategy.go (podResizeStrategy)
"""

from __future__ import annotations

from sampan.apiserver.call import Call
from sampan.apiserver.subresources.ephemeral import part_of_pod
from sampan.http.server.messages import Response


async def serve(call: Call) -> Response:
    """GET, PUT and PATCH of the pod, of which only container resources and resize policies are taken. Raises 422."""
    return await part_of_pod(call, "resize")

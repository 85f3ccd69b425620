"""`pods/resize`: change the resources of a pod that runs.

Source: kubernetes/pkg/registry/core/pod/strategy.go (podResizeStrategy)
"""

from __future__ import annotations

from sampan.apiserver.call import Call
from sampan.apiserver.subresources import part
from sampan.http.server.messages import Response


async def serve(call: Call) -> Response:
    """Only container resources and resize policies are taken. Raises 422."""
    from sampan.api.core_v1.pod import resized

    return await part.serve(call, "resize", resized)

"""`pods/ephemeralcontainers`: add containers to a pod that runs, for debugging it.

Source: kubernetes/pkg/registry/core/pod/strategy.go (podEphemeralContainersStrategy)
"""

from __future__ import annotations

from sampan.apiserver.call import Call
from sampan.apiserver.subresources import part
from sampan.http.server.messages import Response


async def serve(call: Call) -> Response:
    """Only `spec.ephemeralContainers` is taken. Raises 422."""
    from sampan.api.core_v1.pod import with_ephemeral_containers

    return await part.serve(call, "ephemeralcontainers", with_ephemeral_containers)

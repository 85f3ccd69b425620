"""`pods/ephemeralcontainers`: add containers to a pod that runs, for debugging it.

Source: kubernetes/pkg/registry/core/pod/strategy.go (podEphemeralContainersStrategy)
"""

from __future__ import annotations

from sampan.api.kind import Obj
from sampan.apiserver.body import read_object
from sampan.apiserver.call import Call
from sampan.apiserver.options import write_options
from sampan.apiserver.verbs import get
from sampan.apiserver.verbs.create import written
from sampan.apiserver.verbs.patch import APPLY, patch_type, patcher
from sampan.apiserver.verbs.update import check_name
from sampan.apiserver.write import Produced, change
from sampan.http.server.messages import Response


async def serve(call: Call) -> Response:
    """GET, PUT and PATCH of the pod, of which only `spec.ephemeralContainers` is taken. Raises 422."""
    return await part_of_pod(call, "ephemeralcontainers")


async def part_of_pod(call: Call, subresource: str) -> Response:
    from sampan.api.core_v1.pod import resized, with_ephemeral_containers

    if call.info.verb == "get":
        await call.api.fresh()
        return get.now(call)
    patching = call.info.verb == "patch"
    apply = patching and patch_type(call) == APPLY
    options = write_options(call.query, "PatchOptions" if patching else "UpdateOptions", apply=apply)
    sent = None
    if not patching:
        sent = await read_object(call, options.validation)
        check_name(call, sent)
    patch = await patcher(call, call.kind, patch_type(call), options) if patching else None

    def produce(old: Obj | None) -> Produced:
        assert old is not None
        made = patch(old) if patch else Produced(sent or {})
        # what is wrong with it is told by the second look, after admission
        return Produced(finish(made.obj, old)[0], made.managed)

    finish = resized if subresource == "resize" else with_ephemeral_containers
    return written(call, await change(call, call.key, produce, options, subresource=subresource, finish=finish))

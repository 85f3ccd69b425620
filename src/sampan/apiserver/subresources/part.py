"""A subresource that takes a part of what it is sent: GET, PUT and PATCH of the whole object, of which the rest stays."""

from __future__ import annotations

from collections.abc import Callable

from sampan.api.field import ErrorList
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

#: (new, old) -> the old object with what is taken of the new one, and why that cannot be
Finish = Callable[[Obj, Obj], tuple[Obj, ErrorList]]


async def serve(call: Call, subresource: str, finish: Finish) -> Response:
    """Raises 422 with what `finish` found."""
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
        new, uid = finish(made.obj, old)[0], made.obj["metadata"].get("uid")
        if uid:
            # a precondition
            new["metadata"]["uid"] = uid
        return Produced(new, made.managed)

    return written(call, await change(call, call.key, produce, options, subresource=subresource, finish=finish))

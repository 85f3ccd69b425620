"""`certificatesigningrequests/approval`: say yes or no to a request; only its conditions are taken.

Source: kubernetes/pkg/registry/certificates/certificates/strategy.go (csrApprovalStrategy)
"""

from __future__ import annotations

from sampan.api.field import ErrorList
from sampan.api.kind import Kind, Obj
from sampan.apiserver.body import read_object
from sampan.apiserver.call import Call
from sampan.apiserver.options import write_options
from sampan.apiserver.verbs import get
from sampan.apiserver.verbs.create import written
from sampan.apiserver.verbs.patch import APPLY, patch_type, patcher
from sampan.apiserver.verbs.update import check_name
from sampan.apiserver.write import Produced, change
from sampan.http.server.messages import Response

DECISIONS = ("Approved", "Denied", "Failed")


async def serve(call: Call) -> Response:
    """GET, PUT and PATCH. Raises 422 when a decision is taken back or doubled."""
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
        return Produced(finish(made.obj, old)[0], made.managed)

    def finish(new: Obj, old: Obj) -> tuple[Obj, ErrorList]:
        return decided(call, call.kind, new, old)

    return written(call, await change(call, call.key, produce, options, subresource="approval", finish=finish))


def decided(call: Call, kind: Kind, new: Obj, old: Obj) -> tuple[Obj, ErrorList]:
    """The old request with the new one's conditions, and why that cannot be."""
    conditions = [dict(item) for item in new.get("status", {}).get("conditions") or ()]
    before = {item["type"]: item for item in old.get("status", {}).get("conditions") or ()}
    now = call.context().now
    for item in conditions:
        known = before.get(item.get("type", ""))
        if not item.get("lastUpdateTime"):
            item["lastUpdateTime"] = now
        if not item.get("lastTransitionTime"):
            same = known is not None and known.get("status") == item.get("status")
            item["lastTransitionTime"] = known["lastTransitionTime"] if same and known else now
    status = {**old.get("status", {}), "conditions": conditions}
    if not conditions:
        del status["conditions"]
    out = {**old, "metadata": {**old["metadata"]}, "status": status}
    out["metadata"]["resourceVersion"] = new["metadata"].get("resourceVersion", "")
    problems = kind.validate_approval_update(out, old) if hasattr(kind, "validate_approval_update") else ErrorList()
    return out, problems

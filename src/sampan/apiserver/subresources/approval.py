"""`certificatesigningrequests/approval`: say yes or no to a request; only its conditions are taken.

Source: kubernetes/pkg/registry/certificates/certificates/strategy.go (csrApprovalStrategy)
"""

from __future__ import annotations

from functools import partial

from sampan.api.field import ErrorList
from sampan.api.kind import Kind, Obj
from sampan.apiserver.call import Call
from sampan.apiserver.subresources import part
from sampan.http.server.messages import Response

DECISIONS = ("Approved", "Denied", "Failed")


async def serve(call: Call) -> Response:
    """Raises 422 when a decision is taken back or doubled."""
    return await part.serve(call, "approval", partial(decided, call, call.kind))


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

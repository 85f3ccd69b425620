"""`certificatesigningrequests/approval`: say yes or no to a request; its conditions are taken, and its metadata.

Source: kubernetes/pkg/registry/certificates/certificates/strategy.go (csrApprovalStrategy)
"""

from __future__ import annotations

from functools import partial

from sampan.api.certificates_v1.conditions import date
from sampan.api.field import ErrorList
from sampan.api.kind import Kind, Obj
from sampan.apiserver.call import Call
from sampan.apiserver.subresources import part
from sampan.http.server.messages import Response


async def serve(call: Call) -> Response:
    """Raises 422 when a decision is taken back or doubled."""
    return await part.serve(call, "approval", partial(decided, call, call.kind))


def decided(call: Call, kind: Kind, new: Obj, old: Obj) -> tuple[Obj, ErrorList]:
    """The old request with the new one's conditions and metadata, and why that cannot be."""
    conditions = [dict(item) for item in (new.get("status") or {}).get("conditions") or ()]
    status = {**(old.get("status") or {}), "conditions": conditions}
    if not conditions:
        del status["conditions"]
    out = {**old, "metadata": new["metadata"], "status": status}
    date(out, old, call.context().now)
    problems = kind.validate_approval_update(out, old) if hasattr(kind, "validate_approval_update") else ErrorList()
    return out, problems

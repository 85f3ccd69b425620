"""Defaults that kinds of devices have in common.

Source: kubernetes/pkg/apis/resource/v1/defaults.go
"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.api.kind import Context, Obj


def default_claim(spec: Obj) -> None:
    """Fill a ResourceClaimSpec in place."""
    for request in (spec.get("devices") or {}).get("requests") or ():
        for part in (request.get("exactly"), *(request.get("firstAvailable") or ())):
            if part is None:
                continue
            if not part.get("allocationMode"):
                part["allocationMode"] = "ExactCount"
            if part["allocationMode"] == "ExactCount" and not part.get("count"):
                part["count"] = 1


def date_taints(taints: Iterable[Obj | None], ctx: Context) -> None:
    """A taint that does not say so was added now."""
    for taint in taints:
        if taint is not None and not taint.get("timeAdded"):
            taint["timeAdded"] = ctx.now

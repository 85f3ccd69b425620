"""Defaults that ResourceClaims and their templates have in common.

Source: kubernetes/pkg/apis/resource/v1/defaults.go
"""

from __future__ import annotations

from sampan.api.kind import Obj


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

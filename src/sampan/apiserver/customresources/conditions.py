"""Conditions of a CustomResourceDefinition.

Source: apiextensions-apiserver/pkg/apihelpers/helpers.go
"""

from __future__ import annotations

from typing import Any

from sampan.api.kind import Obj

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


def find(crd: Obj, kind: str) -> dict[str, Any] | None:
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return next((item for item in conditions if item["type"] == kind), None)


def is_true(crd: Obj, kind: str) -> bool:
    found = find(crd, kind)
    return found is not None and found["status"] == "True"


def set_condition(crd: Obj, kind: str, status: str, reason: str, message: str, now: str) -> None:
    """Put or replace a condition; its time moves with its status alone."""
    conditions = crd["status"].get("conditions") or []
    before = find(crd, kind)
    since = before["lastTransitionTime"] if before is not None and before["status"] == status else now
    new = {"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message}
    if before is None:
        crd["status"]["conditions"] = [*conditions, new]
    else:
        crd["status"]["conditions"] = [new if item is before else item for item in conditions]


def drop(crd: Obj, kind: str) -> None:
    conditions = crd["status"].get("conditions") or []
    crd["status"]["conditions"] = [item for item in conditions if item["type"] != kind]

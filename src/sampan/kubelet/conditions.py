"""A pod's conditions: ready to start containers, initialized, ready, and why not. Pure.

Source: kubernetes pkg/kubelet/status/generate.go
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sampan.api.core_v1.pod_conditions import OWNED, listed, said
from sampan.kubelet.observed import Observed
from sampan.kubelet.plan import sandbox_changed

__all__ = ["DISRUPTED", "OWNED", "conditions"]
Obj = dict[str, Any]
DISRUPTED = "DisruptionTarget"


def conditions(
    pod: Obj, seen: Observed, init: list[Obj], main: list[Obj], phase: str, before: list[Obj], now: str,
    more: Iterable[Obj] = (),
) -> list[Obj]:  # fmt: skip
    """The kubelet's own, and `more`; those of others stay as they are."""
    there = {each["type"]: each for each in before}
    for each in (pod.get("status") or {}).get("conditions") or ():
        if each["type"] not in OWNED:
            there[each["type"]] = each
    found = said(pod["spec"], init, main, phase, not sandbox_changed(pod, seen)[0], there)
    return listed(found, there, now, pod["metadata"].get("generation"), more)

"""What a kubelet says of a pod in conditions, from the states of its containers: initialized, ready, and why not. Pure.

Source: kubernetes pkg/kubelet/status/generate.go
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sampan.api.core_v1.pod_readiness import unmet_gates

Obj = dict[str, Any]
OWNED = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
Said = tuple[bool, str, str]


def is_sidecar(container: Obj) -> bool:
    return container.get("restartPolicy") == "Always"


def said(
    spec: Obj, init: list[Obj], main: list[Obj], phase: str, sandbox: bool, there: Mapping[str, Obj]
) -> dict[str, Said]:
    """Whether each holds, the reason and the message. `init` and `main` are statuses of containers; `sandbox`: is there one
    to start them in; `there`: the conditions that there are, by type."""
    ready = _containers_ready(spec, init + main, phase)
    return {
        "PodReadyToStartContainers": (sandbox, "", ""),
        "Initialized": _initialized(spec, init, main, phase),
        "Ready": _ready(spec, ready, there),
        "ContainersReady": ready,
        "PodScheduled": (True, "", ""),
    }


def listed(
    found: Mapping[str, Said], there: Mapping[str, Obj], now: str, generation: int | None, more: Iterable[Obj] = ()
) -> list[Obj]:
    """As they are written: one whose status stays keeps its time. `more` come once; those of others stay as they are."""
    out = []
    for kind, (holds, reason, message) in found.items():
        text = "True" if holds else "False"
        old = there.get(kind) or {}
        since = (old.get("lastTransitionTime") if old.get("status") == text else "") or now
        one: Obj = {"type": kind, "status": text, "lastProbeTime": None, "lastTransitionTime": since}
        if generation:
            one["observedGeneration"] = generation
        if reason:
            one["reason"] = reason
        if message:
            one["message"] = message
        out.append(one)
    new = [each for each in more if each["type"] not in there]
    out += [{**each, "lastProbeTime": None, "lastTransitionTime": now} for each in new]
    out += [each for kind, each in there.items() if kind not in OWNED and kind not in found]
    return out


def _ended(phase: str) -> Said | None:
    if phase == "Succeeded":
        return False, "PodCompleted", ""
    return (False, "PodFailed", "") if phase == "Failed" else None


def _go(names: list[str]) -> str:
    return "[" + " ".join(names) + "]"


def _containers_ready(spec: Obj, statuses: list[Obj], phase: str) -> Said:
    if (ended := _ended(phase)) is not None:
        return ended
    ready = {each["name"]: each["ready"] for each in statuses}
    wanted = [each for each in spec.get("initContainers") or () if is_sidecar(each)] + spec["containers"]
    unready = [each["name"] for each in wanted if not ready.get(each["name"])]
    if unready:
        return False, "ContainersNotReady", f"containers with unready status: {_go(unready)}"
    return True, "", ""


def _ready(spec: Obj, containers: Said, there: Mapping[str, Obj]) -> Said:
    if not containers[0]:
        return containers
    missing = unmet_gates(spec, there)
    return (False, "ReadinessGatesNotReady", missing) if missing else (True, "", "")


def _initialized(spec: Obj, init: list[Obj], main: list[Obj], phase: str) -> Said:
    by_name = {each["name"]: each for each in init}
    if phase == "Succeeded":
        return True, "PodCompleted", ""
    if any(_has_started(each) for each in main):
        return True, "", ""
    incomplete = []
    for container in spec.get("initContainers") or ():
        found = by_name.get(container["name"]) or {}
        if not found.get("started" if is_sidecar(container) else "ready"):
            incomplete.append(container["name"])
    if incomplete:
        return False, "ContainersNotInitialized", f"containers with incomplete status: {_go(incomplete)}"
    return True, "", ""


def _has_started(found: Obj) -> bool:
    return (
        "running" in found["state"]
        or "terminated" in found["state"]
        or bool((found.get("lastState") or {}).get("terminated"))
    )

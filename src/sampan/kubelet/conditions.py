"""A pod's conditions: ready to start containers, initialized, ready, and why not. Pure.

Source: kubernetes pkg/kubelet/status/generate.go
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sampan.api.core_v1.pod_readiness import unmet_gates
from sampan.kubelet import names
from sampan.kubelet.observed import Observed
from sampan.kubelet.plan import sandbox_changed

Obj = dict[str, Any]
DISRUPTED = "DisruptionTarget"
OWNED = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


def conditions(
    pod: Obj, seen: Observed, init: list[Obj], main: list[Obj], phase: str, before: list[Obj], now: str,
    more: Iterable[Obj] = (),
) -> list[Obj]:  # fmt: skip
    """The kubelet's own, and `more`; those of others stay as they are."""
    there = {each["type"]: each for each in before}
    for each in (pod.get("status") or {}).get("conditions") or ():
        if each["type"] not in OWNED:
            there[each["type"]] = each
    ready = _containers_ready(pod, init + main, phase)
    made = [
        ("PodReadyToStartContainers", (not sandbox_changed(pod, seen)[0], "", "")),
        ("Initialized", _initialized(pod, init, main, phase)),
        ("Ready", _ready(pod, ready, there)),
        ("ContainersReady", ready),
        ("PodScheduled", (True, "", "")),
    ]
    out = []
    generation = pod["metadata"].get("generation")
    for kind, (holds, reason, message) in made:
        text = "True" if holds else "False"
        old = there.get(kind)
        since = old["lastTransitionTime"] if old and old["status"] == text and old.get("lastTransitionTime") else now
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
    out += [each for kind, each in there.items() if kind not in OWNED]
    return out


def _ended_reason(phase: str) -> tuple[bool, str, str] | None:
    if phase == "Succeeded":
        return False, "PodCompleted", ""
    return (False, "PodFailed", "") if phase == "Failed" else None


def _listed(found: list[str]) -> str:
    return "[" + " ".join(found) + "]"


def _containers_ready(pod: Obj, statuses: list[Obj], phase: str) -> tuple[bool, str, str]:
    if (ended := _ended_reason(phase)) is not None:
        return ended
    ready = {each["name"]: each["ready"] for each in statuses}
    wanted = [each for each in pod["spec"].get("initContainers") or () if names.is_sidecar(each)] + pod["spec"][
        "containers"
    ]
    unready = [each["name"] for each in wanted if not ready.get(each["name"])]
    if unready:
        return False, "ContainersNotReady", f"containers with unready status: {_listed(unready)}"
    return True, "", ""


def _ready(pod: Obj, containers: tuple[bool, str, str], there: Mapping[str, Obj]) -> tuple[bool, str, str]:
    if not containers[0]:
        return containers
    missing = unmet_gates(pod["spec"], there)
    return (False, "ReadinessGatesNotReady", missing) if missing else (True, "", "")


def _initialized(pod: Obj, init: list[Obj], main: list[Obj], phase: str) -> tuple[bool, str, str]:
    by_name = {each["name"]: each for each in init}
    containers = pod["spec"].get("initContainers") or ()
    if phase == "Succeeded":
        return True, "PodCompleted", ""
    if any(_has_started(each) for each in main):
        return True, "", ""
    incomplete = []
    for container in containers:
        found = by_name[container["name"]]
        if not (found["started"] if names.is_sidecar(container) else found["ready"]):
            incomplete.append(container["name"])
    if incomplete:
        return False, "ContainersNotInitialized", f"containers with incomplete status: {_listed(incomplete)}"
    return True, "", ""


def _has_started(found: Obj) -> bool:
    return (
        "running" in found["state"]
        or "terminated" in found["state"]
        or bool((found.get("lastState") or {}).get("terminated"))
    )

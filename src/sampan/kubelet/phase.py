"""Which phase a pod is in, by the states of its containers. Pure.

Source: kubernetes pkg/kubelet/kubelet_pods.go getPhase
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sampan.kubelet import names
from sampan.kubelet.plan import restarts_after

Obj = dict[str, Any]


def phase_of(pod: Obj, statuses: list[Obj], terminal: bool, has_initialized: bool) -> str:
    spec = pod["spec"]
    by_name = {each["name"]: each for each in statuses}
    policy = spec.get("restartPolicy", "Always")
    pending_init = pending_sidecars = failed_init = 0
    unknown = running = waiting = stopped = succeeded = 0
    for container in spec.get("initContainers") or ():
        found = by_name.get(container["name"])
        state = (found or {}).get("state") or {}
        last = ((found or {}).get("lastState") or {}).get("terminated")
        if names.is_sidecar(container):
            if found is None:
                unknown += 1
            elif "running" in state:
                pending_sidecars += not found["started"]
                running += 1
            elif "waiting" in state and not last:
                pending_sidecars += 1
                waiting += 1
        elif "terminated" in state:
            failed_init += state["terminated"]["exitCode"] != 0
        elif "waiting" in state and last:
            failed_init += last["exitCode"] != 0
        else:
            pending_init += 1
    for container in spec["containers"]:
        found = by_name.get(container["name"])
        state = (found or {}).get("state") or {}
        last = ((found or {}).get("lastState") or {}).get("terminated")
        if "running" in state:
            running += 1
        elif "terminated" in state:
            stopped += 1
            succeeded += state["terminated"]["exitCode"] == 0
        elif "waiting" in state:
            stopped += bool(last)
            waiting += not last
        else:
            unknown += 1
    if failed_init and policy == "Never":
        return "Failed"
    if pending_init or (pending_sidecars and not has_initialized) or waiting:
        return "Pending"
    if running and not unknown:
        return "Running"
    if not running and stopped and not unknown:
        if terminal:
            return "Succeeded" if stopped == succeeded else "Failed"
        if _any_again(pod, by_name):
            return "Running"
        return "Succeeded" if stopped == succeeded else "Failed"
    return "Pending"


def _any_again(pod: Obj, by_name: Mapping[str, Obj]) -> bool:
    """Will one of the containers that have stopped be started again?"""
    for container in pod["spec"]["containers"]:
        found = by_name[container["name"]]
        ended = found["state"].get("terminated") or (found.get("lastState") or {}).get("terminated")
        if ended and restarts_after(pod, container, ended["exitCode"]):
            return True
    return False

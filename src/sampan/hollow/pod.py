"""What the stages of pods can speak of: variables that describe a pod, and functions that make container statuses.

Source: k8s.io/kubernetes/pkg/kubelet/kubelet_pods.go (convertToAPIContainerStatuses) for the shapes
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

from sampan.api import cel
from sampan.api.cel import types

Obj = dict[str, Any]
PREFIX = "hollow.sampan.io/"
MAX_BACKOFF = 300.0
_TYPES: dict[str, types.Type] = {
    **dict.fromkeys(("deleting", "running", "pending", "started", "ready", "readyNow"), types.Bool),
    **dict.fromkeys(
        (
            "phase", "waiting", "restartPolicy", "now", "hostIP", "podIP", "startTime", "unready", "name",
            "podNamespace", "uid",
        ),
        types.String,
    ),
    **dict.fromkeys(("backoff", "runFor"), types.Double),
    **dict.fromkeys(("containers", "initContainers", "statuses"), types.ListType(types.Dyn)),
    "options": types.MapType(types.String, types.String),
    "object": types.Dyn,
    "node": types.Dyn,
}  # fmt: skip


@functools.cache
def environment() -> cel.Environment:
    library = cel.Library()
    library.member("running", "hollow_running", "dyn, bool -> dyn", running)
    library.member("waiting", "hollow_waiting", "dyn, string, string -> dyn", waiting)
    library.member("completed", "hollow_completed", "dyn -> dyn", completed)
    library.member("ended", "hollow_ended", "dyn, string, int -> dyn", ended)
    library.member("crashed", "hollow_crashed", "dyn, string, int -> dyn", crashed)
    library.member("restarted", "hollow_restarted", "dyn -> dyn", restarted)
    library.member("ready", "hollow_ready", "dyn -> dyn", ready)
    return cel.Environment(_TYPES, library)


def variables(pod: Obj, node: Obj, defaults: Mapping[str, str], *, now: str, ip: str) -> dict[str, Any]:
    """A pod as its stages see it; `now` RFC 3339, `ip` the address it has or will have."""
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    options = dict(defaults)
    for notes in (node["metadata"].get("annotations"), meta.get("annotations")):
        for key, value in (notes or {}).items():
            if key.startswith(PREFIX):
                options[key.removeprefix(PREFIX)] = value
    statuses: list[Obj] = status.get("containerStatuses") or []
    states = [item.get("state") or {} for item in statuses]
    restarts = max((item.get("restartCount", 0) for item in statuses), default=0)
    host = next((a["address"] for a in node["status"].get("addresses") or () if a["type"] == "InternalIP"), "")
    owner: Obj = next(iter(meta.get("ownerReferences") or ()), {})
    run_for = options.get("run-for") or ("1" if owner.get("kind") == "Job" else "-1")
    names = ", ".join(container["name"] for container in spec["containers"])
    phase = status.get("phase", "Pending")
    return {
        "object": pod,
        "node": node,
        "name": meta["name"],
        "podNamespace": meta["namespace"],
        "uid": meta["uid"],
        "options": options,
        "phase": phase,
        "pending": phase == "Pending",
        "deleting": bool(meta.get("deletionTimestamp")),
        "started": bool(statuses),
        "running": any("running" in state for state in states),
        "waiting": next((state["waiting"].get("reason", "") for state in states if "waiting" in state), ""),
        "ready": bool(statuses) and all(item.get("ready") for item in statuses),
        "readyNow": float(options.get("ready-delay") or 0) <= 0 and options.get("behaviour") != "not-ready",
        "restartPolicy": spec.get("restartPolicy", "Always"),
        "containers": [_container(meta, container, now) for container in spec["containers"]],
        "initContainers": [_container(meta, container, now) for container in spec.get("initContainers") or ()],
        "statuses": [{**item, "now": now} for item in statuses],
        "unready": f"containers with unready status: [{names}]",
        "startTime": status.get("startTime") or now,
        "now": now,
        "hostIP": host,
        "podIP": host if spec.get("hostNetwork") else status.get("podIP") or ip,
        "backoff": min(10.0 * 2 ** max(0, restarts - 1), MAX_BACKOFF),
        "runFor": float(run_for),
    }


def _container(meta: Obj, container: Obj, now: str) -> Obj:
    digest = hashlib.sha256(f"{meta['uid']}/{container['name']}".encode()).hexdigest()
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "sidecar": container.get("restartPolicy") == "Always",
        "id": f"hollow://{digest}",
        "now": now,
    }


# -- statuses of containers --------------------------------------------------------------------------------------------


def _status(container: Obj, state: Obj, *, is_ready: bool, started: bool) -> Obj:
    image = container["image"]
    out = {
        "name": container["name"],
        "state": state,
        "lastState": {},
        "ready": is_ready,
        "restartCount": 0,
        "image": image,
        "imageID": "",
        "started": started,
    }
    if started or "terminated" in state:
        out["imageID"] = f"{image.partition(':')[0]}@sha256:{hashlib.sha256(image.encode()).hexdigest()}"
        out["containerID"] = container["id"]
    return out


def running(container: Obj, is_ready: bool) -> Obj:
    return _status(container, {"running": {"startedAt": container["now"]}}, is_ready=is_ready, started=True)


def waiting(container: Obj, reason: str, message: str) -> Obj:
    state: Obj = {"waiting": {"reason": reason}}
    if message:
        state["waiting"]["message"] = message
    return _status(container, state, is_ready=False, started=False)


def completed(container: Obj) -> Obj:
    """An init container that has done its work."""
    now = container["now"]
    state = {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now, "containerID": container["id"]}
    return _status(container, {"terminated": state}, is_ready=True, started=False)


def _terminated(status: Obj, reason: str, code: int) -> Obj:
    began = (status["state"].get("running") or {}).get("startedAt") or status["now"]
    return {
        "terminated": {
            "exitCode": code,
            "reason": reason,
            "startedAt": began,
            "finishedAt": status["now"],
            "containerID": status.get("containerID", ""),
        }
    }


def ended(status: Obj, reason: str, code: int) -> Obj:
    out = {**status, "ready": False, "started": False}
    if "running" in status["state"]:
        out["state"] = _terminated(status, reason, code)
    del out["now"]
    return out


def crashed(status: Obj, reason: str, code: int) -> Obj:
    """Ended, and waiting to be started again."""
    out = {**status, "ready": False, "started": False, "lastState": _terminated(status, reason, code)}
    out["state"] = {
        "waiting": {"reason": "CrashLoopBackOff", "message": f"back-off restarting failed container={status['name']}"}
    }
    del out["now"]
    return out


def restarted(status: Obj) -> Obj:
    out = {**status, "ready": True, "started": True, "restartCount": status["restartCount"] + 1}
    out["state"] = {"running": {"startedAt": status["now"]}}
    del out["now"]
    return out


def ready(status: Obj) -> Obj:
    out = {**status, "ready": True}
    del out["now"]
    return out

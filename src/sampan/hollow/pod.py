"""What the stages of pods can speak of: variables that describe a pod, and functions that make container statuses.

Source: k8s.io/kubernetes/pkg/kubelet/kubelet_pods.go (convertToAPIContainerStatuses) for the shapes
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from sampan.api import cel, durations
from sampan.api.cel import types
from sampan.api.core_v1.pod_readiness import unmet_gates

Obj = dict[str, Any]
PREFIX = "hollow.sampan.io/"
MAX_BACKOFF = 300.0
_TYPES: dict[str, types.Type] = {
    **dict.fromkeys(("deleting", "running", "pending", "started", "ready", "readyNow"), types.Bool),
    **dict.fromkeys(
        (
            "phase", "waiting", "restartPolicy", "now", "hostIP", "podIP", "startTime", "unready", "name",
            "podNamespace", "uid", "gates", "told", "first",
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
    library.member("begun", "hollow_begun", "list(dyn), string -> list(dyn)", begun)
    return cel.Environment(_TYPES, library)


def backoff_after(restarts: int) -> float:
    """Seconds; doubled no more often than it takes to reach the most."""
    doublings: int = min(max(0, restarts - 1), 10)
    return min(10.0 * (1 << doublings), MAX_BACKOFF)


def gates_of(pod: Obj) -> str:
    """Why a pod whose containers are ready is not, in the kubelet's words; empty: it is."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return unmet_gates(pod["spec"], {item["type"]: item for item in conditions})


class Variables(dict[str, Any]):
    """A pod as its stages see it: each variable is worked out when a stage speaks of it. `now` RFC 3339, `ip` the address
    that the pod has or will have."""

    def __init__(self, pod: Obj, node: Obj, defaults: Mapping[str, str], *, now: str, ip: str) -> None:
        super().__init__(object=pod, node=node, now=now)
        self._defaults = defaults
        self._ip = ip
        self.meta: Obj = pod["metadata"]
        self.spec: Obj = pod["spec"]
        self.status: Obj = pod.get("status") or {}
        self.statuses: list[Obj] = self.status.get("containerStatuses") or []

    def __contains__(self, name: object) -> bool:
        return name in _TYPES

    def __missing__(self, name: str) -> Any:
        out = self[name] = _MADE[name](self)
        return out

    def options(self) -> dict[str, str]:
        out = dict(self._defaults)
        for notes in (self["node"]["metadata"].get("annotations"), self.meta.get("annotations")):
            for key, value in (notes or {}).items():
                if key.startswith(PREFIX):
                    out[key.removeprefix(PREFIX)] = value
        return out

    def states(self) -> list[Obj]:
        return [item.get("state") or {} for item in self.statuses]

    def host(self) -> str:
        addresses = self["node"]["status"].get("addresses") or ()
        return next((item["address"] for item in addresses if item["type"] == "InternalIP"), "")

    def run_for(self) -> float:
        owner: Obj = next(iter(self.meta.get("ownerReferences") or ()), {})
        return float(self["options"].get("run-for") or ("1" if owner.get("kind") == "Job" else "-1"))

    def backoff(self) -> float:
        return backoff_after(max((item.get("restartCount", 0) for item in self.statuses), default=0))

    def containers(self, field: str) -> list[Obj]:
        return [_container(self.meta, container, self["now"]) for container in self.spec.get(field) or ()]

    def unready(self) -> str:
        return f"containers with unready status: [{', '.join(item['name'] for item in self.spec['containers'])}]"

    def ready_now(self) -> bool:
        options = self["options"]
        return float(options.get("ready-delay") or 0) <= 0 and options.get("behaviour") != "not-ready"

    def told(self) -> str:
        conditions = self.status.get("conditions") or ()
        return next((item.get("status", "") for item in conditions if item.get("type") == "Ready"), "")

    def notes(self) -> Obj:
        """What functions of container statuses want to know besides."""
        return {"now": self["now"], "pod": f"{self.meta['name']}_{self.meta['namespace']}({self.meta['uid']})"}

    def waiting(self) -> str:
        return next((state["waiting"].get("reason", "") for state in self.states() if "waiting" in state), "")

    def address(self) -> str:
        own: str = self.status.get("podIP") or self._ip
        return self["hostIP"] if self.spec.get("hostNetwork") else own


_MADE: dict[str, Callable[[Variables], Any]] = {
    "name": lambda of: of.meta["name"],
    "podNamespace": lambda of: of.meta["namespace"],
    "uid": lambda of: of.meta["uid"],
    "options": Variables.options,
    "phase": lambda of: of.status.get("phase", "Pending"),
    "pending": lambda of: of["phase"] == "Pending",
    "deleting": lambda of: bool(of.meta.get("deletionTimestamp")),
    "started": lambda of: bool(of.statuses),
    "running": lambda of: any("running" in state for state in of.states()),
    "waiting": Variables.waiting,
    "ready": lambda of: bool(of.statuses) and all(item.get("ready") for item in of.statuses),
    "readyNow": Variables.ready_now,
    "gates": lambda of: gates_of(of["object"]),
    "told": Variables.told,
    "first": lambda of: f"spec.containers{{{of.spec['containers'][0]['name']}}}",
    "restartPolicy": lambda of: of.spec.get("restartPolicy", "Always"),
    "containers": lambda of: of.containers("containers"),
    "initContainers": lambda of: of.containers("initContainers"),
    "statuses": lambda of: [{**item, **of.notes()} for item in of.statuses],
    "unready": Variables.unready,
    "startTime": lambda of: of.status.get("startTime") or of["now"],
    "hostIP": Variables.host,
    "podIP": Variables.address,
    "backoff": Variables.backoff,
    "runFor": Variables.run_for,
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


# -- events ------------------------------------------------------------------------------------------------------------


def begun(containers: list[Obj], field: str) -> list[Obj]:
    """What a kubelet tells of containers whose images are there, one after the other."""
    out: list[Obj] = []
    for container in containers:
        about = {"type": "Normal", "field": f"{field}{{{container['name']}}}"}
        image = f'Container image "{container["image"]}" already present on machine and can be accessed by the pod'
        for reason, message in (("Pulled", image), ("Created", "Container created"), ("Started", "Container started")):
            out.append({**about, "reason": reason, "message": message})
    return out


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


def _clean(status: Obj) -> Obj:
    """Without our notes."""
    del status["now"], status["pod"]
    return status


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
    return _clean(out)


def crashed(status: Obj, reason: str, code: int) -> Obj:
    """Ended, and waiting to be started again."""
    out = {**status, "ready": False, "started": False, "lastState": _terminated(status, reason, code)}
    wait = durations.text(int(backoff_after(status["restartCount"])) * 1_000_000_000)
    said = f"back-off {wait} restarting failed container={status['name']} pod={status['pod']}"
    out["state"] = {"waiting": {"reason": "CrashLoopBackOff", "message": said}}
    return _clean(out)


def restarted(status: Obj) -> Obj:
    out = {**status, "ready": True, "started": True, "restartCount": status["restartCount"] + 1}
    out["state"] = {"running": {"startedAt": status["now"]}}
    return _clean(out)


def ready(status: Obj) -> Obj:
    out = {**status, "ready": True}
    return _clean(out)

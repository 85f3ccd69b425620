"""What the stages of pods can speak of: variables that describe a pod, and functions that make container statuses.

Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_manager.go doBackOff, client-go/util/flowcontrol/backoff.go,
pkg/kubelet/active_deadline.go
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from sampan.api import cel, durations
from sampan.api.cel import types
from sampan.api.core_v1.pod_readiness import unmet_gates
from sampan.api.times import parse_time
from sampan.hollow import containers as made

Obj = dict[str, Any]
PREFIX = "hollow.sampan.io/"
FIRST_BACKOFF, MAX_BACKOFF = 10.0, 300.0
#: who has run so long begins anew
STEADY_SECONDS = 2 * MAX_BACKOFF
#: of a node, and what others ask
OTHER_OPTIONS = ("down", "cpu-usage", "memory-usage")
#: what says that nothing is wrong yet
EARLY = ("PodInitializing", "ContainerCreating")
_NOT_THERE = re.compile(r":(does-?not-?exist|non-?existent|missing|broken|invalid|404)$")
_TYPES: dict[str, types.Type] = {
    **dict.fromkeys(
        (
            "deleting", "over", "running", "pending", "started", "ready", "readyNow", "limited", "broken", "crashing",
            "unnoticed", "ends", "crashed", "misbehaves", "cutOff",
        ),
        types.Bool,
    ),
    **dict.fromkeys(
        (
            "phase", "waiting", "restartPolicy", "now", "hostIP", "podIP", "startTime", "name", "podNamespace", "uid",
            "gates", "told", "initial",
        ),
        types.String,
    ),
    **dict.fromkeys(
        (
            "backoff", "runFor", "startDelay", "startsIn", "readyIn", "endsIn", "stopsIn", "restartsIn", "pullsIn",
            "deadlineIn",
        ),
        types.Double,
    ),
    "exitCode": types.Int,
    **dict.fromkeys(("containers", "initContainers", "temporary", "statuses", "initStatuses"), types.ListType(types.Dyn)),
    "options": types.MapType(types.String, types.String),
    "object": types.Dyn,
    "node": types.Dyn,
}  # fmt: skip


class OptionError(ValueError):
    """An annotation that means nothing."""


@functools.cache
def environment() -> cel.Environment:
    library = cel.Library()
    for name, signature, function in (
        ("running", "dyn, bool -> dyn", made.running),
        ("waiting", "dyn, string, string -> dyn", made.waiting),
        ("completed", "dyn -> dyn", made.completed),
        ("pulled", "dyn, string -> dyn", made.pulled),
        ("ended", "dyn, string, int -> dyn", made.ended),
        ("crashed", "dyn, string, int -> dyn", made.crashed),
        ("backedOff", "dyn -> dyn", made.backed_off),
        ("restarted", "dyn, bool -> dyn", made.restarted),
        ("ready", "dyn -> dyn", made.ready),
        ("unready", "dyn -> dyn", made.unready),
        ("followed", "dyn, bool -> dyn", made.followed),
        ("begun", "list(dyn), string -> list(dyn)", made.begun),
        ("killing", "list(dyn) -> list(dyn)", made.killing),
        ("backingOff", "list(dyn) -> list(dyn)", made.backing_off),
        ("replaced", "list(dyn) -> list(dyn)", made.replaced),
        ("notPulled", "list(dyn), string -> list(dyn)", made.not_pulled),
    ):
        library.member(name, f"hollow_{name}", signature, function)
    return cel.Environment(_TYPES, library)


def backoff_after(restarts: int) -> float:
    """Seconds that a container waits which has crashed after so many restarts: the first comes at once, then 10 s, doubled
    no more often than it takes to reach the most."""
    return min(FIRST_BACKOFF * (1 << min(restarts - 1, 10)), MAX_BACKOFF) if restarts > 0 else 0.0


def pull_after(passed: float) -> float:
    """Seconds until an image is tried again, so many after the first time: 10 s between two tries, doubled to 300 s."""
    at, wait = 0.0, FIRST_BACKOFF
    while at <= passed:
        at, wait = at + wait, min(wait * 2, MAX_BACKOFF)
    return at - passed


def gates_of(pod: Obj) -> str:
    """Why a pod whose containers are ready is not, in the kubelet's words; empty: it is."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return unmet_gates(pod["spec"], {item["type"]: item for item in conditions})


def steady(pod: Obj) -> int | None:
    """How often it was restarted, if its containers have just ended after a long time in good order: the back-off begins
    anew."""
    for item in (pod.get("status") or {}).get("containerStatuses") or ():
        ended = (item.get("state") or {}).get("terminated") or {}
        began, done = ended.get("startedAt"), ended.get("finishedAt")
        if began and done and parse_time(done) - parse_time(began) > STEADY_SECONDS:
            return int(item.get("restartCount", 0))
    return None


def options_of(pod: Obj, node: Obj, defaults: Mapping[str, str]) -> dict[str, str]:
    out = dict(defaults)
    for notes in (node["metadata"].get("annotations"), pod["metadata"].get("annotations")):
        for key, value in (notes or {}).items():
            if key.startswith(PREFIX):
                out[key.removeprefix(PREFIX)] = value
    return out


def seconds(name: str, text: str) -> float:
    """A number, or as Go writes durations (`1m30s`). Raises OptionError."""
    with contextlib.suppress(ValueError):
        return float(text)
    try:
        return durations.seconds(text)
    except ValueError:
        raise OptionError(f'annotation {PREFIX}{name}: "{text}" is neither seconds nor a duration like 1m30s') from None


class Variables(dict[str, Any]):
    """A pod as its stages see it: each variable is worked out when a stage speaks of it. `now` RFC 3339, `ip` the address
    that the pod has or will have, `calm` how often it had been restarted when its back-off last began anew."""

    def __init__(self, pod: Obj, node: Obj, defaults: Mapping[str, str], *, now: str, ip: str, calm: int = 0) -> None:
        super().__init__(object=pod, node=node, now=now)
        self._defaults = defaults
        self._ip = ip
        self._calm = calm
        self.meta: Obj = pod["metadata"]
        self.spec: Obj = pod["spec"]
        self.status: Obj = pod.get("status") or {}
        self.statuses: list[Obj] = self.status.get("containerStatuses") or []
        self.init_statuses: list[Obj] = self.status.get("initContainerStatuses") or []

    def __contains__(self, name: object) -> bool:
        return name in _TYPES

    def __missing__(self, name: str) -> Any:
        out = self[name] = _MADE[name](self)
        return out

    def options(self) -> dict[str, str]:
        return options_of(self["object"], self["node"], self._defaults)

    def number(self, name: str) -> float:
        return seconds(name, self["options"].get(name) or "0")

    def states(self) -> list[Obj]:
        return [item.get("state") or {} for item in self.statuses]

    def host(self) -> str:
        addresses = self["node"]["status"].get("addresses") or ()
        return next((item["address"] for item in addresses if item["type"] == "InternalIP"), "")

    def address(self) -> str:
        own: str = self.status.get("podIP") or self._ip
        return self["hostIP"] if self.spec.get("hostNetwork") else own

    # -- when ----------------------------------------------------------------------------------------------------------

    def since(self, time: str | None) -> float:
        """Seconds that have passed; 0: it has not been."""
        return max(0.0, parse_time(self["now"]) - parse_time(time)) if time else 0.0

    def run_for(self) -> float:
        text = self["options"].get("run-for")
        owner: Obj = next(iter(self.meta.get("ownerReferences") or ()), {})
        return seconds("run-for", text) if text else 1.0 if owner.get("kind") == "Job" else -1.0

    def ran(self) -> float:
        """How long its containers have been running."""
        times = [state["running"].get("startedAt") for state in self.states() if "running" in state]
        return self.since(min((time for time in times if time), default=None))

    def restarts(self) -> int:
        return max((item.get("restartCount", 0) for item in self.statuses), default=0)

    def backoff(self) -> float:
        long = steady(self["object"]) is not None
        return 0.0 if long else backoff_after(self.restarts() - self._calm)

    def restarts_in(self) -> float:
        ends = [
            (state.get("terminated") or (item.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
            for item, state in zip(self.statuses, self.states(), strict=True)
            if "running" not in state
        ]
        wait: float = self["backoff"]
        return wait - self.since(max((end for end in ends if end), default=None))

    def stop(self) -> tuple[float, bool]:
        """Seconds until its containers have ended, and whether they are killed then."""
        grace = float(self.meta.get("deletionGracePeriodSeconds") or 0)
        hooks = [((each.get("lifecycle") or {}).get("preStop") or {}).get("sleep") for each in self.spec["containers"]]
        takes = self.number("stop-delay") + max((float(each.get("seconds", 0)) for each in hooks if each), default=0.0)
        asked = self.meta.get("deletionTimestamp")
        passed = parse_time(self["now"]) - parse_time(asked) + grace if asked else 0.0
        return min(takes, grace) - passed, takes > grace

    def ready_now(self) -> bool:
        if self["options"].get("behaviour") == "not-ready":
            return False
        return self.number("ready-delay") <= 0

    # -- what ----------------------------------------------------------------------------------------------------------

    def containers(self, field: str) -> list[Obj]:
        init = field == "initContainers"
        known = {item["name"]: item for item in (self.init_statuses if init else self.statuses)}
        out = [
            made.noted(self["object"], each, known.get(each["name"]), self["now"], init=init)
            for each in self.spec.get(field) or ()
        ]
        for each in out:
            each["broken"] = self._broken(each)
        return out

    def marked(self) -> tuple[list[Obj], list[Obj]]:
        """Init containers and containers, and which must wait for an image of another."""
        if (found := self.get("marked")) is None:
            found = self["marked"] = self._marked()
        return found

    def _marked(self) -> tuple[list[Obj], list[Obj]]:
        init, main = self.containers("initContainers"), self.containers("containers")
        blocked = False
        for each in init:
            each["blocked"] = blocked
            each["broken"] = each["broken"] and not blocked
            blocked = blocked or each["broken"]
        for each in main:
            each["blocked"], each["broken"] = blocked, each["broken"] and not blocked
        return init, main

    def _broken(self, container: Obj) -> bool:
        """One that runs has its image."""
        if "running" in (container["old"].get("state") or {}):
            return False
        wanted = self["options"].get("behaviour") == "image-error"
        return wanted or _NOT_THERE.search(container["image"]) is not None

    def noted(self, statuses: list[Obj], field: str) -> list[Obj]:
        """Statuses, with what functions of them want to know besides."""
        specs = {each["name"]: each for each in self.spec.get(field) or ()}
        about = {
            "now": self["now"], "uid": self.meta["uid"], "backoff": self["backoff"], "field": f"spec.{field}",
            "pod": f"{self.meta['name']}_{self.meta['namespace']}({self.meta['uid']})",
        }  # fmt: skip
        return [{**item, "about": {**about, "spec": specs.get(item["name"]) or {}}} for item in statuses]

    def told(self) -> str:
        conditions = self.status.get("conditions") or ()
        return next((item.get("status", "") for item in conditions if item.get("type") == "Ready"), "")

    def waiting(self) -> str:
        """The reason; what is wrong before what is only early."""
        states = [item.get("state") or {} for item in (*self.init_statuses, *self.statuses)]
        reasons = [state["waiting"].get("reason", "") for state in states if "waiting" in state]
        return next((each for each in reasons if each not in EARLY), "ContainerCreating" if reasons else "")


def _starts_in(of: Variables) -> float:
    delay: float = of["startDelay"]
    return delay - of.since(of.status.get("startTime"))


def _exit_code(of: Variables) -> int:
    text = of["options"].get("exit-code") or "0"
    if not text.isdigit() or int(text) > 255:
        raise OptionError(f'annotation {PREFIX}exit-code: "{text}" is no number from 0 to 255')
    return int(text)


_MADE: dict[str, Callable[[Variables], Any]] = {
    "name": lambda of: of.meta["name"],
    "podNamespace": lambda of: of.meta["namespace"],
    "uid": lambda of: of.meta["uid"],
    "options": Variables.options,
    "phase": lambda of: of.status.get("phase", "Pending"),
    "pending": lambda of: of["phase"] == "Pending",
    "over": lambda of: of["phase"] in ("Succeeded", "Failed"),
    "deleting": lambda of: bool(of.meta.get("deletionTimestamp")),
    "started": lambda of: bool(of.statuses),
    "running": lambda of: any("running" in state for state in of.states()),
    "crashing": lambda of: any("terminated" in state for state in of.states()) and not of["over"],
    "crashed": lambda of: of["crashing"] or of["waiting"] == "CrashLoopBackOff",
    "misbehaves": lambda of: bool(of["options"].get("behaviour")),
    "ends": lambda of: of["runFor"] >= 0,
    "waiting": Variables.waiting,
    "initial": lambda of: "PodInitializing" if of.spec.get("initContainers") else "ContainerCreating",
    "broken": lambda of: any(each["broken"] for each in of["initContainers"] + of["containers"]),
    "ready": lambda of: bool(of.statuses) and all(item.get("ready") for item in of.statuses),
    "readyNow": Variables.ready_now,
    "limited": lambda of: bool(of.spec.get("activeDeadlineSeconds") and of.status.get("startTime")),
    "unnoticed": lambda of: of.status.get("observedGeneration", 0) < of.meta.get("generation", 0),
    "cutOff": lambda of: of.stop()[1],
    "gates": lambda of: gates_of(of["object"]),
    "told": Variables.told,
    "restartPolicy": lambda of: of.spec.get("restartPolicy", "Always"),
    "exitCode": _exit_code,
    "containers": lambda of: of.marked()[1],
    "initContainers": lambda of: of.marked()[0],
    "temporary": lambda of: [
        made.noted(of["object"], each, None, of["now"]) for each in of.spec.get("ephemeralContainers") or ()
    ],
    "statuses": lambda of: of.noted(of.statuses, "containers"),
    "initStatuses": lambda of: of.noted(of.init_statuses, "initContainers"),
    "startTime": lambda of: of.status.get("startTime") or of["now"],
    "hostIP": Variables.host,
    "podIP": Variables.address,
    "backoff": Variables.backoff,
    "runFor": Variables.run_for,
    "startDelay": lambda of: of.number("start-delay"),
    "startsIn": _starts_in,
    "readyIn": lambda of: of.number("ready-delay") - of.ran(),
    "endsIn": lambda of: of["runFor"] - of.ran(),
    "stopsIn": lambda of: of.stop()[0],
    "restartsIn": Variables.restarts_in,
    "pullsIn": lambda of: pull_after(max(0.0, -_starts_in(of))),
    "deadlineIn": lambda of: of.spec["activeDeadlineSeconds"] - of.since(of["startTime"]),
}

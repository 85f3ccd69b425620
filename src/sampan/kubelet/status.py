"""A pod's status, from what it should be and what the runtime has. Pure: the same input gives the same status.

`Before` is what was last said (a container's restart count and last end survive containers that were removed), `Facts` what
others know: probes, why a container could not be started, the node's addresses.

Source: kubernetes pkg/kubelet/kubelet_pods.go (generateAPIPodStatus, convertToAPIContainerStatuses),
pkg/kubelet/prober/prober_manager.go UpdatePodStatus
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sampan.api import quantity
from sampan.api.times import format_time
from sampan.kubelet import names, resources
from sampan.kubelet.conditions import conditions
from sampan.kubelet.observed import Observed, Seen
from sampan.kubelet.phase import phase_of
from sampan.kubelet.plan import host_network, initialized, restarts_after

Obj = dict[str, Any]
LOST = "The container could not be located when the pod was "


@dataclass(frozen=True, slots=True)
class Facts:
    """`ready` and `started` are the probes' by container id; `failures` why containers are not started: by name, reason and message."""

    now: float
    runtime: str = "sampan"
    host_ips: tuple[str, ...] = ()
    ready: Callable[[str], bool] = lambda _: True
    started: Callable[[str], bool] = lambda _: True
    failures: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    #: nothing of it will be started again
    terminal: bool = False
    #: it is over, and why: phase, reason, message
    ended: tuple[str, str, str] | None = None
    #: conditions that go with that
    more: tuple[Obj, ...] = ()
    supplemental_groups: bool = True


def status(pod: Obj, seen: Observed, before: Obj, facts: Facts) -> Obj:
    """`before`: the status as it was last told."""
    spec = pod["spec"]
    waiting = "PodInitializing" if spec.get("initContainers") else "ContainerCreating"
    init = _containers(
        pod, seen, spec.get("initContainers") or [], before.get("initContainerStatuses"), waiting, facts, True
    )
    main = _containers(pod, seen, spec["containers"], before.get("containerStatuses"), waiting, facts, False)
    temporary = _containers(
        pod,
        seen,
        spec.get("ephemeralContainers") or [],
        before.get("ephemeralContainerStatuses"),
        "ContainerCreating",
        facts,
        False,
    )
    phase = phase_of(pod, init + main, facts.terminal, initialized(pod, seen))
    out: Obj = {"phase": phase, "qosClass": before.get("qosClass") or resources.qos(pod)}
    if before.get("phase") in ("Failed", "Succeeded"):
        out["phase"] = before["phase"]  # what has ended has ended
        out |= {name: before[name] for name in ("reason", "message") if before.get(name)}
    elif facts.ended is not None and not seen.running:  # nothing of one that has failed may still run
        for name, value in zip(("phase", "reason", "message"), facts.ended, strict=True):
            if value:
                out[name] = value
    elif before.get("reason") or before.get("message"):
        out |= {name: before[name] for name in ("reason", "message") if before.get(name)}
    out["startTime"] = before.get("startTime") or format_time(facts.now)
    _addresses(out, pod, seen, before, facts)
    if init:
        out["initContainerStatuses"] = init
    out["containerStatuses"] = main
    for each in temporary:  # nobody asks whether they are ready
        each["ready"] = False
        del each["started"]
    if temporary:
        out["ephemeralContainerStatuses"] = temporary
    generation = pod["metadata"].get("generation")
    if generation:
        out["observedGeneration"] = generation
    if limits := spec.get("resources"):
        out["allocatedResources"] = limits.get("requests") or {}
        out["resources"] = limits
    said = before.get("conditions") or []
    out["conditions"] = conditions(pod, seen, init, main, out["phase"], said, format_time(facts.now), facts.more)
    return out


def _addresses(out: Obj, pod: Obj, seen: Observed, before: Obj, facts: Facts) -> None:
    sandbox = seen.ready_sandbox
    ips: tuple[str, ...] = sandbox.ips if sandbox else ()
    if facts.host_ips:
        out["hostIP"] = facts.host_ips[0]
        out["hostIPs"] = [{"ip": ip} for ip in facts.host_ips]
        if host_network(pod):
            ips = facts.host_ips
    if not ips:  # a pod that has ended keeps the address it had
        ips = tuple(each["ip"] for each in before.get("podIPs") or ())
    if ips:
        out["podIP"] = ips[0]
        out["podIPs"] = [{"ip": ip} for ip in ips]


# -- containers --------------------------------------------------------------------------------------------------------


def _containers(
    pod: Obj, seen: Observed, containers: list[Obj], before: list[Obj] | None, waiting: str, facts: Facts, init: bool
) -> list[Obj]:
    told = {each["name"]: each for each in before or ()}
    out = []
    for container in containers:
        name = container["name"]
        found, old = seen.latest(name), told.get(name)
        if found is not None:
            made = _of(found, pod, container, facts, old)
            earlier = seen.before(found)
            if earlier is not None:
                made["lastState"] = {"terminated": _ended(earlier, facts)} if earlier.state == "exited" else {}
            elif old is not None and found.restarts > 0 and not made["lastState"]:
                made["lastState"] = _last_of(old, found, facts)
        elif init and old is not None and (old.get("state") or {}).get("terminated"):
            made = {**old}
        else:
            made = _absent(container, old, waiting, facts)
        _failure(pod, container, found, made, facts, init)
        _probes(made, container, found, facts, init)
        out.append(made)
    return sorted(out, key=lambda each: each["name"]) if not init else out


def _last_of(old: Obj, found: Seen, facts: Facts) -> Obj:
    """How it ended before, of a container that is not there any more."""
    state = old.get("state") or {}
    if (ended := state.get("terminated")) and ended.get("containerID") != f"{facts.runtime}://{found.id}":
        return {"terminated": ended}
    return dict(old.get("lastState") or {})


def _absent(container: Obj, old: Obj | None, waiting: str, facts: Facts) -> Obj:
    """There is no container (yet, or any more)."""
    out: Obj = {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "restartCount": 0,
        "ready": False,
        "started": False,
        "state": {"waiting": {"reason": waiting}},
        "lastState": {},
    }
    if old is None:
        return _with_mounts(out, container)
    out["restartCount"] = old.get("restartCount", 0)
    out["lastState"] = dict(old.get("lastState") or {})
    state = old.get("state") or {}
    if facts.terminal and state.get("terminated"):
        return {**old, "ready": False}
    if state.get("running"):
        when = "terminated" if facts.terminal else "deleted.  The container used to be Running"
        lost = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": LOST + when,
                "startedAt": None, "finishedAt": None}  # fmt: skip
        if facts.terminal:
            out["state"] = {"terminated": lost}
        else:
            out["lastState"] = {"terminated": lost}
            out["restartCount"] += 1
    elif state.get("terminated"):
        out["lastState"] = {"terminated": state["terminated"]}
    elif facts.terminal and state.get("waiting"):
        lost = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": LOST + "terminated",
                "startedAt": None, "finishedAt": None}  # fmt: skip
        out["state"] = {"terminated": lost}
    return _with_mounts(out, container)


def _of(found: Seen, pod: Obj, container: Obj, facts: Facts, old: Obj | None) -> Obj:
    out: Obj = {
        "name": found.name,
        "containerID": f"{facts.runtime}://{found.id}",
        "image": found.image,
        "imageID": found.image_ref,
        "restartCount": found.restarts,
        "ready": False,
        "started": False,
        "state": {},
        "lastState": {},
    }
    match found.state:
        case "running":
            out["state"] = {"running": {"startedAt": format_time(found.started)}}
        case "exited":
            out["state"] = {"terminated": _ended(found, facts)}
        case "created":
            out["state"] = {"waiting": {}}
        case _:
            out["state"] = {"waiting": {"reason": "ContainerStatusUnknown"}}
    if old is not None and found.restarts == old.get("restartCount"):
        out["lastState"] = dict(old.get("lastState") or {})
    requests = (container.get("resources") or {}).get("requests")
    if requests:
        out["allocatedResources"] = dict(requests)
    out["resources"] = _resources(container, found)
    if facts.supplemental_groups and found.user is not None and found.state != "created":
        out["user"] = found.user
    return _with_mounts(out, container)


def _resources(container: Obj, found: Seen) -> Obj:
    """What was asked for, limited as the runtime says."""
    given = container.get("resources") or {}
    out = {name: dict(given[name]) for name in ("limits", "requests") if given.get(name)}
    actual = found.resources
    if found.state != "running" or actual is None:
        return out
    limits = out.get("limits") or {}
    if "cpu" in limits and actual.cpu_quota > 0 and actual.cpu_period > 0:
        limits["cpu"] = quantity.canonical(f"{round(actual.cpu_quota * 1000 / actual.cpu_period)}m")
    if "memory" in limits and actual.memory_limit_in_bytes > 0 and (
        quantity.parse(limits["memory"]) != actual.memory_limit_in_bytes
    ):  # fmt: skip
        limits["memory"] = str(actual.memory_limit_in_bytes)
    return out


def _with_mounts(out: Obj, container: Obj) -> Obj:
    mounts = []
    for each in container.get("volumeMounts") or ():
        made = {"name": each["name"], "mountPath": each["mountPath"]}
        if each.get("readOnly"):
            made |= {"readOnly": True, "recursiveReadOnly": "Disabled"}
            if each.get("recursiveReadOnly") in ("Enabled", "IfPossible"):
                made["recursiveReadOnly"] = "Enabled" if each["recursiveReadOnly"] == "Enabled" else "Disabled"
        mounts.append(made)
    if mounts:
        out["volumeMounts"] = mounts
    return out


def _ended(found: Seen, facts: Facts) -> Obj:
    out: Obj = {"exitCode": found.exit_code}
    if found.reason:
        out["reason"] = found.reason
    if found.message:
        out["message"] = found.message
    out["startedAt"] = format_time(found.started) if found.started else None
    out["finishedAt"] = format_time(found.finished) if found.finished else None
    out["containerID"] = f"{facts.runtime}://{found.id}"
    return out


def _failure(pod: Obj, container: Obj, found: Seen | None, made: Obj, facts: Facts, init: bool) -> None:
    """One that is to be started (again), and could not be, waits."""
    failed = facts.failures.get(container["name"])
    if failed is None or facts.terminal or "deletionTimestamp" in pod["metadata"]:
        return
    if found is not None:
        if found.state == "running":
            return
        if found.state == "exited":
            if init and not names.is_sidecar(container):
                again = found.exit_code != 0 and pod["spec"].get("restartPolicy", "Always") != "Never"
            else:
                again = restarts_after(pod, container, found.exit_code)
            if not again:
                return
    reason, message = failed
    if "terminated" in made["state"]:
        made["lastState"] = {"terminated": made["state"]["terminated"]}
    made["state"] = {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def _probes(made: Obj, container: Obj, found: Seen | None, facts: Facts, init: bool) -> None:
    running = "running" in made["state"]
    if init and not names.is_sidecar(container):
        ended = made["state"].get("terminated")
        made["ready"] = bool(ended and ended["exitCode"] == 0)
        made["started"] = running
        if ended:
            made["started"] = False
        return
    if not running or found is None:
        made["started"] = False
        made["ready"] = False
        return
    made["started"] = facts.started(found.id) if container.get("startupProbe") else True
    made["ready"] = made["started"] and (facts.ready(found.id) if container.get("readinessProbe") else True)

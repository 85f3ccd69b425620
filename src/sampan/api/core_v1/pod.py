"""Pod.

Source: kubernetes/pkg/registry/core/pod/strategy.go, pkg/apis/core/validation/validation.go (ValidatePodUpdate),
pkg/printers/internalversion/printers.go (printPod)
"""

from __future__ import annotations

from typing import Any

from sampan.api.core_v1 import pod_creation, pod_spec
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj, keep
from sampan.api.table import NONE, age, human_duration
from sampan.api.times import parse_time
from sampan.api.validation import ips, pod_update, pod_warnings
from sampan.api.validation.pods import new_pod

_RESIZED = [
    f"!spec.{kind}.*.{field}" for kind in ("containers", "initContainers") for field in ("resources", "resizePolicy")
]
OWNS = {
    "status": ("spec", "metadata.deletionTimestamp", "metadata.ownerReferences"),
    "ephemeralcontainers": ("!spec.ephemeralContainers",),
    "resize": tuple(_RESIZED),
}


class Pod(Kind):
    has_status = True
    columns = (
        NAME,
        Column("Ready"),
        Column("Status"),
        Column("Restarts"),
        AGE,
        Column("IP", priority=1),
        Column("Node", priority=1),
        Column("Nominated Node", priority=1),
        Column("Readiness Gates", priority=1),
    )

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        pod_spec.default_pod_spec(spec)
        pod_spec.default_requests(spec)
        pod_spec.default_host_ports(spec)
        pod_spec.default_pod_level(spec)
        spec.setdefault("enableServiceLinks", True)

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        status = obj["status"] = {"phase": "Pending", "qosClass": pod_spec.qos_class(obj["spec"])}
        if obj["spec"].get("schedulingGates"):
            status["conditions"] = [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "lastProbeTime": None,
                    "lastTransitionTime": ctx.now,
                    "reason": "SchedulingGated",
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                }
            ]
        pod_creation.merge_label_keys(obj)
        pod_creation.adopt_profiles(obj, ctx)

    def prepare_for_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        """Status is the old one already."""

    def prepare_for_status_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        """Owners stay, which old kubelets would garble, and what an older kubelet does not know of."""
        for name in ("ownerReferences", "deletionTimestamp"):
            keep(obj["metadata"], old["metadata"], name)
        status, was = obj.get("status") or {}, old.get("status") or {}
        kept = {name: was[name] for name in ("qosClass", "observedGeneration") if name in was and not status.get(name)}
        if kept or any(item.get("observedGeneration") for item in was.get("conditions") or ()):
            obj["status"] = {**status, **kept}
            _keep_generations(obj["status"], was)

    def reset_fields(self, subresource: str) -> tuple[str, ...]:
        return OWNS.get(subresource) or super().reset_fields(subresource)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        new_pod(obj, out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        pod_update.pod_update(obj, old, out)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        pod_update.pod_status_update(obj, old, out)
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        # of a change, which comes often and seldom from people, nobody is warned
        if old is not None:
            return []
        return [*pod_warnings.name(obj, "the Pod's hostname"), *pod_warnings.pod(obj)]

    def status_warnings(self, obj: Obj) -> list[str]:
        status, out = obj.get("status") or {}, list[str]()
        for field in ("podIPs", "hostIPs"):
            for index, item in enumerate(status.get(field) or ()):
                said = ips.odd_ip(item.get("ip", ""))
                if said:
                    out.append(f"{Path('status', field) @ index / 'ip'}: {said}")
        return out

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        ips = status.get("podIPs") or ()
        return {
            "spec.nodeName": spec.get("nodeName", ""),
            "spec.restartPolicy": spec.get("restartPolicy", ""),
            "spec.schedulerName": spec.get("schedulerName", ""),
            "spec.serviceAccountName": spec.get("serviceAccountName", ""),
            "spec.hostNetwork": "true" if spec.get("hostNetwork") else "false",
            "status.phase": status.get("phase", ""),
            "status.podIP": ips[0].get("ip", "") if ips else status.get("podIP", ""),
            "status.nominatedNodeName": status.get("nominatedNodeName", ""),
        }

    def row(self, obj: Obj, now: float) -> list[Cell]:
        spec, status, meta = obj["spec"], obj.get("status") or {}, obj["metadata"]
        ready, total, restarts, last = _counts(spec, status)
        shown: str = str(restarts)
        if restarts and last:
            shown = f"{restarts} ({human_duration(now - last)} ago)"
        ips = status.get("podIPs") or ()
        gates = spec.get("readinessGates") or ()
        true = {c["type"] for c in status.get("conditions") or () if c.get("status") == "True"}
        passed = sum(gate.get("conditionType") in true for gate in gates)
        return [
            meta["name"],
            f"{ready}/{total}",
            reason(obj),
            shown,
            age(meta.get("creationTimestamp"), now),
            ips[0].get("ip") if ips else status.get("podIP") or NONE,
            spec.get("nodeName") or NONE,
            status.get("nominatedNodeName") or NONE,
            f"{passed}/{len(gates)}" if gates else NONE,
        ]


def _keep_generations(status: Obj, was: Obj) -> None:
    """A condition that does not say what it is about is about what it was about."""
    known: dict[str, list[int]] = {}
    for item in was.get("conditions") or ():
        known.setdefault(item.get("type", ""), []).append(item.get("observedGeneration", 0))
    conditions: list[Obj] = []
    for item in status.get("conditions") or ():
        before = known.get(item.get("type", ""))
        generation = before.pop(0) if before else 0
        told = item.get("observedGeneration") or not generation
        conditions.append(item if told else {**item, "observedGeneration": generation})
    if conditions:
        status["conditions"] = conditions


def _sidecar(container: Obj) -> bool:
    return container.get("restartPolicy") == "Always"


def _counts(spec: Obj, status: Obj) -> tuple[int, int, int, float]:
    """Ready and total containers, restarts, and when the last one was (0: never)."""
    sidecars = {c["name"] for c in spec.get("initContainers") or () if _sidecar(c)}
    total = len(spec.get("containers") or ()) + len(sidecars)
    inits = status.get("initContainerStatuses") or ()
    mains = status.get("containerStatuses") or ()
    initialising = any(not _init_done(item, item.get("name") in sidecars) for item in inits)
    if initialising:
        restarts = sum(item.get("restartCount", 0) for item in inits)
        counted: list[Obj] = list(inits)
    else:
        counted = [*(item for item in inits if item.get("name") in sidecars), *mains]
        restarts = sum(item.get("restartCount", 0) for item in counted)
    last = 0.0
    for item in counted:
        finished = ((item.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
        if finished:
            last = max(last, parse_time(finished))
    ready = sum(bool(item.get("ready")) and "running" in (item.get("state") or {}) for item in mains)
    ready += sum(bool(item.get("ready")) for item in inits if item.get("name") in sidecars)
    return ready, total, restarts, last


def _init_done(item: Obj, sidecar: bool) -> bool:
    terminated = (item.get("state") or {}).get("terminated")
    if sidecar:
        return bool(item.get("started"))
    return terminated is not None and terminated.get("exitCode", 0) == 0


def reason(obj: Obj) -> str:
    """The STATUS that `kubectl get pods` shows."""
    spec, status = obj["spec"], obj.get("status") or {}
    out: str = status.get("reason") or status.get("phase", "")
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            out = "SchedulingGated"
    initialising, out = _init_reason(spec, status, out)
    if not initialising or _initialized(status):
        running = False
        for item in reversed(status.get("containerStatuses") or ()):
            state = item.get("state") or {}
            waiting, terminated = state.get("waiting"), state.get("terminated")
            if waiting and waiting.get("reason"):
                out = waiting["reason"]
            elif terminated is not None:
                out = _ended(terminated)
            elif item.get("ready") and "running" in state:
                running = True
        if out == "Completed" and running:
            ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or ())
            out = "Running" if ready else "NotReady"
    if obj["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            return "Unknown"
        if status.get("phase") not in ("Failed", "Succeeded"):
            return "Terminating"
    return out


def _initialized(status: Obj) -> bool:
    return any(c.get("type") == "Initialized" and c.get("status") == "True" for c in status.get("conditions") or ())


def _init_reason(spec: Obj, status: Obj, out: str) -> tuple[bool, str]:
    wanted = spec.get("initContainers") or []
    sidecars = {c["name"] for c in wanted if _sidecar(c)}
    for index, item in enumerate(status.get("initContainerStatuses") or ()):
        if _init_done(item, item.get("name") in sidecars):
            continue
        state = item.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting")
        if terminated is not None:
            return True, "Init:" + _ended(terminated, init=True)
        if waiting and waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return True, "Init:" + waiting["reason"]
        return True, f"Init:{index}/{len(wanted)}"
    return False, out


def _ended(terminated: Obj, init: bool = False) -> str:
    said: str = terminated.get("reason", "")
    if said:
        return said
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


# -- subresources ------------------------------------------------------------------------------------------------------


def with_ephemeral_containers(new: Obj, old: Obj) -> tuple[Obj, ErrorList]:
    """The old pod with the new one's ephemeral containers, which may only grow."""
    out = ErrorList()
    spec = {**old["spec"], "ephemeralContainers": new["spec"].get("ephemeralContainers") or []}
    if not spec["ephemeralContainers"]:
        spec.pop("ephemeralContainers")
    made = _with_spec(new, old, spec)
    pod_update.ephemeral_containers_update(made, old, out)
    return made, out


def resized(new: Obj, old: Obj) -> tuple[Obj, ErrorList]:
    """The old pod with the new one's container resources and resize policies."""
    out = ErrorList()
    spec: dict[str, Any] = dict(old["spec"])
    for kind in ("containers", "initContainers"):
        before, after = old["spec"].get(kind) or [], new["spec"].get(kind) or []
        if [c.get("name") for c in before] != [c.get("name") for c in after]:
            # refused below
            spec[kind] = after
        elif before:
            spec[kind] = [_with_resources(was, now) for was, now in zip(before, after, strict=True)]
    made = _with_spec(new, old, spec)
    pod_update.resize(made, old, (pod_spec.qos_class(old["spec"]), pod_spec.qos_class(spec)), out)
    return made, out


def _with_resources(was: Obj, now: Obj) -> Obj:
    made = {**was, "resources": now.get("resources") or {}}
    made.pop("resizePolicy", None)
    if now.get("resizePolicy"):
        made["resizePolicy"] = now["resizePolicy"]
    return made


def _with_spec(new: Obj, old: Obj, spec: Obj) -> Obj:
    made = {**old, "metadata": {**old["metadata"]}, "spec": spec}
    made["metadata"]["resourceVersion"] = new["metadata"].get("resourceVersion", "")
    return made

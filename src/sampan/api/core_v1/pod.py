"""Pod.

Source: kubernetes/pkg/registry/core/pod/strategy.go, pkg/apis/core/validation/validation.go (ValidatePodUpdate),
pkg/printers/internalversion/printers.go (printPod)
"""

from __future__ import annotations

import copy
from typing import Any

from sampan.api.core_v1 import pod_spec
from sampan.api.core_v1.pod_validation import _container, validate_pod_spec
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import NONE, age, human_duration
from sampan.api.times import parse_time

SPEC = Path("spec")
CHANGED = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


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
        spec.setdefault("enableServiceLinks", True)

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        obj["status"] = {"phase": "Pending", "qosClass": pod_spec.qos_class(obj["spec"])}

    def prepare_for_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        """Status is the old one already."""

    def validate(self, obj: Obj) -> ErrorList:
        out = validate_pod_spec(obj["spec"], SPEC)
        if obj["spec"].get("ephemeralContainers"):
            out.forbidden(SPEC / "ephemeralContainers", "cannot be set on create")
        if obj["spec"].get("nodeName") and obj["spec"].get("schedulingGates"):
            out.forbidden(SPEC / "nodeName", "cannot be set until all schedulingGates have been cleared")
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = validate_pod_spec(obj["spec"], SPEC)
        new_spec, old_spec = copy.deepcopy(obj["spec"]), old["spec"]
        for kind in ("containers", "initContainers"):
            before, after = old_spec.get(kind) or [], new_spec.get(kind) or []
            if len(before) != len(after):
                out.forbidden(SPEC / kind, "pod updates may not add or remove containers")
                return out
            for was, now in zip(before, after, strict=True):
                if "image" in was:
                    now["image"] = was["image"]
        _check_deadline(new_spec, old_spec, out)
        have = new_spec.get("tolerations") or []
        if all(item in have for item in old_spec.get("tolerations") or ()):
            _same(new_spec, old_spec, "tolerations")
        if old_spec.get("terminationGracePeriodSeconds", 0) < 0 and new_spec.get("terminationGracePeriodSeconds") == 1:
            _same(new_spec, old_spec, "terminationGracePeriodSeconds")
        gates = [gate["name"] for gate in old_spec.get("schedulingGates") or ()]
        added = [gate for gate in new_spec.get("schedulingGates") or () if gate["name"] not in gates]
        for gate in added:
            detail = f"only deletion is allowed, but found new scheduling gate '{gate['name']}'"
            out.forbidden(SPEC / "schedulingGates", detail)
        _same(new_spec, old_spec, "schedulingGates")
        if gates:
            # a gated pod's placement may still be narrowed
            _same(new_spec, old_spec, "nodeSelector")
            _same(new_spec, old_spec, "affinity")
        _same(new_spec, old_spec, "ephemeralContainers")
        if new_spec != old_spec:
            differing = sorted(k for k in {*new_spec, *old_spec} if new_spec.get(k) != old_spec.get(k))
            out.forbidden(SPEC, f"{CHANGED}\n{_diff(old_spec, new_spec, differing)}")
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


def _same(new: Obj, old: Obj, name: str) -> None:
    if name in old:
        new[name] = old[name]
    else:
        new.pop(name, None)


def _check_deadline(new: Obj, old: Obj, out: ErrorList) -> None:
    was, now = old.get("activeDeadlineSeconds"), new.get("activeDeadlineSeconds")
    if was == now:
        return
    if now is not None and was is not None and now > was:
        detail = "must be less than or equal to previous value"
        out.invalid(SPEC / "activeDeadlineSeconds", now, detail)
    elif now is None:
        out.invalid(SPEC / "activeDeadlineSeconds", None, "must not update from a positive integer to nil value")
    _same(new, old, "activeDeadlineSeconds")


def _diff(old: Obj, new: Obj, fields: list[str]) -> str:
    """What changed, a line each. DEVIATION: upstream prints Go's own structs."""
    import json

    lines = []
    for name in fields:
        lines.append(f"- {name}: {json.dumps(old.get(name), sort_keys=True)}")
        lines.append(f"+ {name}: {json.dumps(new.get(name), sort_keys=True)}")
    return "\n".join(lines)


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
    before, after = old["spec"].get("ephemeralContainers") or [], new["spec"].get("ephemeralContainers") or []
    path = SPEC / "ephemeralContainers"
    by_name = {item.get("name"): item for item in after}
    for item in before:
        found = by_name.get(item["name"])
        if found is None:
            out.forbidden(path, f"existing ephemeral containers {json_quote(item['name'])} may not be removed\n")
        elif found != item:
            out.forbidden(path, f"existing ephemeral containers {json_quote(item['name'])} may not be changed\n")
    spec = {**old["spec"], "ephemeralContainers": after}
    if not after:
        spec.pop("ephemeralContainers")
    out.extend(validate_pod_spec(spec, SPEC))
    return _with_spec(new, old, spec), out


def json_quote(text: str) -> str:
    return '"' + text + '"'


def resized(new: Obj, old: Obj) -> tuple[Obj, ErrorList]:
    """The old pod with the new one's container resources and resize policies."""
    out = ErrorList()
    spec: dict[str, Any] = dict(old["spec"])
    for kind in ("containers", "initContainers"):
        before, after = old["spec"].get(kind) or [], new["spec"].get(kind) or []
        if [c.get("name") for c in before] != [c.get("name") for c in after]:
            out.forbidden(SPEC, "only cpu and memory resources are mutable")
            continue
        if before:
            spec[kind] = [_with_resources(was, now) for was, now in zip(before, after, strict=True)]
    for index, container in enumerate(spec.get("containers") or ()):
        volumes = {volume["name"] for volume in spec.get("volumes") or ()}
        _container(container, volumes, SPEC / "containers" @ index, out, set())
    if pod_spec.qos_class(spec) != pod_spec.qos_class(old["spec"]):
        out.invalid(Path("spec"), pod_spec.qos_class(spec), "Pod QOS Class may not change as a result of resizing")
    return _with_spec(new, old, spec), out


def _with_resources(was: Obj, now: Obj) -> Obj:
    made = {**was, "resources": now.get("resources") or {}}
    if now.get("resizePolicy"):
        made["resizePolicy"] = now["resizePolicy"]
    return made


def _with_spec(new: Obj, old: Obj, spec: Obj) -> Obj:
    made = {**old, "metadata": {**old["metadata"]}, "spec": spec}
    made["metadata"]["resourceVersion"] = new["metadata"].get("resourceVersion", "")
    return made

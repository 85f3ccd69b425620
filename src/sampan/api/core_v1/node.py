"""Node.

Source: kubernetes/pkg/registry/core/node/strategy.go; pkg/apis/core/validation/validation.go (ValidateNode); printNode
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.core_v1.pod_spec import round_quantities
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import NONE, age

SPEC = Path("spec")
ROLE, OLD_ROLE = "node-role.kubernetes.io/", "kubernetes.io/role"
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


class Node(Kind):
    has_status = True
    has_generation = False
    columns = (
        NAME,
        Column("Status"),
        Column("Roles"),
        AGE,
        Column("Version"),
        Column("Internal-IP", priority=1),
        Column("External-IP", priority=1),
        Column("OS-Image", priority=1),
        Column("Kernel-Version", priority=1),
        Column("Container-Runtime", priority=1),
    )

    def default(self, obj: Obj) -> None:
        status = obj.get("status") or {}
        if status.get("capacity") and not status.get("allocatable"):
            status["allocatable"] = dict(status["capacity"])
        for name in ("capacity", "allocatable"):
            if status.get(name):
                round_quantities(status[name])

    def reset_fields(self, subresource: str) -> tuple[str, ...]:
        return ("spec",) if subresource == "status" else ("status",)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj.get("spec") or {}
        seen: set[tuple[str, str]] = set()
        for index, taint in enumerate(spec.get("taints") or ()):
            here = SPEC / "taints" @ index
            for problem in names.is_qualified_name(taint.get("key", "")):
                out.invalid(here / "key", taint.get("key", ""), problem)
            for problem in names.is_valid_label_value(taint.get("value", "")):
                out.invalid(here / "value", taint["value"], problem)
            effect = taint.get("effect", "")
            if not effect:
                out.required(here / "effect", "")
            elif effect not in EFFECTS:
                out.not_supported(here / "effect", effect, EFFECTS)
            key = (taint.get("key", ""), effect)
            if key in seen:
                out.duplicate(here, taint)
            seen.add(key)
        for index, cidr in enumerate(spec.get("podCIDRs") or ()):
            for problem in names.is_cidr(cidr):
                out.invalid(SPEC / "podCIDRs" @ index, cidr, problem)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self.validate(obj)
        new_spec, old_spec = obj.get("spec") or {}, old.get("spec") or {}
        if old_spec.get("podCIDRs") and new_spec.get("podCIDRs") != old_spec["podCIDRs"]:
            out.forbidden(SPEC / "podCIDRs", 'node updates may not change podCIDR except from "" to valid')
        was, now = old_spec.get("providerID", ""), new_spec.get("providerID", "")
        if was and was != now:
            out.forbidden(SPEC / "providerID", 'node updates may not change providerID except from "" to valid')
        return out

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        return {"spec.unschedulable": "true" if (obj.get("spec") or {}).get("unschedulable") else "false"}

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, status = obj["metadata"], obj.get("status") or {}
        ready = next((c.get("status") for c in status.get("conditions") or () if c.get("type") == "Ready"), None)
        shown = "Unknown" if ready is None else "Ready" if ready == "True" else "NotReady"
        if (obj.get("spec") or {}).get("unschedulable"):
            shown += ",SchedulingDisabled"
        labels = meta.get("labels") or {}
        roles = {key[len(ROLE) :] for key in labels if key.startswith(ROLE) and len(key) > len(ROLE)}
        if labels.get(OLD_ROLE):
            roles.add(labels[OLD_ROLE])
        info = status.get("nodeInfo") or {}
        addresses = {item.get("type"): item.get("address") for item in reversed(status.get("addresses") or ())}
        unknown = "<unknown>"
        return [
            meta["name"],
            shown,
            ",".join(sorted(roles)) or NONE,
            age(meta.get("creationTimestamp"), now),
            info.get("kubeletVersion", ""),
            addresses.get("InternalIP") or NONE,
            addresses.get("ExternalIP") or NONE,
            info.get("osImage") or unknown,
            info.get("kernelVersion") or unknown,
            info.get("containerRuntimeVersion") or unknown,
        ]

"""Node.

Source: kubernetes/pkg/registry/core/node/strategy.go; pkg/apis/core/validation/validation.go (ValidateNode); printNode
"""

from __future__ import annotations

from sampan.api.core_v1.pod_spec import round_quantities
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import NONE, age
from sampan.api.validation import ips
from sampan.api.validation.avoided_pods import avoided_pods
from sampan.api.validation.resources import resource_name, resource_quantity
from sampan.api.validation.scheduling import taints
from sampan.api.validation.workload import SPEC, STATUS

ROLE, OLD_ROLE = "node-role.kubernetes.io/", "kubernetes.io/role"


class Node(Kind):
    has_status = True
    status_on_create = True
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

    # dynamic kubelet configuration is no more: what an old node has of it may stay

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        self.prepare_for_update(obj, {}, ctx)
        (obj.get("status") or {}).pop("config", None)

    def prepare_for_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        if (old.get("spec") or {}).get("configSource") is None:
            (obj.get("spec") or {}).pop("configSource", None)

    def prepare_for_status_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        if (old.get("status") or {}).get("config") is None:
            (obj.get("status") or {}).pop("config", None)

    def reset_fields(self, subresource: str) -> tuple[str, ...]:
        return ("spec",) if subresource == "status" else ("status",)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj.get("spec") or {}
        avoided_pods(obj["metadata"].get("annotations") or {}, out)
        # upstream's path
        taints(spec.get("taints") or (), Path("metadata", "taints"), out)
        _resources(obj.get("status") or {}, out)
        cidrs = spec.get("podCIDRs") or []
        for index, cidr in enumerate(cidrs):
            out.each(SPEC / "podCIDRs" @ index, cidr, ips.legacy_cidr(cidr))
        if len(cidrs) > 2 or (len(cidrs) == 2 and not ips.is_dual_stack(cidrs)):
            out.invalid(SPEC / "podCIDRs", cidrs, "may specify no more than one CIDR for each IP family")
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        new, was, status = obj.get("spec") or {}, old.get("spec") or {}, obj.get("status") or {}
        avoided_pods(obj["metadata"].get("annotations") or {}, out)
        _resources(status, out)
        seen: set[tuple[str, str]] = set()
        for index, item in enumerate(status.get("addresses") or ()):
            key = (item.get("type", ""), item.get("address", ""))
            if key in seen:
                out.duplicate(STATUS / "addresses" @ index, item)
            seen.add(key)
        if was.get("podCIDRs") and new.get("podCIDRs") != was["podCIDRs"]:
            out.forbidden(SPEC / "podCIDRs", 'node updates may not change podCIDR except from "" to valid')
        if was.get("providerID") and new.get("providerID") != was["providerID"]:
            out.forbidden(SPEC / "providerID", 'node updates may not change providerID except from "" to valid')
        if new.get("externalID", "") != was.get("externalID", ""):
            out.forbidden(SPEC / "externalID", "may not be updated")
        if new.get("taints") != was.get("taints"):
            taints(new.get("taints") or (), Path("metadata", "taints"), out)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        return self.validate_update(obj, old)

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        spec = obj.get("spec") or {}
        out = []
        if spec.get("configSource") is not None:
            out.append(f"{SPEC / 'configSource'}: the feature is removed")
        if spec.get("externalID"):
            out.append(f"{SPEC / 'externalID'}: this field is deprecated, and is unused by Kubernetes")
        for index, cidr in enumerate(spec.get("podCIDRs") or ()):
            out += ips.cidr_warnings(SPEC / "podCIDRs" @ index, cidr)
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


def _resources(status: Obj, out: ErrorList) -> None:
    for field in ("capacity", "allocatable"):
        for name, amount in (status.get(field) or {}).items():
            here = STATUS / field / name
            resource_name(name, here, out)
            resource_quantity(name, amount, here, out)

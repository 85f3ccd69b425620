"""APIService.

Source: kube-aggregator/pkg/registry/apiservice/{strategy,etcd/etcd}.go (ConvertToTable)
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import ErrorList, Path, go_quote
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import age
from sampan.api.validation.workload import SPEC, STATUS


def local_condition(now: str) -> Obj:
    """Of those without a Service."""
    return {
        "type": "Available",
        "status": "True",
        "lastTransitionTime": now,
        "reason": "Local",
        "message": "Local APIServices are always available",
    }


class APIService(Kind):
    unconditional_update = False
    status_alone = True
    not_enforced = True
    has_status = True
    has_generation = False
    columns = (NAME, Column("Service"), Column("Available"), AGE)

    def default(self, obj: Obj) -> None:
        service = (obj.get("spec") or {}).get("service")
        if service is not None:
            service.setdefault("port", 443)

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        if (obj.get("spec") or {}).get("service") is None:
            obj["status"] = {"conditions": [local_condition(ctx.now)]}

    def validate_name(self, name: str, generate: bool) -> list[str]:
        return names.path_segment_name(name)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj.get("spec") or {}
        group, version = spec.get("group", ""), spec.get("version", "")
        wanted = f"{version}.{group}"
        name = obj["metadata"].get("name", "")
        if wanted != name:
            out.invalid(Path("metadata", "name"), name, f'must be `spec.version+"."+spec.group`: {go_quote(wanted)}')
        if group:
            out.each(SPEC / "group", group, names.is_dns1123_subdomain(group))
        out.each(SPEC / "version", version, names.is_dns1035_label(version))
        # upstream's order
        low, high = spec.get("groupPriorityMinimum", 0), spec.get("versionPriority", 0)
        if not 0 < low <= 20000:
            out.invalid(SPEC / "groupPriorityMinimum", low, "must be positive and less than 20000")
        if not 0 < high <= 1000:
            out.invalid(SPEC / "versionPriority", high, "must be positive and less than 1000")
        service = spec.get("service")
        if service is None:
            if spec.get("caBundle"):
                detail = "local APIServices may not have a caBundle"
                out.invalid(SPEC / "caBundle", f"{len(spec['caBundle'])} bytes", detail)
            if spec.get("insecureSkipTLSVerify"):
                detail = "local APIServices may not have insecureSkipTLSVerify"
                out.invalid(SPEC / "insecureSkipTLSVerify", True, detail)
            return out
        for field in ("namespace", "name"):
            if not service.get(field):
                out.required(SPEC / "service" / field, "")
        port = service.get("port", 0)
        for _ in names.is_valid_port_num(port):
            out.invalid(SPEC / "service" / "port", port, "port is not valid: must be between 1 and 65535, inclusive")
        if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
            detail = "may not be true if caBundle is present"
            out.invalid(SPEC / "insecureSkipTLSVerify", True, detail)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        return self.validate(obj)

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        for index, condition in enumerate((obj.get("status") or {}).get("conditions") or ()):
            here, status = STATUS / "conditions" @ index / "status", condition.get("status", "")
            if status not in ("True", "False", "Unknown"):
                out.not_supported(here, status, ("False", "True", "Unknown"))
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        service = (obj.get("spec") or {}).get("service")
        shown = f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"
        condition: Obj = next(
            (c for c in (obj.get("status") or {}).get("conditions") or () if c.get("type") == "Available"), {}
        )
        available = condition.get("status", "Unknown")
        if available != "True" and condition.get("reason"):
            available += f" ({condition['reason']})"
        return [meta["name"], shown, available, old]

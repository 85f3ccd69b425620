"""Ingress.

Source: kubernetes/pkg/registry/networking/ingress/strategy.go; ValidateIngress; printIngress
"""

from __future__ import annotations

from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import NONE, age
from sampan.api.validation.ingresses import CLASS, ingress_spec, ingress_status, new_ingress


class Ingress(Kind):
    has_status = True
    columns = (NAME, Column("Class"), Column("Hosts"), Column("Address"), Column("Ports"), AGE)

    def validate(self, obj: Obj) -> ErrorList:
        out = self.validate_update(obj, obj)
        new_ingress(obj, out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        ingress_spec(obj.get("spec") or {}, out)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        ingress_status(obj, old, out)
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        # told once
        if old is None and CLASS in (obj["metadata"].get("annotations") or {}):
            return [f"annotation \"{CLASS}\" is deprecated, please use 'spec.ingressClassName' instead"]
        return []

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
        hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
        shown = ",".join(hosts[:3]) + (f" + {len(hosts) - 3} more..." if len(hosts) > 3 else "") if hosts else "*"
        ingress = (status.get("loadBalancer") or {}).get("ingress") or ()
        return [
            meta["name"],
            spec.get("ingressClassName") or NONE,
            shown,
            ",".join(item.get("ip") or item.get("hostname") or "" for item in ingress),
            "80, 443" if spec.get("tls") else "80",
            age(meta.get("creationTimestamp"), now),
        ]

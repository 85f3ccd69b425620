"""Service.

Source: kubernetes/pkg/apis/core/v1/defaults.go, pkg/registry/core/service/strategy.go; printService
"""

from __future__ import annotations

from typing import Any

from sampan.api import names
from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import NONE, age, labels_text
from sampan.api.validation.services import (
    health_port_update,
    load_balancer_status,
    service,
    service_update,
    service_warnings,
)
from sampan.api.validation.workload import STATUS


class Service(Kind):
    create_on_update = True
    has_status = True
    has_generation = False
    columns = (
        NAME,
        Column("Type"),
        Column("Cluster-IP"),
        Column("External-IP"),
        Column("Port(s)"),
        AGE,
        Column("Selector", priority=1),
    )

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("sessionAffinity"):
            spec["sessionAffinity"] = "None"
        if spec["sessionAffinity"] == "None":
            spec.pop("sessionAffinityConfig", None)
        elif spec["sessionAffinity"] == "ClientIP":
            config = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
            config.setdefault("timeoutSeconds", 10800)
        if not spec.get("type"):
            spec["type"] = "ClusterIP"
        for port in spec.get("ports") or ():
            if not port.get("protocol"):
                port["protocol"] = "TCP"
            if port.get("targetPort") in (None, 0, ""):
                port["targetPort"] = port.get("port", 0)
        external = spec["type"] in ("NodePort", "LoadBalancer")
        if (external or (spec["type"] == "ClusterIP" and spec.get("externalIPs"))) and not spec.get(
            "externalTrafficPolicy"
        ):
            spec["externalTrafficPolicy"] = "Cluster"
        if spec["type"] != "ExternalName" and not spec.get("internalTrafficPolicy"):
            spec["internalTrafficPolicy"] = "Cluster"
        if spec["type"] == "LoadBalancer":
            spec.setdefault("allocateLoadBalancerNodePorts", True)
        for item in ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
            if item.get("ip") and not item.get("ipMode"):
                item["ipMode"] = "VIP"

    def prepare_for_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        carry_over_allocated(obj["spec"], old["spec"])
        drop_type_dependent_fields(obj["spec"], old["spec"])

    def validate_name(self, name: str, generate: bool) -> list[str]:
        return names.is_dns1035_label(name.rstrip("-") + "a" if generate else name)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        service(obj, out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        service_update(obj, old, out)
        service(obj, out)
        health_port_update(obj, old, out)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        balancer = (obj.get("status") or {}).get("loadBalancer") or {}
        load_balancer_status(balancer, obj["spec"], STATUS / "loadBalancer", out)
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        return service_warnings(obj)

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        spec = obj.get("spec") or {}
        return {"spec.clusterIP": spec.get("clusterIP", ""), "spec.type": spec.get("type", "")}

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec = obj["metadata"], obj["spec"]
        ports = ",".join(_port_text(port) for port in spec.get("ports") or ())
        return [
            meta["name"],
            spec.get("type", ""),
            spec.get("clusterIP") or NONE,
            _external(obj),
            ports or NONE,
            age(meta.get("creationTimestamp"), now),
            labels_text(spec.get("selector")),
        ]


def carry_over_allocated(new: Obj, old: Obj) -> None:
    """What was allocated stays where an update does not mention it."""
    same_kind = "ExternalName" not in (new.get("type"), old.get("type"))
    if same_kind:
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if not new.get(name) and old.get(name):
                new[name] = old[name]
    both = ("NodePort", "LoadBalancer")
    if new.get("type") in both and old.get("type") in both:
        known: dict[tuple[Any, Any], int] = {
            (port.get("protocol"), port.get("port")): port.get("nodePort", 0) for port in old.get("ports") or ()
        }
        taken = {port.get("nodePort") for port in new.get("ports") or ()}
        for port in new.get("ports") or ():
            number = known.get((port.get("protocol"), port.get("port")), 0)
            if not port.get("nodePort") and number and number not in taken:
                port["nodePort"] = number
        if (
            new.get("healthCheckNodePort") is None
            and old.get("healthCheckNodePort")
            and new.get("externalTrafficPolicy") == "Local"
        ):
            new["healthCheckNodePort"] = old["healthCheckNodePort"]


def drop_type_dependent_fields(new: Obj, old: Obj) -> None:
    """Fields that the old type needed and the new one does not go, unless the update changed them."""
    kind = new.get("type")
    if kind == "ExternalName" and old.get("type") != "ExternalName":
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            new.pop(name, None)
    if kind not in ("NodePort", "LoadBalancer") and old.get("type") in ("NodePort", "LoadBalancer"):
        before = [port.get("nodePort") for port in old.get("ports") or ()]
        for port in new.get("ports") or ():
            if port.get("nodePort") in before:
                port.pop("nodePort", None)
        if not (kind == "ClusterIP" and new.get("externalIPs")):  # which is reached from outside all the same
            new.pop("externalTrafficPolicy", None)
    if kind != "LoadBalancer" and old.get("type") == "LoadBalancer":
        for name in ("healthCheckNodePort", "allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if new.get(name) == old.get(name):
                new.pop(name, None)


def _port_text(port: Obj) -> str:
    node = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port', 0)}{node}/{port.get('protocol', '')}"


def _external(obj: Obj) -> str:
    spec = obj["spec"]
    outside = spec.get("externalIPs") or []
    if spec.get("type") == "ExternalName":
        return spec.get("externalName") or ""
    if spec.get("type") == "LoadBalancer":
        ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        found = [item.get("ip") or item.get("hostname") or "" for item in ingress]
        return ",".join([*found, *outside]) or "<pending>"
    return ",".join(outside) or NONE

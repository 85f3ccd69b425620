"""Service.

Source: kubernetes/pkg/apis/core/v1/defaults.go, pkg/registry/core/service/{strategy,storage/storage}.go; printService
"""

from __future__ import annotations

from typing import Any

from sampan.api import names
from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import NONE, age, labels_text
from sampan.api.validation.services import (
    NODE_PORT_TYPES,
    externally_accessible,
    health_port_update,
    load_balancer_status,
    needs_health_port,
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
        external = spec["type"] in NODE_PORT_TYPES
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

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        normalize_cluster_ips(obj["spec"], None)

    def prepare_for_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        carry_over_allocated(obj["spec"], old["spec"])
        normalize_cluster_ips(obj["spec"], old["spec"])
        drop_type_dependent_fields(obj["spec"], old["spec"])
        status = obj.get("status") or {}
        if obj["spec"].get("type") != "LoadBalancer" and status.get("loadBalancer"):
            obj["status"] = {**status, "loadBalancer": {}}

    def validate_name(self, name: str, generate: bool) -> list[str]:
        return names.is_dns1123_label(name.rstrip("-") + "a" if generate and name.endswith("-") else name)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        service(obj, out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        service_update(obj, old, out)
        service(obj, out, old)
        health_port_update(obj, old, out)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        balancer, was = ((each.get("status") or {}).get("loadBalancer") or {} for each in (obj, old))
        load_balancer_status(balancer, was, obj["spec"], STATUS / "loadBalancer", out)
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


ADDRESS_FIELDS = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


def carry_over_allocated(new: Obj, old: Obj) -> None:
    """What was allocated stays where an update does not mention it (`patchAllocatedValues`)."""
    if "ExternalName" not in (new.get("type"), old.get("type")):
        for name in ADDRESS_FIELDS:
            if not new.get(name) and old.get(name):
                new[name] = old[name]
    if new.get("type") in NODE_PORT_TYPES and old.get("type") in NODE_PORT_TYPES:
        used = _node_ports(old) & _node_ports(new)
        # whatever else of the port may have changed
        known = {port.get("name", ""): port.get("nodePort", 0) for port in old.get("ports") or ()}
        for port in new.get("ports") or ():
            number = known.get(port.get("name", ""), 0)
            if number and number not in used and not port.get("nodePort"):
                port["nodePort"] = number
    if needs_health_port(new) and needs_health_port(old) and not new.get("healthCheckNodePort"):
        _set(new, "healthCheckNodePort", old.get("healthCheckNodePort"))


def normalize_cluster_ips(new: Obj, old: Obj | None) -> None:
    """Old clients know `clusterIP` alone (`normalizeClusterIPs`)."""
    address, addresses = new.get("clusterIP", ""), new.get("clusterIPs") or []
    before: Obj = old or {}
    if old is None or address != before.get("clusterIP", ""):
        if addresses == (before.get("clusterIPs") or []):
            _set(new, "clusterIPs", [address] if address else None)
    elif not addresses:
        _set(new, "clusterIPs", before.get("clusterIPs"))


def drop_type_dependent_fields(new: Obj, old: Obj) -> None:
    """What the old type needed and the new one does not goes, where the update did not change it as well: that is told
    by validation."""
    gone: list[str] = []
    if old.get("type") != "ExternalName" and new.get("type") == "ExternalName":
        if all(new.get(name) == old.get(name) for name in ("clusterIP", "clusterIPs")):
            gone += ["clusterIP", "clusterIPs"]
        gone += ["ipFamilies", "ipFamilyPolicy"]
    needed = old.get("type") in NODE_PORT_TYPES and new.get("type") not in NODE_PORT_TYPES
    if needed and _node_ports(new) <= _node_ports(old):
        for port in new.get("ports") or ():
            port.pop("nodePort", None)
    if needs_health_port(old) and not needs_health_port(new):
        gone.append("healthCheckNodePort")
    if old.get("type") == "LoadBalancer" and new.get("type") != "LoadBalancer":
        gone += ["allocateLoadBalancerNodePorts", "loadBalancerClass"]
    if externally_accessible(old) and not externally_accessible(new):
        gone.append("externalTrafficPolicy")
    for name in gone:
        if new.get(name) == old.get(name):
            new.pop(name, None)


def _node_ports(spec: Obj) -> set[int]:
    return {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}


def _set(spec: Obj, name: str, value: Any) -> None:
    if value:
        spec[name] = value
    else:
        spec.pop(name, None)


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

"""Services: ports, addresses and families, policies; what may change once addresses are given; load balancer status.

Source: kubernetes/pkg/apis/core/validation/validation.go (ValidateService, validateServiceClusterIPsRelatedFields,
ValidateServiceClusterIPsRelatedFields, ValidateLoadBalancerStatus), pkg/api/service/warnings.go
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation import ips
from sampan.api.validation.containers import PROTOCOLS, port_number_or_name
from sampan.api.validation.meta import IMMUTABLE, validate_labels
from sampan.api.validation.workload import SPEC

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
NODE_PORT_TYPES = ("NodePort", "LoadBalancer")
FAMILIES = ("IPv4", "IPv6")
POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
MODE, HINTS = "service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints"
RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
ONLY_BALANCED = "may only be used when `type` is 'LoadBalancer'"
ONLY_EXTERNAL = "may only be set for externally-accessible services"
ONLY_LOCAL = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
NOT_CHANGED = "may not change once set"


def _one_of(value: str, allowed: tuple[str, ...], path: Path, out: ErrorList) -> None:
    if not value:
        out.required(path, "")
    elif value not in allowed:
        out.not_supported(path, value, allowed)


def service(obj: Obj, out: ErrorList, old: Obj | None = None) -> None:
    spec = obj["spec"]
    was: Obj = old["spec"] if old is not None else {}
    kind, get = spec.get("type", ""), spec.get
    annotations = obj["metadata"].get("annotations") or {}
    if MODE in annotations and HINTS in annotations and annotations[MODE] != annotations[HINTS]:
        detail = f"must match annotations[{HINTS}] when both are specified"
        out.invalid(Path("metadata", "annotations") @ MODE, annotations[MODE], detail)
    addresses = get("clusterIPs") or []
    headless = bool(addresses) and addresses[0] == "None"
    ports = get("ports") or []
    if not ports and not headless and kind != "ExternalName":
        out.required(SPEC / "ports", "")
    if kind in ("LoadBalancer", "NodePort") and headless:
        out.invalid(SPEC / "clusterIPs" @ 0, "None", f"may not be set to 'None' for {kind} services")
    if kind == "ExternalName":
        for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if get(field):
                out.forbidden(SPEC / field, "may not be set for ExternalName services")
        name = get("externalName", "").removesuffix(".")
        if name:
            out.each(SPEC / "externalName", name, names.is_dns1123_subdomain(name))
        else:
            out.required(SPEC / "externalName", "")
    _ports(ports, headless, out)
    if get("selector"):
        out.extend(validate_labels(get("selector"), SPEC / "selector"))
    _affinity(spec, out)
    cluster_addresses(spec, was, out)
    for index, address in enumerate(get("externalIPs") or ()):
        here, problems = SPEC / "externalIPs" @ index, ips.legacy_ip(address, was.get("externalIPs") or ())
        if problems:
            out.each(here, address, problems)
        else:
            ips.non_special(address, here, out)
    _one_of(kind, TYPES, SPEC / "type", out)
    _node_ports(kind, ports, out)
    _balanced(spec, annotations, _ranges(old), out)
    _traffic(spec, out)


def _ports(ports: list[Obj], headless: bool, out: ErrorList) -> None:
    taken: set[str] = set()
    for index, port in enumerate(ports):
        here, name = SPEC / "ports" @ index, port.get("name", "")
        if not name and len(ports) > 1:
            out.required(here / "name", "")
        elif name:
            out.each(here / "name", name, names.is_dns1123_label(name))
            if name in taken:
                out.duplicate(here / "name", name)
            taken.add(name)
        out.each(here / "port", port.get("port", 0), names.is_valid_port_num(port.get("port", 0)))
        _one_of(port.get("protocol", ""), PROTOCOLS, here / "protocol", out)
        port_number_or_name(port.get("targetPort"), here / "targetPort", out)
        if port.get("appProtocol"):
            out.each(here / "appProtocol", port["appProtocol"], names.is_qualified_name(port["appProtocol"]))


def _affinity(spec: Obj, out: ErrorList) -> None:
    affinity, config = spec.get("sessionAffinity", ""), spec.get("sessionAffinityConfig")
    here = SPEC / "sessionAffinityConfig"
    _one_of(affinity, ("ClientIP", "None"), SPEC / "sessionAffinity", out)
    if affinity == "None":
        if config is not None:
            out.forbidden(here, "must not be set when session affinity is None")
    elif affinity == "ClientIP":
        detail = "when session affinity type is ClientIP"
        if config is None:
            out.required(here, detail)
        elif config.get("clientIP") is None:
            out.required(here / "clientIP", detail)
        elif config["clientIP"].get("timeoutSeconds") is None:
            out.required(here / "clientIP" / "timeoutSeconds", detail)
        elif not 0 < config["clientIP"]["timeoutSeconds"] <= 86400:
            seconds = config["clientIP"]["timeoutSeconds"]
            detail = f"must be greater than 0 and less than {86400}"
            out.invalid(here / "clientIP" / "timeoutSeconds", seconds, detail)


def _node_ports(kind: str, ports: list[Obj], out: ErrorList) -> None:
    if kind == "ClusterIP":
        for index, port in enumerate(ports):
            if port.get("nodePort"):
                out.forbidden(SPEC / "ports" @ index / "nodePort", "may not be used when `type` is 'ClusterIP'")
    nodes: set[tuple[str, int]] = set()
    seen: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        here, protocol, number = SPEC / "ports" @ index, port.get("protocol", ""), port.get("nodePort") or 0
        if number:
            if (protocol, number) in nodes:
                out.duplicate(here / "nodePort", number)
            nodes.add((protocol, number))
    for index, port in enumerate(ports):
        key = (port.get("protocol", ""), port.get("port", 0))
        if key in seen:
            out.duplicate(SPEC / "ports" @ index, {"protocol": key[0], "port": key[1]})
        seen.add(key)


def _ranges(old: Obj | None) -> list[str]:
    if old is None:
        return []
    noted = (old["metadata"].get("annotations") or {}).get(RANGES, "").split(",")
    return [text.strip() for text in (*(old["spec"].get("loadBalancerSourceRanges") or ()), *noted)]


def _balanced(spec: Obj, annotations: dict[str, str], old_ranges: list[str], out: ErrorList) -> None:
    """What only load balancers have."""
    balanced, ranges = spec.get("type") == "LoadBalancer", spec.get("loadBalancerSourceRanges") or []
    here = SPEC / "LoadBalancerSourceRanges"
    if ranges:
        if not balanced:
            out.forbidden(here, ONLY_BALANCED)
        for index, text in enumerate(ranges):
            out.each(here @ index, text.strip(), ips.legacy_cidr(text.strip(), old_ranges))
    elif RANGES in annotations:
        at, value = Path("metadata", "annotations") @ RANGES, annotations[RANGES]
        if not balanced:
            out.forbidden(at, ONLY_BALANCED)
        if value.strip():
            for text in value.strip().split(","):
                out.each(at, value, ips.legacy_cidr(text.strip(), old_ranges))
    allocate, name = spec.get("allocateLoadBalancerNodePorts"), spec.get("loadBalancerClass")
    if balanced and allocate is None:
        out.required(Path("allocateLoadBalancerNodePorts"), "")
    if not balanced and allocate is not None:
        out.forbidden(SPEC / "allocateLoadBalancerNodePorts", ONLY_BALANCED)
    if name is not None:
        if balanced:
            out.each(SPEC / "loadBalancerClass", name, names.is_qualified_name(name))
        else:
            out.forbidden(SPEC / "loadBalancerClass", ONLY_BALANCED)


def externally_accessible(spec: Obj) -> bool:
    kind = spec.get("type")
    return kind in NODE_PORT_TYPES or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def _traffic(spec: Obj, out: ErrorList) -> None:
    kind, external = spec.get("type", ""), spec.get("externalTrafficPolicy", "")
    here = SPEC / "externalTrafficPolicy"
    if not externally_accessible(spec):
        if external:
            out.invalid(here, external, ONLY_EXTERNAL)
    else:
        _one_of(external, ("Cluster", "Local"), here, out)
    port, here = spec.get("healthCheckNodePort") or 0, SPEC / "healthCheckNodePort"
    if not needs_health_port(spec):
        if port:
            out.invalid(here, port, ONLY_LOCAL)
    elif not port:
        out.required(here, "")
    else:
        out.each(here, port, names.is_valid_port_num(port))
    internal, here = spec.get("internalTrafficPolicy"), SPEC / "internalTrafficPolicy"
    if internal is None and kind in ("ClusterIP", "LoadBalancer", "NodePort"):
        out.required(here, "")
    if internal is not None and internal not in ("Cluster", "Local"):
        out.not_supported(here, internal, ("Cluster", "Local"))
    wanted = spec.get("trafficDistribution")
    if wanted is not None and wanted not in DISTRIBUTIONS:
        out.not_supported(SPEC / "trafficDistribution", wanted, DISTRIBUTIONS)


# -- addresses ---------------------------------------------------------------------------------------------------------


def cluster_addresses(spec: Obj, was: Obj, out: ErrorList) -> None:
    """clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy against each other."""
    if spec.get("type") == "ExternalName":
        return
    first, listed = spec.get("clusterIP", ""), spec.get("clusterIPs") or []
    here, before = SPEC / "clusterIPs", len(out)
    if first and not listed:
        out.required(here, "")
    elif first and listed[0] != first:
        out.invalid(here, listed, "first value must match `clusterIP`")
    elif not first and listed:
        out.invalid(here, listed, "must be empty when `clusterIP` is not specified")
    families, seen = spec.get("ipFamilies") or [], set[str]()
    for index, family in enumerate(families):
        if family not in FAMILIES:
            out.not_supported(SPEC / "ipFamilies" @ index, family, FAMILIES)
        if family in seen:
            out.duplicate(SPEC / "ipFamilies" @ index, family)
        seen.add(family)
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in POLICIES:
        out.not_supported(SPEC / "ipFamilyPolicy", policy, POLICIES)
    for index, address in enumerate(listed):
        if address == "None":
            if len(listed) > 1:
                out.invalid(here, listed, "'None' must be the first and only value")
        elif index == 0 or address:
            out.each(here @ index, address, ips.legacy_ip(address, was.get("clusterIPs") or ()))
    if len(listed) > 2:
        out.invalid(here, listed, "may only hold up to 2 values")
    if len(out) > before or listed[:1] == ["None"]:
        return
    if len(listed) == 2 and not ips.is_dual_stack(listed):
        out.invalid(here, listed, "may specify no more than one IP for each IP family")
    for index, (address, family) in enumerate(zip(listed, families, strict=False)):
        parsed = ips.parse_ip(address)
        if parsed is not None and f"IPv{parsed.version}" != family:
            detail = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            out.invalid(here @ index, address, detail)


def service_update(obj: Obj, old: Obj, out: ErrorList) -> None:
    """What may not change; `service` tells the rest."""
    new, was = obj["spec"], old["spec"]
    _upgrade(new, was, out)
    if was.get("type") == new.get("type") == "LoadBalancer" and was.get("loadBalancerClass") != new.get(
        "loadBalancerClass"
    ):
        out.invalid(SPEC / "loadBalancerClass", new.get("loadBalancerClass"), NOT_CHANGED)


def needs_health_port(spec: Obj) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def health_port_update(obj: Obj, old: Obj, out: ErrorList) -> None:
    new, was = obj["spec"], old["spec"]
    if (
        needs_health_port(new)
        and needs_health_port(was)
        and (new.get("healthCheckNodePort") or 0) != (was.get("healthCheckNodePort") or 0)
    ):
        out.forbidden(SPEC / "healthCheckNodePort", IMMUTABLE)


def _upgrade(new: Obj, was: Obj, out: ErrorList) -> None:
    """Addresses and families only come as a second one, or go with it."""
    if "ExternalName" in (new.get("type"), was.get("type")):
        return
    now, before = new.get("clusterIPs") or [], was.get("clusterIPs") or []
    if now[:1] == before[:1] == ["None"]:
        return
    single = new.get("ipFamilyPolicy") == "SingleStack"
    release = "must be set to 'SingleStack' when releasing the secondary "
    here = SPEC / "clusterIPs"
    if before and not now:
        if before[0]:
            out.invalid(here @ 0, now, "primary clusterIP can not be unset")
    elif before and before[0] and before[0] != now[0]:
        out.invalid(here @ 0, now, NOT_CHANGED)
    if len(before) == 2:
        if len(now) == 1 and not single:
            out.invalid(SPEC / "ipFamilyPolicy", new.get("ipFamilyPolicy"), release + "clusterIP")
        elif len(now) == 2 and now[1] != before[1]:
            out.invalid(here @ 1, now, NOT_CHANGED)
    now, before = new.get("ipFamilies") or [], was.get("ipFamilies") or []
    here = SPEC / "ipFamilies"
    if before and not now:
        out.invalid(here @ 0, now, "primary ipFamily can not be unset")
    elif before and before[0] != now[0]:
        out.invalid(here @ 0, now, NOT_CHANGED)
    if len(before) == 2:
        if len(now) == 1 and not single:
            out.invalid(SPEC / "ipFamilyPolicy", new.get("ipFamilyPolicy"), release + "ipFamily")
        elif len(now) == 2 and now[1] != before[1]:
            out.invalid(here @ 1, now, NOT_CHANGED)


# -- status and warnings -----------------------------------------------------------------------------------------------


def load_balancer_status(status: Obj, was: Obj, spec: Obj | None, path: Path, out: ErrorList) -> None:
    known = [item.get("ip", "") for item in was.get("ingress") or ()]
    ingress, here = status.get("ingress") or [], path / "ingress"
    if spec is not None and spec.get("type") != "LoadBalancer" and ingress:
        out.forbidden(here, "may only be used when `spec.type` is 'LoadBalancer'")
        return
    for index, item in enumerate(ingress):
        at, address, mode = here @ index, item.get("ip", ""), item.get("ipMode")
        if address:
            out.each(at / "ip", address, ips.legacy_ip(address, known))
            if mode is None:
                out.required(at / "ipMode", "must be specified when `ip` is set")
        elif mode is not None:
            out.forbidden(at / "ipMode", "may not be specified when `ip` is not set")
        if mode is not None and mode not in ("Proxy", "VIP"):
            out.not_supported(at / "ipMode", mode, ("Proxy", "VIP"))
        host_name(item.get("hostname", ""), at / "hostname", out)


def host_name(name: str, path: Path, out: ErrorList) -> None:
    if name:
        out.each(path, name, names.is_dns1123_subdomain(name))
        if ips.parse_ip(name) is not None:
            out.invalid(path, name, "must be a DNS name, not an IP address")


def service_warnings(obj: Obj) -> list[str]:
    out: list[str] = []
    spec = obj["spec"]
    get, kind = spec.get, spec.get("type")
    if HINTS in (obj["metadata"].get("annotations") or {}):
        out.append(f"annotation {HINTS} is deprecated, please use {MODE} instead")
    headless = kind == "ClusterIP" and get("clusterIP") == "None"
    if headless:
        if get("loadBalancerIP"):
            out.append("spec.loadBalancerIP is ignored for headless services")
        if get("externalIPs"):
            out.append("spec.externalIPs is ignored for headless services")
        if get("sessionAffinity") != "None":
            out.append("spec.SessionAffinity is ignored for headless services")
    else:
        for index, address in enumerate(get("clusterIPs") or ()):
            out += ips.ip_warnings(SPEC / "clusterIPs" @ index, address)
    for index, address in enumerate(get("externalIPs") or ()):
        out += ips.ip_warnings(SPEC / "externalIPs" @ index, address)
    if get("externalIPs") and not headless and kind != "ExternalName":
        out.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
    if get("loadBalancerIP"):
        out += ips.ip_warnings(SPEC / "loadBalancerIP", get("loadBalancerIP"))
    for index, text in enumerate(get("loadBalancerSourceRanges") or ()):
        out += ips.cidr_warnings(SPEC / "loadBalancerSourceRanges" @ index, text)
    if get("externalIPs") and kind == "ExternalName":
        out.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    if kind != "ExternalName" and get("externalName"):
        out.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if get("trafficDistribution") == "PreferClose":
        out.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    return out

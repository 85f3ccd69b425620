"""Endpoints and EndpointSlices: addresses and ports behind a service.

Source: kubernetes/pkg/apis/core/validation/validation.go (ValidateEndpoints), pkg/apis/discovery/validation/validation.go
"""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation import ips
from sampan.api.validation.containers import PROTOCOLS

TYPES = ("FQDN", "IPv4", "IPv6")
MAX_ENDPOINTS, MAX_ADDRESSES, MAX_PORTS, MAX_TOPOLOGY, MAX_HINTS = 1000, 100, 20000, 16, 8
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
#: they write addresses as they should be
OWN = ("endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io")


def _protocol(protocol: str, path: Path, out: ErrorList) -> None:
    if not protocol:
        out.required(path, "")
    elif protocol not in PROTOCOLS:
        out.not_supported(path, protocol, PROTOCOLS)


def _app_protocol(port: Obj, path: Path, out: ErrorList) -> None:
    name = port.get("appProtocol")
    if name is not None:
        out.each(path / "appProtocol", name, names.is_qualified_name(name))


# -- Endpoints ---------------------------------------------------------------------------------------------------------


def subsets(items: Sequence[Obj], path: Path, out: ErrorList) -> None:
    for index, subset in enumerate(items):
        here = path @ index
        ready, others = subset.get("addresses") or [], subset.get("notReadyAddresses") or []
        if not ready and not others:
            out.required(here, "must specify `addresses` or `notReadyAddresses`")
        for field, addresses in (("addresses", ready), ("notReadyAddresses", others)):
            for at, address in enumerate(addresses):
                _address(address, here / field @ at, out)
        ports = subset.get("ports") or []
        for at, port in enumerate(ports):
            _port(port, len(ports) > 1, here / "ports" @ at, out)


def _address(address: Obj, path: Path, out: ErrorList) -> None:
    ip = address.get("ip", "")
    out.each(path / "ip", ip, ips.legacy_ip(ip))
    if address.get("hostname"):
        out.each(path / "hostname", address["hostname"], names.is_dns1123_label(address["hostname"]))
    if address.get("nodeName") is not None:
        out.each(path / "nodeName", address["nodeName"], names.is_dns1123_subdomain(address["nodeName"]))
    ips.non_special(ip, path / "ip", out)


def _port(port: Obj, named: bool, path: Path, out: ErrorList) -> None:
    name = port.get("name", "")
    if named and not name:
        out.required(path / "name", "")
    elif name:
        out.each(path / "name", name, names.is_dns1123_label(name))
    out.each(path / "port", port.get("port", 0), names.is_valid_port_num(port.get("port", 0)))
    _protocol(port.get("protocol", ""), path / "protocol", out)
    _app_protocol(port, path, out)


def endpoints_warnings(items: Sequence[Obj]) -> list[str]:
    out: list[str] = []
    for index, subset in enumerate(items):
        for field in ("addresses", "notReadyAddresses"):
            for at, address in enumerate(subset.get(field) or ()):
                out += ips.ip_warnings(Path("subsets") @ index / field @ at / "ip", address.get("ip", ""))
    return out


# -- EndpointSlices ----------------------------------------------------------------------------------------------------


def slice_(obj: Obj, out: ErrorList, old: Obj | None = None) -> None:
    kind = obj.get("addressType", "")
    if not kind:
        out.required(Path("addressType"), "")
    elif kind not in TYPES:
        out.not_supported(Path("addressType"), kind, TYPES)
    # what is there may have been let in by less strict rules
    if old is None or obj.get("endpoints") != old.get("endpoints"):
        _endpoints(obj.get("endpoints") or [], kind, Path("endpoints"), out)
    _slice_ports(obj.get("ports") or [], Path("ports"), out)


def _endpoints(items: list[Obj], kind: str, path: Path, out: ErrorList) -> None:
    if len(items) > MAX_ENDPOINTS:
        out.too_many(path, len(items), MAX_ENDPOINTS)
        return
    for index, endpoint in enumerate(items):
        here, addresses = path @ index, endpoint.get("addresses") or []
        at = here / "addresses"
        if not addresses:
            out.required(at, "must contain at least 1 address")
        elif len(addresses) > MAX_ADDRESSES:
            out.too_many(at, len(addresses), MAX_ADDRESSES)
        for number, address in enumerate(addresses):
            _typed_address(address, kind, at @ number, out)
        if endpoint.get("nodeName") is not None:
            out.each(here / "nodeName", endpoint["nodeName"], names.is_dns1123_subdomain(endpoint["nodeName"]))
        topology = endpoint.get("deprecatedTopology") or {}
        if len(topology) > MAX_TOPOLOGY:
            out.too_many(here / "deprecatedTopology", len(topology), MAX_TOPOLOGY)
        for key in sorted(topology):
            out.each(here / "deprecatedTopology", key, names.is_qualified_name(key))
        if endpoint.get("hostname") is not None:
            out.each(here / "hostname", endpoint["hostname"], names.is_dns1123_label(endpoint["hostname"]))
        if endpoint.get("hints") is not None:
            _hints(endpoint["hints"], here / "hints", out)


def _typed_address(address: str, kind: str, path: Path, out: ErrorList) -> None:
    if kind == "FQDN":
        out.each(path, address, names.is_fully_qualified_name(address))
    elif kind in ("IPv4", "IPv6"):
        parsed = ips.parse_ip(address)
        if parsed is None or f"IPv{parsed.version}" != kind:
            out.invalid(path, address, f"must be a valid {kind} address")
        else:
            out.each(path, address, ips.strict_ip(address))
        ips.non_special(address, path, out)


def _hints(hints: Obj, path: Path, out: ErrorList) -> None:
    for field, check in (("forZones", names.is_valid_label_value), ("forNodes", names.is_dns1123_subdomain)):
        given, here = hints.get(field) or [], path / field
        if len(given) > MAX_HINTS:
            out.too_many(here, len(given), MAX_HINTS)
            continue
        seen: set[str] = set()
        for index, hint in enumerate(given):
            name, at = hint.get("name", ""), here @ index / "name"
            if name in seen:
                out.duplicate(at, name)
            else:
                seen.add(name)
                out.each(at, name, check(name))


def _slice_ports(ports: list[Obj], path: Path, out: ErrorList) -> None:
    if len(ports) > MAX_PORTS:
        out.too_many(path, len(ports), MAX_PORTS)
        return
    taken: set[str] = set()
    for index, port in enumerate(ports):
        here, name = path @ index, port.get("name") or ""
        if name:
            out.each(here / "name", name, names.is_dns1123_label(name))
        if name in taken:
            out.duplicate(here / "name", name)
        taken.add(name)
        _protocol(port.get("protocol", ""), here / "protocol", out)
        _app_protocol(port, here, out)


def slice_warnings(obj: Obj, *, new: bool) -> list[str]:
    out: list[str] = []
    if obj.get("addressType") == "FQDN":
        if new:
            # upstream's path
            out.append(f"{Path('spec', 'addressType')}: FQDN endpoints are deprecated")
    elif (obj["metadata"].get("labels") or {}).get(MANAGED_BY) not in OWN:
        for index, endpoint in enumerate(obj.get("endpoints") or ()):
            for at, address in enumerate(endpoint.get("addresses") or ()):
                out += ips.ip_warnings(Path("endpoints") @ index / "addresses" @ at, address)
    return out

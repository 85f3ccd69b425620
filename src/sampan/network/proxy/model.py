"""A Service and its EndpointSlices, as ports with the endpoints that may be used from this node.

DEVIATION: zone and node hints of EndpointSlices are not followed, and IPv4 alone is served.

Source: kubernetes/pkg/proxy/{serviceport,endpoint,endpointslicecache,topology}.go, pkg/proxy/util/utils.go
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, collapse_addresses
from typing import Any, NamedTuple

Obj = dict[str, Any]
PROXY_NAME, HEADLESS = "service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"
SERVICE_NAME = "kubernetes.io/service-name"
AFFINITY_SECONDS = 10800


# NamedTuples here and in `frontends`: ten thousand Services are made into these at the start, and they take a quarter of
# the time that frozen dataclasses do


class Endpoint(NamedTuple):
    ip: str
    port: int


class Usable(NamedTuple):
    """`everywhere`: for traffic policy Cluster, and empty only if there is none at all; `here`: for Local."""

    everywhere: tuple[Endpoint, ...] = ()
    here: tuple[Endpoint, ...] = ()


class ServicePort(NamedTuple):
    """`affinity`: seconds, 0 for none. `external`: addresses of the world that lead here; `balancers`: more of them, which
    `sources` guards (empty: for all may come). `node_port` 0: none."""

    name: str
    protocol: str
    port: int
    node_port: int
    cluster_ip: str
    external: tuple[str, ...]
    balancers: tuple[str, ...]
    sources: tuple[IPv4Network, ...]
    affinity: int
    internal_local: bool
    external_local: bool
    usable: Usable


def is_served(service: Obj) -> bool:
    """By a proxy of no particular name."""
    spec = service["spec"]
    labels = service["metadata"].get("labels") or {}
    return (
        PROXY_NAME not in labels
        and spec.get("type") != "ExternalName"
        and spec.get("clusterIP", "") not in ("", "None")
    )


def ports_of(service: Obj, slices: Iterable[Obj], node: str) -> list[ServicePort]:
    """`node`: our name."""
    spec = service["spec"]
    cluster_ip = next((ip for ip in spec.get("clusterIPs") or [spec["clusterIP"]] if ":" not in ip), "")
    if not cluster_ip:
        return []
    candidates = _candidates(slices, node)
    external = tuple(ip for ip in spec.get("externalIPs") or () if ":" not in ip)
    balancers, sources = _balancers(service)
    affinity = 0
    if spec.get("sessionAffinity") == "ClientIP":
        config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        affinity = config.get("timeoutSeconds") or AFFINITY_SECONDS
    internal_local = spec.get("internalTrafficPolicy") == "Local"
    external_local = spec.get("externalTrafficPolicy") == "Local"
    return [
        ServicePort(
            port.get("name") or "", port.get("protocol", "TCP").lower(), port["port"], port.get("nodePort") or 0, cluster_ip,
            external, balancers, sources, affinity, internal_local, external_local,
            _usable(candidates.get((port.get("name") or "", port.get("protocol", "TCP")), {})),
        )
        for port in spec.get("ports") or ()
    ]  # fmt: skip


def _balancers(service: Obj) -> tuple[tuple[str, ...], tuple[IPv4Network, ...]]:
    if service["spec"].get("type") != "LoadBalancer":
        return (), ()
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    ips = tuple(each["ip"] for each in ingress if ":" not in each.get("ip", ":") and each.get("ipMode", "VIP") == "VIP")
    ranges = [IPv4Network(each.strip(), strict=False)
              for each in service["spec"].get("loadBalancerSourceRanges") or () if ":" not in each]  # fmt: skip
    return ips, tuple(collapse_addresses(ranges))


#: of an endpoint: it takes new connections; it ends, and takes them if nobody else does; it is on this node
_READY, _ENDING, _LOCAL = 1, 2, 4
_Candidates = dict[tuple[str, str], dict[Endpoint, int]]


def _candidates(slices: Iterable[Obj], node: str) -> _Candidates:
    """By name and protocol of the port."""
    out: _Candidates = {}
    for slice_ in slices:
        if slice_.get("addressType") != "IPv4":
            continue
        ports = [(out.setdefault((port.get("name") or "", port.get("protocol") or "TCP"), {}), port["port"])
                 for port in slice_.get("ports") or () if port.get("port")]  # fmt: skip
        for endpoint in slice_.get("endpoints") or ():
            flags = _state(endpoint.get("conditions") or {}) | (_LOCAL if endpoint.get("nodeName") == node else 0)
            for found, port in ports:
                key = Endpoint(endpoint["addresses"][0], port)
                if flags & _READY or key not in found:
                    found[key] = flags
    return out


def _state(conditions: Obj) -> int:
    if conditions.get("ready") is not False:
        return _READY
    return _ENDING if conditions.get("serving") and conditions.get("terminating") else 0


def _usable(found: dict[Endpoint, int]) -> Usable:
    """Those that are ready; where there are none, those that end. For all and for this node each by itself."""
    here = {key: flags for key, flags in found.items() if flags & _LOCAL}
    return Usable(_best(found), _best(here) if here else ())


def _best(found: dict[Endpoint, int]) -> tuple[Endpoint, ...]:
    ready = [key for key, flags in found.items() if flags & _READY]
    return tuple(sorted(ready or [key for key, flags in found.items() if flags & _ENDING]))


def ready_here(slices: Iterable[Obj], node: str) -> set[str]:
    """What a load balancer may count on: endpoints that end still serve, but it should send nothing new."""
    return {
        endpoint["addresses"][0]
        for slice_ in slices
        if slice_.get("addressType") == "IPv4"
        for endpoint in slice_.get("endpoints") or ()
        if endpoint.get("nodeName") == node and (endpoint.get("conditions") or {}).get("ready") is not False
    }


def local_ips(slices: Iterable[Obj], node: str) -> set[str]:
    """Pods that may meet themselves behind a Service: those of this node, and what is on no node."""
    return {
        endpoint["addresses"][0]
        for slice_ in slices
        if slice_.get("addressType") == "IPv4"
        for endpoint in slice_.get("endpoints") or ()
        if endpoint.get("nodeName", node) == node
    }

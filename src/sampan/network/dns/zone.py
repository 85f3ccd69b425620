"""Kubernetes' names, version 1.1 of their specification: which addresses, ports and names a name stands for.

Pure: a `World` and a question go in. A name that exists but has nothing of what was asked gives nothing (NODATA); one that does
not exist is `NoName` (NXDOMAIN). The difference matters to resolvers with search paths, which go on after either, and cache
them differently.

    SERVICE.NAMESPACE.svc.ZONE                     cluster IPs, or of a headless one all endpoints
    ENDPOINT.SERVICE.NAMESPACE.svc.ZONE            one endpoint, by hostname or by its address with dashes
    _PORT._PROTOCOL.SERVICE.NAMESPACE.svc.ZONE     the same, for SRV
    10-244-0-7.NAMESPACE.pod.ZONE                  a pod by its address

Source: https://github.com/kubernetes/dns/blob/master/docs/specification.md;
github.com/coredns/coredns plugin/kubernetes/{kubernetes,parse,reverse,ns}.go
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from sampan.network.dns import names
from sampan.network.dns.world import NO_PORT, Endpoint, Port, Service, World

VERSION = "1.1.0"
VERSION_TTL = 28800
SVC, POD, NS = "svc", "pod", "ns.dns"


class NoName(Exception):
    """There is no such name."""


@dataclass(frozen=True, slots=True)
class Options:
    """As the directive says. `pods`: disabled, insecure (any address is a pod's) or verified."""

    zones: tuple[str, ...]
    pods: str = "disabled"
    ttl: int = 5
    pod_names: bool = False
    namespaces: frozenset[str] = frozenset()
    ignore_empty: bool = False
    #: of the pod that the server runs in, for NS
    local: Sequence[str] = field(default=())

    @property
    def primary(self) -> str:
        """The zone that reverse names lead into."""
        return next(zone for zone in self.zones if not names.is_reverse(zone))


@dataclass(frozen=True, slots=True)
class Item:
    """`host`: an address, or where `external` the name of somebody else; `name`: what an SRV record calls it."""

    host: str
    port: int
    name: str
    external: bool = False


@dataclass(frozen=True, slots=True)
class _Request:
    kind: str = ""
    namespace: str = ""
    name: str = ""
    endpoint: str = ""
    port: str = ""
    protocol: str = ""


def _parse(name: str, zone: str) -> _Request:
    """Raises NoName."""
    base = name.removesuffix(zone if zone != "." else "").rstrip(".")
    if not base:
        return _Request()
    parts = base.split(".")
    kind = parts[-1]
    if kind not in (SVC, POD) or len(parts) > 5:
        raise NoName
    namespace = parts[-2] if len(parts) > 1 else ""
    service = parts[-3] if len(parts) > 2 else ""
    if len(parts) == 5:
        port, protocol = (each.removeprefix("_") for each in parts[:2])
        return _Request(kind, namespace, service, "", port, protocol)
    return _Request(kind, namespace, service, parts[0] if len(parts) == 4 else "")


class Zone:
    def __init__(self, world: World, options: Options) -> None:
        self.world = world
        self.options = options

    def find(self, name: str, zone: str) -> list[Item]:
        """All that `name`, in lower case, stands for in `zone`. Raises NoName."""
        if name == f"{NS}.{zone}":
            return [Item(ip, 0, name) for _, ip in self.servers(zone)]
        asked = _parse(name, zone)
        if not asked.kind:
            return []
        if names.is_reverse(name):
            raise NoName
        if not asked.namespace:
            return []
        if not self._exposed(asked.namespace):
            raise NoName
        if not asked.name:
            if asked.kind == POD and self.options.pods == "disabled":
                raise NoName
            return []
        return self._pod(asked, zone) if asked.kind == POD else self._service(asked, zone)

    def _exposed(self, namespace: str) -> bool:
        only = self.options.namespaces
        return namespace in self.world.namespaces and (not only or namespace in only)

    def _pod(self, asked: _Request, zone: str) -> list[Item]:
        text = asked.name
        text = text.replace("-", "." if text.count("-") == 3 and "--" not in text else ":")
        try:
            ip = str(ipaddress.ip_address(text))
        except ValueError:
            raise NoName from None
        mode = self.options.pods
        if mode == "disabled" or (mode == "verified" and not self.world.has_pod(asked.namespace, ip)):
            raise NoName
        return [Item(ip, 0, f"{asked.name}.{asked.namespace}.{POD}.{zone}")]

    def _service(self, asked: _Request, zone: str) -> list[Item]:
        service = self.world.services.get(f"{asked.namespace}/{asked.name}")
        if service is None:
            raise NoName
        name = f"{service.name}.{service.namespace}.{SVC}.{zone}"
        out: list[Item] = []
        if service.external_name:
            if not asked.endpoint and not names.is_ip(service.external_name):
                out.append(Item(names.fqdn(service.external_name), 0, name, external=True))
        elif service.headless or asked.endpoint:
            for endpoint, port in self._endpoints(service):
                host = self.hostname(endpoint)
                if (not asked.endpoint or asked.endpoint == host) and _matches(asked, port):
                    out.append(Item(endpoint.ip, port.port, f"{host}.{name}"))
        elif not self.options.ignore_empty or any(self._endpoints(service)):
            ports = [port for port in service.ports if _matches(asked, port)]
            out = [Item(ip, port.port, name) for port in ports for ip in service.addresses]
        if not out:
            raise NoName
        return out

    def _endpoints(self, service: Service) -> list[tuple[Endpoint, Port]]:
        slices = self.world.slices_of(f"{service.namespace}/{service.name}")
        return [(endpoint, port) for each in slices for endpoint in each.endpoints for port in each.ports]

    def hostname(self, endpoint: Endpoint) -> str:
        if endpoint.hostname:
            return endpoint.hostname
        if self.options.pod_names and endpoint.target:
            return endpoint.target
        return endpoint.ip.replace(".", "-").replace(":", "-")

    def pointers(self, name: str, zone: str) -> list[str]:
        """The names of a reverse name's address. Raises NoName."""
        ip = names.address(name)
        if not ip:
            self.find(name, zone)
            return []
        primary = self.options.primary
        for service in self.world.services_at(ip):
            if not self.options.namespaces or self._exposed(service.namespace):
                return [f"{service.name}.{service.namespace}.{SVC}.{primary}"]
        out = []
        for each in self.world.slices_at(ip):
            namespace, _, service_name = each.service.partition("/")
            if self.options.namespaces and not self._exposed(namespace):
                continue
            hosts = [self.hostname(endpoint) for endpoint in each.endpoints if endpoint.ip == ip]
            out += [f"{host}.{service_name}.{namespace}.{SVC}.{primary}" for host in hosts]
        if not out:
            raise NoName
        return list(dict.fromkeys(out))

    def servers(self, zone: str) -> list[tuple[str, str]]:
        """Names and addresses of the Services in front of us; without any, of ourselves."""
        out: list[tuple[str, str]] = []
        for local in self.options.local:
            for each in self.world.slices_at(local):
                service = self.world.services.get(each.service)
                if service is None:
                    continue
                name = f"{service.name}.{service.namespace}.{SVC}.{zone}"
                if service.headless:
                    out += [(f"{self.hostname(found)}.{name}", found.ip) for found in each.endpoints]
                else:
                    out += [(name, ip) for ip in service.addresses]
        return list(dict.fromkeys(out)) or [(f"{NS}.{zone}", ip) for ip in self.options.local]


def _matches(asked: _Request, port: Port) -> bool:
    return (not asked.port or asked.port == port.name) and (not asked.protocol or asked.protocol == port.protocol)


__all__ = ["NO_PORT", "Item", "NoName", "Options", "Zone"]

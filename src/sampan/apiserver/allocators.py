"""Cluster IPs and node ports: no two Services ever have the same.

What is taken is said by keys in the store: an `IPAddress` object for each cluster IP, a key under
`/registry/ranges/nodeports/` for each node port. They are written in the transaction that writes the Service, each on
the condition that nobody has it yet; so a request succeeds whole or fails whole, with several API servers too. What
requests under way have chosen is remembered in memory, so that they do not choose the same.

Source: kubernetes/pkg/registry/core/service/storage/alloc.go, ipallocator, portallocator
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sampan.api import errors
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.times import format_time
from sampan.api.validation.services import NODE_PORT_TYPES, needs_health_port
from sampan.apiserver.cache import encode
from sampan.apiserver.resource import storage_prefix
from sampan.store.contract import Compare, Delete, Op, Put

if TYPE_CHECKING:
    from sampan.apiserver.api import Api
    from sampan.apiserver.call import Call

PORTS_PREFIX = "/registry/ranges/nodeports/"
IPS_PREFIX = storage_prefix("networking.k8s.io", "ipaddresses")
SPEC = Path("spec")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(slots=True)
class Reservation:
    """Conditions and writes to add to the transaction; `undo` lets the choice go when it fails."""

    compare: list[Compare] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    pending: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)

    def undo(self) -> None:
        self.pending -= self.held
        self.held = set()


class Allocators:
    """`taken_ips` and `taken_ports` follow the store (see `observe`); `pending` are choices of requests under way."""

    def __init__(self, service_cidr: str, ports: tuple[int, int], rng: random.Random) -> None:
        self.rng = rng
        self.network = ipaddress.ip_network(service_cidr)
        self.ports = ports
        self.taken_ports: set[int] = set()
        self.pending: set[str] = set()

    def allocate(self, call: Call, obj: Obj, old: Obj | None) -> Reservation | None:
        """Complete a Service in place. Raises 422 for an address or port that is taken or out of range."""
        names = call.kind.names
        if names.resource != "services" or names.group or call.info.subresource:
            return None
        out = Reservation(pending=self.pending)
        problems = ErrorList()
        try:
            self._families(obj)
            self._addresses(call, obj, old, out, problems)
            self._node_ports(call, obj, old, out, problems)
            if problems:
                raise errors.invalid("", "Service", obj["metadata"].get("name", ""), problems)
        except errors.StatusError:
            out.undo()
            raise
        return out

    # -- addresses -----------------------------------------------------------------------------------------------------

    @property
    def family(self) -> str:
        return f"IPv{self.network.version}"

    def _families(self, obj: Obj) -> None:
        spec = obj["spec"]
        if spec.get("type") == "ExternalName":
            return
        headless = spec.get("clusterIP") == "None" and not spec.get("selector")
        if headless:
            policy = spec.setdefault("ipFamilyPolicy", "RequireDualStack")
            families = spec.get("ipFamilies") or [self.family]
            if len(families) == 1 and policy != "SingleStack":
                families = [families[0], "IPv6" if families[0] == "IPv4" else "IPv4"]
            spec["ipFamilies"] = families
            return
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        if not spec.get("ipFamilies"):
            spec["ipFamilies"] = [self.family]

    def _addresses(self, call: Call, obj: Obj, old: Obj | None, out: Reservation, problems: ErrorList) -> None:
        spec = obj["spec"]
        before = set(addresses(old)) if old else set()
        if spec.get("type") != "ExternalName" and spec.get("clusterIP") != "None":
            if spec.get("ipFamilyPolicy") == "RequireDualStack" or len(spec.get("ipFamilies", ())) > 1:
                if spec.get("ipFamilyPolicy") != "PreferDualStack":
                    detail = "this cluster is not configured for dual-stack services"
                    problems.invalid(SPEC / "ipFamilyPolicy", spec["ipFamilyPolicy"], detail)
                    return
                spec["ipFamilies"] = spec["ipFamilies"][:1]
            if spec.get("ipFamilies") and spec["ipFamilies"][0] != self.family:
                detail = "not configured on this cluster"
                problems.invalid(SPEC / "ipFamilies" @ 0, spec["ipFamilies"][0], detail)
                return
            # one without the other is refused by validation
            if not spec.get("clusterIP") and not spec.get("clusterIPs"):
                chosen = self._choose(call, out)
                spec["clusterIP"], spec["clusterIPs"] = chosen, [chosen]
        after = set(addresses(obj))
        for address in sorted(after - before):
            why = self._why_not(call, address, out)
            if why:
                shown = f"failed to allocate IP {address}: {why}"
                problems.invalid(SPEC / "clusterIPs", spec["clusterIPs"], shown)
                continue
            self._hold(out, address)
            key = (IPS_PREFIX + address).encode()
            out.compare.append(Compare(key, "mod", "=", 0))
            out.ops.append(Put(key, encode(self.ip_object(call.api, address, obj))))
        for address in sorted(before - after):
            out.ops.append(Delete((IPS_PREFIX + address).encode()))

    def _taken(self, call: Call, address: str) -> bool:
        return call.api.ip_addresses.get(address) is not None

    def networks(self, api: Api) -> list[Network]:
        """The ranges that ServiceCIDRs say may be given from, the one that the server was started with first."""
        out = []
        for record in api.cached("networking.k8s.io", "servicecidrs").list(""):
            range_ = record.obj()
            if "deletionTimestamp" not in range_["metadata"] and _is_ready(range_):
                out += [ipaddress.ip_network(text) for text in range_["spec"].get("cidrs") or ()]
        mine = dict.fromkeys(network for network in out if network.version == self.network.version)
        return sorted(mine, key=lambda network: network != self.network)

    def _why_not(self, call: Call, address: str, out: Reservation) -> str:
        if address in out.held:
            return ""
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return "not a valid IP address"
        containing = [network for network in self.networks(call.api) if ip in network]
        if not containing:
            return "the provided network does not match the current range"
        if not any(_is_host(ip, network) for network in containing):
            valid = f"The range of valid IPs is {containing[0]}"
            return f"the provided IP ({address}) is not in the valid range. {valid}"
        if self._taken(call, address) or address in self.pending:
            return "provided IP is already allocated"
        return ""

    def _choose(self, call: Call, out: Reservation) -> str:
        for network in self.networks(call.api):
            chosen = self._choose_of(network, call, out)
            if chosen is not None:
                return chosen
        raise errors.internal("failed to allocate a serviceIP: range is full")

    def _choose_of(self, network: Network, call: Call, out: Reservation) -> str | None:
        """A free address, at random from the upper part first, as static ones are given from the lower."""
        size = network.num_addresses
        band = min(max(16, size // 16), 256) if size > 64 else 1
        for low, high in ((band, size - 2), (1, size - 2)):
            if high < low:
                continue
            for _ in range(64):
                address = str(network[self.rng.randint(low, high)])
                if not self._taken(call, address) and address not in self.pending:
                    self._hold(out, address)
                    return address
        for host in network.hosts():
            if not self._taken(call, str(host)) and str(host) not in self.pending:
                self._hold(out, str(host))
                return str(host)
        return None

    def _hold(self, out: Reservation, what: str) -> None:
        if what not in self.pending:
            self.pending.add(what)
            out.held.add(what)

    @staticmethod
    def ip_object(api: Api, address: str, service: Obj) -> Obj:
        """The IPAddress that says whose `address` is."""
        family = ipaddress.ip_address(address).version
        meta = service["metadata"]
        return {
            "kind": "IPAddress",
            "apiVersion": "networking.k8s.io/v1",
            "metadata": {
                "name": address,
                "uid": api.new_uid(),
                "creationTimestamp": format_time(api.clock()),
                "labels": {
                    "ipaddress.kubernetes.io/ip-family": f"IPv{family}",
                    "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
                },
            },
            "spec": {
                "parentRef": {"resource": "services", "namespace": meta["namespace"], "name": meta["name"]},
            },
        }

    # -- node ports ----------------------------------------------------------------------------------------------------

    def _node_ports(self, call: Call, obj: Obj, old: Obj | None, out: Reservation, problems: ErrorList) -> None:
        spec = obj["spec"]
        before = set(node_ports(old)) if old else set()
        wants = spec.get("type") == "NodePort" or (
            spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts", True)
        )
        fresh: set[int] = set()
        for index, port in enumerate(spec.get("ports") or () if spec.get("type") in NODE_PORT_TYPES else ()):
            asked = port.get("nodePort", 0)
            if asked and asked not in before and asked not in fresh:
                why = self._port_taken(asked)
                if why:
                    problems.invalid(SPEC / "ports" @ index / "nodePort", asked, why)
                    continue
                self._hold(out, f"port/{asked}")
                fresh.add(asked)
            elif wants and not asked:
                port["nodePort"] = (self._shared(spec, port) if old is None else 0) or self._choose_port(out)
                fresh.add(port["nodePort"])
        if needs_health_port(spec):
            asked = spec.get("healthCheckNodePort", 0)
            if not asked:
                spec["healthCheckNodePort"] = self._choose_port(out)
                fresh.add(spec["healthCheckNodePort"])
            elif asked not in before:
                why = self._port_taken(asked)
                if why:
                    problems.invalid(
                        SPEC / "healthCheckNodePort",
                        asked,
                        f"failed to allocate requested HealthCheck NodePort {asked}: {why}",
                    )
                else:
                    self._hold(out, f"port/{asked}")
                    fresh.add(asked)
        owner = f"{obj['metadata']['namespace']}/{obj['metadata']['name']}".encode()
        for number in sorted(fresh - before):
            key = f"{PORTS_PREFIX}{number}".encode()
            out.compare.append(Compare(key, "mod", "=", 0))
            out.ops.append(Put(key, owner))
        for number in sorted(before - set(node_ports(obj))):
            out.ops.append(Delete(f"{PORTS_PREFIX}{number}".encode()))

    @staticmethod
    def _shared(spec: Obj, port: Obj) -> int:
        """TCP and UDP on the same port of a new Service share a node port."""
        for other in spec["ports"]:
            same = other.get("port") == port.get("port") and other.get("protocol") != port.get("protocol")
            if same and other.get("nodePort"):
                return int(other["nodePort"])
        return 0

    def _port_taken(self, number: int) -> str:
        low, high = self.ports
        if not low <= number <= high:
            return f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
        if number in self.taken_ports or f"port/{number}" in self.pending:
            return "provided port is already allocated"
        return ""

    def _choose_port(self, out: Reservation) -> int:
        low, high = self.ports
        for _ in range(64):
            number = self.rng.randint(low + min(86, (high - low) // 2), high)
            if not self._port_taken(number):
                self._hold(out, f"port/{number}")
                return number
        for number in range(low, high + 1):
            if not self._port_taken(number):
                self._hold(out, f"port/{number}")
                return number
        raise errors.internal("failed to allocate a nodePort: range is full")

    # -- release and repair --------------------------------------------------------------------------------------------

    @staticmethod
    def release(call: Call, old: Obj) -> list[Op]:
        """Writes that let go what a deleted Service had."""
        if call.kind.names.resource != "services" or call.kind.names.group:
            return []
        out: list[Op] = [Delete((IPS_PREFIX + address).encode()) for address in addresses(old)]
        out.extend(Delete(f"{PORTS_PREFIX}{number}".encode()) for number in node_ports(old))
        return out

    async def repair(self, api: Api) -> None:
        """Write down what Services have and nobody noted; let go what is noted for no Service."""
        services = [record.obj() for record in api.cached("", "services").list("")]
        addresses_used = {address: service for service in services for address in addresses(service)}
        ports_used = {number: service for service in services for number in node_ports(service)}
        ops: list[Op] = []
        for address, service in addresses_used.items():
            if api.ip_addresses.get(address) is None:
                ops.append(Put((IPS_PREFIX + address).encode(), encode(self.ip_object(api, address, service))))
        for record in api.ip_addresses.list(""):
            labels = record.labels or {}
            if (
                labels.get("ipaddress.kubernetes.io/managed-by") == "ipallocator.k8s.io"
                and record.key not in addresses_used
            ):
                ops.append(Delete((IPS_PREFIX + record.key).encode()))
        for number, service in ports_used.items():
            if number not in self.taken_ports:
                owner = f"{service['metadata']['namespace']}/{service['metadata']['name']}".encode()
                ops.append(Put(f"{PORTS_PREFIX}{number}".encode(), owner))
        for number in self.taken_ports - set(ports_used):
            ops.append(Delete(f"{PORTS_PREFIX}{number}".encode()))
        for start in range(0, len(ops), 100):
            await api.store.txn((), ops[start : start + 100])

    def observe(self, key: str, present: bool) -> None:
        """A node port key came or went."""
        number = int(key.rpartition("/")[2])
        (self.taken_ports.add if present else self.taken_ports.discard)(number)


def _is_ready(range_: Obj) -> bool:
    """Where nobody has said anything of it yet, it is."""
    conditions = (range_.get("status") or {}).get("conditions") or ()
    return all(item["status"] == "True" for item in conditions if item["type"] == "Ready")


def _is_host(ip: Address, network: Network) -> bool:
    return ip != network[0] and (network.version == 6 or ip != network[-1])


def addresses(service: Obj) -> Iterable[str]:
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return ()
    return [address for address in spec.get("clusterIPs") or () if address and address != "None"]


def node_ports(service: Obj) -> Iterable[int]:
    spec = service["spec"]
    out = [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]
    if spec.get("healthCheckNodePort"):
        out.append(spec["healthCheckNodePort"])
    return out

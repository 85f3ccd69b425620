"""Nodes on one machine: each a network namespace, all of a cluster on one bridge.

    network = ClusterNetwork("default", choose(in_use()), run=Path("/run/sampan/default/net"))
    network.create()
    node = network.add("default-control-plane", 0)      # node.namespace: enter it, or nsenter --net=
    network.destroy()

Of the host's nothing is changed but the bridge, one nftables table and, where it was off, forwarding on the bridge and the
way out (noted in the bridge's alias, and taken back with the last cluster). Everything can be done again at any time, and
mends what is missing.

All names are made from the cluster's, so what a killed process left is found.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from sampan.network import firewalls, host_rules, namespaces
from sampan.network.host_rules import Published
from sampan.network.namespaces import inside, sysctl
from sampan.network.netlink import Link, Routing
from sampan.network.nft import Nft, NftError
from sampan.network.ranges import NOTED, Ranges, note, noted

EVERYWHERE = IPv4Network("0.0.0.0/0")
LONGEST, MTU = 15, 1500
_NODE, _FORWARDING = "sampan node ", "; forwarding turned on: "


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    address: IPv4Address
    namespace: Path

    @property
    def enter(self) -> list[str]:
        """What to put before a command that shall run there."""
        return ["nsenter", f"--net={self.namespace}", "--"]


class ClusterNetwork:
    """`run`: directory of the namespaces' files. `host`: namespace of the bridge; None: where we are. Methods block, and
    raise OSError, NftError."""

    def __init__(self, cluster: str, ranges: Ranges, *, run: Path, host: Path | None = None) -> None:
        self.cluster, self.ranges, self.run, self.host = cluster, ranges, run, host
        self.bridge = short_name("sp-", cluster)
        self.table = f"sampan-{cluster}"

    # -- the cluster ---------------------------------------------------------------------------------------------------

    def create(
        self, published: Collection[Published] = (), resolver: IPv4Address | None = None, local: Collection[int] = ()
    ) -> None:
        """`published`: all ports of the host that lead to nodes. `resolver`: see `resolver.for_nodes`. `local`: ports of the
        host's loopback that nodes reach at the bridge's address."""
        with self._here() as (routing, nft):
            bridge = routing.link(self.bridge)
            if bridge is None:
                routing.add_bridge(self.bridge, mac_of(self.cluster))
                bridge = routing.link(self.bridge)
                assert bridge is not None  # made just now
                routing.set_link(bridge.index, alias=note(self.cluster, self.ranges))
            address = IPv4Interface((self.ranges.gateway, self.ranges.nodes.prefixlen))
            routing.add_address(bridge.index, address)
            nft.run(host_rules.program(self.table, self.bridge, self.ranges, published, resolver, local))
            sysctl(f"net/ipv4/conf/{self.bridge}/route_localnet", "1")  # for ports of the host's 127.0.0.1
            sysctl(f"net/ipv4/conf/{self.bridge}/forwarding", "1")
            turned_on = [
                each.name for each in _ways_out(routing) if sysctl(f"net/ipv4/conf/{each.name}/forwarding", "1")
            ]
            if turned_on:
                _note_forwarding(routing, self.bridge, turned_on)
            firewalls.let_through(nft, firewalls.Traffic.of_bridge(self.bridge, self.cluster))

    def rival(self) -> str:
        """Another cluster that is up with addresses of ours; "": none."""
        with self._here() as (routing, _):
            for link in routing.links():
                if link.name != self.bridge and any(
                    a.overlaps(b) for a in noted(link.alias) for b in self.ranges.all()
                ):
                    return link.alias.removeprefix(NOTED).partition(" ")[0]
        return ""

    def destroy(self) -> None:
        """Also if only half is there, or nothing. What runs in the nodes should have been ended."""
        with self._here() as (routing, nft):
            for link in routing.links():
                if link.alias.startswith(f"{_NODE}{self.cluster} "):
                    routing.delete_link(link.name)
            bridge = routing.link(self.bridge)
            if bridge is not None:
                _take_back_forwarding(routing, bridge)
                routing.delete_link(self.bridge)
            with contextlib.suppress(NftError):  # there is none
                nft.run(f"delete table ip {self.table}\n")
            firewalls.forget(nft, firewalls.Traffic.of_bridge(self.bridge, self.cluster))
        with contextlib.suppress(FileNotFoundError):
            for namespace in self.run.iterdir():
                namespaces.unpin(namespace)
            self.run.rmdir()

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def node(self, name: str, index: int) -> Node:
        return Node(name, self.ranges.node(index), self.run / name)

    def add(self, name: str, index: int) -> Node:
        """A node is the `index`th of its cluster for all its life: its address comes of it."""
        node = self.node(name, index)
        namespaces.pin(node.namespace)
        with self._here() as (routing, _), _in(node.namespace) as within:
            bridge = routing.link(self.bridge)
            if bridge is None:
                raise OSError(errno.ENODEV, f"there is no bridge {self.bridge}")
            here, there = routing.link(self._link(name)), within.link("eth0")
            if here is None or there is None or here.master != bridge.index:
                routing.delete_link(self._link(name))
                handle = os.open(node.namespace, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    ways = [each.mtu for each in _ways_out(routing)]
                    mac = mac_of(f"{self.cluster}/{name}")
                    routing.add_veth(self._link(name), "eth0", handle, mtu=min([MTU, *ways]), peer_mac=mac)
                finally:
                    os.close(handle)
                here, there = routing.link(self._link(name)), within.link("eth0")
                assert here is not None and there is not None  # made just now
                routing.set_link(
                    here.index, up=True, master=bridge.index, alias=f"{_NODE}{self.cluster} {name} {node.address}"
                )
                routing.hairpin(here.index)
                routing.enlarge(here.index)
                within.enlarge(there.index)
            within.set_link(1, up=True)
            within.set_link(there.index, up=True)
            within.add_address(there.index, IPv4Interface((node.address, self.ranges.nodes.prefixlen)))
            within.add_route(EVERYWHERE, there.index, gateway=self.ranges.gateway)
            with inside(node.namespace):
                sysctl("net.ipv4.ip_forward", "1")
        return node

    def remove(self, name: str) -> None:
        """Also if it is not there. What the host reached through it, it reaches through another at once: that the node is
        gone shows in the API only a while later."""
        with self._here() as (routing, _):
            gone = routing.link(self._link(name))
            routing.delete_link(self._link(name))
            rest = [each for each in routing.links() if each.alias.startswith(f"{_NODE}{self.cluster} ")]
            if gone is not None and rest:
                self._lead_round(routing, _address(gone), _address(rest[0]))
        namespaces.unpin(self.run / name)

    def _lead_round(self, routing: Routing, gone: IPv4Address, other: IPv4Address) -> None:
        ranges = (self.ranges.services, self.ranges.balancers)
        for route in routing.routes():
            if route.gateway == gone and any(route.to.subnet_of(each) for each in ranges):
                routing.add_route(route.to, route.index, gateway=other)

    def _link(self, node: str) -> str:
        return "spn" + hashlib.sha1(f"{self.cluster}/{node}".encode(), usedforsecurity=False).hexdigest()[:12]

    # -- the host's routes ---------------------------------------------------------------------------------------------

    def route(self, ways: Mapping[IPv4Network, IPv4Address]) -> None:
        """What of the cluster's pods, services and balancers the host reaches through which node; nothing else."""
        with self._here() as (routing, _):
            bridge = routing.link(self.bridge)
            if bridge is not None:
                set_routes(routing, bridge.index, ways, (self.ranges.pods, self.ranges.services, self.ranges.balancers))

    @contextlib.contextmanager
    def _here(self) -> Iterator[tuple[Routing, Nft]]:
        with inside(self.host):
            nft = Nft()
            try:
                with Routing() as routing:
                    yield routing, nft
            finally:
                nft.close()


def set_routes(
    routing: Routing, index: int, ways: Mapping[IPv4Network, IPv4Address], within: Collection[IPv4Network]
) -> None:
    """Routes of one link to parts of `within` are these, and no others. Raises OSError."""
    known = {each.to: each.gateway for each in routing.routes() if each.index == index and each.gateway is not None}
    for to, gateway in ways.items():
        if known.get(to) != gateway:
            routing.add_route(to, index, gateway=gateway)
    for to in known.keys() - ways.keys():
        if any(to.subnet_of(each) for each in within):
            routing.delete_route(to)


def short_name(prefix: str, name: str) -> str:
    """At most as long as a link's name may be; names that differ stay different."""
    if len(prefix) + len(name) <= LONGEST:
        return prefix + name
    digest = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:5]
    return f"{prefix}{name[: LONGEST - len(prefix) - 6]}-{digest}"


def _address(link: Link) -> IPv4Address:
    return IPv4Address(link.alias.rpartition(" ")[2])


def mac_of(name: str) -> bytes:
    """Locally administered, and the same each time: who is gone and comes back is known to its neighbours."""
    return b"\x02" + hashlib.sha1(name.encode(), usedforsecurity=False).digest()[:5]


@contextlib.contextmanager
def _in(namespace: Path) -> Iterator[Routing]:
    with inside(namespace):
        routing = Routing()
    with routing:
        yield routing


def _ways_out(routing: Routing) -> list[Link]:
    wanted = {each.index for each in routing.routes() if each.to == EVERYWHERE}
    return [each for each in routing.links() if each.index in wanted]


def _note_forwarding(routing: Routing, bridge: str, names: Collection[str]) -> None:
    """In the kernel, where it is forgotten together with what it is about."""
    link = routing.link(bridge)
    if link is not None:
        head, _, noted = link.alias.partition(_FORWARDING)
        every = dict.fromkeys([*noted.split(), *names])
        routing.set_link(link.index, alias=f"{head}{_FORWARDING}{' '.join(every)}")


def _take_back_forwarding(routing: Routing, bridge: Link) -> None:
    """Unless another cluster needs it, or somebody else has meanwhile turned it on for all."""
    names = bridge.alias.partition(_FORWARDING)[2].split()
    others = [each for each in routing.links() if each.alias.startswith(NOTED) and each.index != bridge.index]
    if names and others:
        _note_forwarding(routing, others[0].name, names)
    elif names and Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "0":
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # the link is gone
                sysctl(f"net/ipv4/conf/{name}/forwarding", "0")

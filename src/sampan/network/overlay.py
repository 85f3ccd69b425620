"""The way to pods of nodes that are not on our wire: VXLAN, one device for each node.

A node's end of it has the first address of its pod range, and a MAC made of that: so whoever knows a node's range and its
address knows all. For each other node there are a route to its pods, the MAC of its end, and behind which address that MAC
is. Nothing is asked for or learnt on the way.

Packets are longer outside by OVERHEAD, and the device takes less accordingly. Pods that come later have the same limit; to
those that were there before the node says so (ICMP "fragmentation needed").

Network number and port are flannel's, which firewalls' recipes know.

Source: flannel-io/flannel pkg/backend/vxlan/{vxlan,vxlan_network,device}.go
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from sampan.network.netlink import Neighbour, Routing

DEVICE, NUMBER, PORT = "sampan-vxlan", 1, 8472
OVERHEAD = 50
MODES = ("auto", "routes", "vxlan")
MARK = "sampan overlay"


def end_of(pods: IPv4Network) -> IPv4Address:
    """What a node with these pods has at its end; no pod is given it."""
    return pods.network_address


def mac_of(pods: IPv4Network) -> bytes:
    """Locally administered, as everything that nobody has bought."""
    return b"\x0e\x53" + end_of(pods).packed


def set_overlay(
    routing: Routing, own: IPv4Network | None, ways: Mapping[IPv4Network, IPv4Address], *, takes: int
) -> None:
    """`own`: our pods (None: not known yet); `ways`: other nodes' pods and these nodes' addresses; `takes`: the MTU of the
    link that leads there. What was before goes, without any `ways` all of it. Raises OSError."""
    if own is None or not ways:
        remove(routing)
        return
    index = _device(routing, own, takes - OVERHEAD)
    wanted = {Neighbour(end_of(pods), mac_of(pods)) for pods in ways}
    wanted |= {Neighbour(address, mac_of(pods), forwarding=True) for pods, address in ways.items()}
    known = routing.neighbours(index)
    # the old first: a MAC that has moved is behind two addresses otherwise
    for each in known - wanted:
        routing.delete_neighbour(index, each)
    for each in wanted - known:
        routing.add_neighbour(index, each)
    routes = {each.to: each for each in routing.routes() if each.index == index}
    for pods in ways:
        known_way = routes.pop(pods, None)
        if known_way is None or known_way.gateway != end_of(pods):
            routing.add_route(pods, index, gateway=end_of(pods))
    for to in routes:
        routing.delete_route(to)


def remove(routing: Routing) -> bool:
    """Routes and neighbours go with it. False: there is none."""
    return routing.delete_link(DEVICE)


def _device(routing: Routing, own: IPv4Network, takes: int) -> int:
    """Its index; made anew if it is of another range."""
    mac, found = mac_of(own), routing.link(DEVICE)
    if found is not None and found.mac != mac.hex(":"):
        remove(routing)
        found = None
    if found is None:
        routing.add_vxlan(DEVICE, NUMBER, PORT, mac=mac, mtu=takes)
        found = routing.link(DEVICE)
        assert found is not None  # made just now
        routing.set_link(found.index, alias=f"{MARK} {own}")
    elif found.mtu != takes or not found.up:
        routing.set_link(found.index, up=True, mtu=takes)
    routing.add_address(found.index, IPv4Interface((end_of(own), 32)))
    return found.index

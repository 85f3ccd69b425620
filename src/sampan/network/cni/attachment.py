"""A pod's link: a veth pair, a /32 at the pod's end and a route to it at ours.

The pod has all else behind 169.254.1.1, which every host end answers for. There is no bridge, so nothing depends on
br_netfilter or on hairpin ports, and one pod cannot see another's frames.

Source: calico's cni-plugin (the shape); containernetworking/plugins plugins/main/ptp
"""

from __future__ import annotations

import hashlib
import os
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from sampan.network.namespaces import inside, sysctl
from sampan.network.netlink import LINK, UNIVERSE, Link, Routing
from sampan.network.overlay import DEVICE

GATEWAY = IPv4Address("169.254.1.1")
ETHERNET = 1500
EVERYWHERE = IPv4Network("0.0.0.0/0")
#: how host ends are known, to be found again without any record
MARK = "sampan pod "


def link_name(sandbox: str, interface: str) -> str:
    """Of the host end: the same each time, at most 15 characters."""
    return "veth" + hashlib.sha1(f"{sandbox}/{interface}".encode(), usedforsecurity=False).hexdigest()[:11]


def attach(
    host: Routing, name: str, interface: str, namespace: Path, address: IPv4Address, *, owner: str, mtu: int,
    source: IPv4Address | None,
) -> tuple[Link, Link]:  # fmt: skip
    """`host`: a socket where the host end shall be; this thread is there too. `source`: what the pod knows the node by.
    Returns both ends. Raises OSError; nothing is left then."""
    host.delete_link(name)  # of an attempt that was cut off
    with inside(namespace):
        pod = Routing()
    target = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        host.add_veth(name, interface, target, mtu=mtu)
        here = host.link(name)
        there = pod.link(interface)
        assert here is not None and there is not None  # both were made by the call before
        host.set_link(here.index, alias=MARK + owner)
        # a port of 127.0.0.1 can lead to a pod, and its answers must find the way back
        sysctl(f"net/ipv4/conf/{name}/route_localnet", "1")
        # not of the universe, so that masquerading and routes choose the node's own address instead
        host.add_address(here.index, IPv4Interface((GATEWAY, 32)), LINK)
        host.add_route(IPv4Network(address), here.index, source=source)
        if host.link(DEVICE) is None:  # it would cut each into packets of the wire's size, at a third of the speed
            host.enlarge(here.index)
            pod.enlarge(there.index)
        pod.set_link(there.index, up=True)
        pod.add_address(there.index, IPv4Interface((address, 32)))
        pod.add_route(IPv4Network(GATEWAY), there.index)
        pod.add_route(EVERYWHERE, there.index, gateway=GATEWAY)
    except OSError:
        host.delete_link(name)
        raise
    finally:
        os.close(target)
        pod.close()
    return here, there


def check(namespace: Path, interface: str, address: IPv4Address) -> str:
    """What is wrong with the pod's end; empty: nothing. Raises OSError."""
    with inside(namespace):
        pod = Routing()
    with pod:
        link = pod.link(interface)
        if link is None:
            return f"interface {interface} does not exist"
        if not any(each.index == link.index and each.interface.ip == address for each in pod.addresses()):
            return f"interface {interface} does not have the address {address}"
        if not any(each.to == EVERYWHERE and each.gateway == GATEWAY for each in pod.routes()):
            return "there is no default route"
    return ""


def way_out_mtu(host: Routing) -> int:
    """Of that to the world, or to other nodes where it takes less. 0: there is none, or it takes more than the kernel gives
    anyway."""
    indexes = {each.index for each in host.routes() if each.to == EVERYWHERE}
    found = min((each.mtu for each in host.links() if each.index in indexes or each.name == DEVICE), default=0)
    return found if found < ETHERNET else 0


def node_address(host: Routing) -> IPv4Address | None:
    """What pods know the node by: the address it uses towards the world, or the first that others can know."""
    routes = [each for each in host.routes() if each.to == EVERYWHERE]
    if routes and routes[0].source is not None:
        return routes[0].source
    links = {each.index for each in host.links() if not each.loopback}
    known = [each for each in host.addresses() if each.scope == UNIVERSE and each.index in links]
    on_way_out = [each for each in known if routes and each.index == routes[0].index]
    return next((each.interface.ip for each in on_way_out or known), None)

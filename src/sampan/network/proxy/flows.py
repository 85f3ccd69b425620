"""What the kernel remembers against the rules: UDP flows to endpoints that are gone, clients that are to stay with them.

Source: kubernetes/pkg/proxy/conntrack/cleanup.go
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from ipaddress import IPv4Address
from typing import Any

from sampan.network.conntrack import Flow


def stale(moved: Mapping[str, frozenset[str]], own: Collection[IPv4Address]) -> Callable[[Flow], bool]:
    """Of the UDP flows to frontends that moved: those that go to what is no endpoint of them. `own`: the addresses of this
    node, at which node ports are."""
    ips: dict[tuple[str, int], frozenset[str]] = {}
    ports: dict[int, frozenset[str]] = {}
    for key, endpoints in moved.items():
        *ip, protocol, port = key.split(" . ")
        if protocol == "udp" and ip:
            ips[ip[0], int(port)] = endpoints
        elif protocol == "udp":
            ports[int(port)] = endpoints
    mine = frozenset(own)

    def is_stale(flow: Flow) -> bool:
        led = ips.get((str(flow.to), flow.port))
        if led is None and (flow.to in mine or flow.to.is_loopback):
            led = ports.get(flow.port)
        return led is not None and f"{flow.answers_from} . {flow.answering_port}" not in led

    return is_stale


def has_udp(moved: Collection[str]) -> bool:
    return any("udp . " in key for key in moved)


def forgotten(listed: list[dict[str, Any]], moved: Mapping[str, frozenset[str]]) -> list[str]:
    """Elements of the map `affinity`, as nft lists it, that lead to what is no endpoint any more."""
    out = []
    for each in listed:
        for key, value in each.get("map", {}).get("elem") or ():
            client, ip, protocol, port = _words(key)
            led = moved.get(f"{ip} . {protocol} . {port}", moved.get(f"{protocol} . {port}"))
            if led is not None and " . ".join(_words(value)) not in led:
                out.append(f"{client} . {ip} . {protocol} . {port}")
    return out


def _words(element: Any) -> list[str]:
    inner = element.get("elem", element)
    return [str(each) for each in inner.get("val", inner)["concat"]]

"""Ports of the node that lead to a pod, and the pods' way out, as one nftables table.

Its rules are always the same; pods come and go as elements of its maps.

Source: containernetworking/plugins plugins/meta/portmap, pkg/ip/ipmasq_linux.go
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from sampan.network.cni.addresses import HostPort, Owner
from sampan.network.nft import elements, replaced

_PROGRAM = """\
table ip {table} {{
  map ports {{ type inet_proto . inet_service : ipv4_addr . inet_service; {ports} }}
  map ports-of {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; {ports_of} }}
  set self {{ type ipv4_addr . ipv4_addr; {self} }}
  chain translate {{
    meta l4proto {{ tcp, udp, sctp }} dnat ip to ip daddr . meta l4proto . th dport map @ports-of;
    meta l4proto {{ tcp, udp, sctp }} dnat ip to meta l4proto . th dport map @ports;
  }}
  chain prerouting {{ type nat hook prerouting priority -100; policy accept; fib daddr type local jump translate; }}
  chain output {{ type nat hook output priority -100; policy accept; fib daddr type local jump translate; }}
  chain postrouting {{
    type nat hook postrouting priority 100; policy accept;
    ip saddr . ip daddr @self masquerade;
    ip saddr 127.0.0.0/8 oifname != "lo" masquerade;
{masquerade}  }}
  chain input {{
    type filter hook input priority 0; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 ct state new drop;
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Way:
    """`pods`: whose packets; `unchanged`: where they are let go with the pod's own address. None: nowhere changed."""

    pods: IPv4Network
    unchanged: IPv4Network | None


def program(table: str, way: Way | None, attachments: Mapping[IPv4Address, Owner]) -> str:
    """All of it, in the place of what was there."""
    every = [_elements(address, owner.ports) for address, owner in attachments.items()]

    def listed(name: str) -> str:
        found = [element for each in every for element in each[name]]
        return f"elements = {{ {', '.join(found)} }}" if found else ""

    masquerade = ""
    if way is not None and way.unchanged is not None:
        masquerade = f"    ip saddr {way.pods} ip daddr != {{ {way.unchanged}, 224.0.0.0/4 }} masquerade;\n"
    text = _PROGRAM.format(
        table=table, ports=listed("ports"), ports_of=listed("ports-of"), self=listed("self"), masquerade=masquerade
    )
    return replaced(table, text)


def change(verb: str, table: str, address: IPv4Address, ports: Iterable[HostPort]) -> str:
    """`add` or `delete` one pod's."""
    return "".join(
        elements(verb, table, name, found) for name, found in _elements(address, tuple(ports)).items() if found
    )


def _elements(address: IPv4Address, ports: tuple[HostPort, ...]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {"ports": [], "ports-of": [], "self": []}
    for each in ports:
        target = f"{each.protocol} . {each.host_port} : {address} . {each.port}"
        if each.host_ip in ("", "0.0.0.0"):
            out["ports"].append(target)
        else:
            out["ports-of"].append(f"{each.host_ip} . {target}")
    if ports:
        out["self"].append(f"{address} . {address}")
    return out

"""A cluster's one table on the host: its way out, its ports on the host's addresses, and no way in for others.

Source: moby libnetwork/drivers/bridge (what a bridge of containers needs)
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address

from sampan.network.nft import replaced
from sampan.network.ranges import Ranges

_PROGRAM = """\
table ip {table} {{
  map ports {{ type inet_proto . inet_service : ipv4_addr . inet_service; {ports} }}
  map ports-of {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; {ports_of} }}
  chain translate {{
    meta l4proto {{ tcp, udp, sctp }} dnat ip to ip daddr . meta l4proto . th dport map @ports-of;
    meta l4proto {{ tcp, udp, sctp }} dnat ip to meta l4proto . th dport map @ports;
  }}
  chain prerouting {{
    type nat hook prerouting priority -100; policy accept;
{resolver}    fib daddr type local jump translate;
  }}
  chain output {{ type nat hook output priority -100; policy accept; fib daddr type local jump translate; }}
  chain postrouting {{
    type nat hook postrouting priority 100; policy accept;
    ip saddr 127.0.0.0/8 oifname "{bridge}" masquerade;
    ip saddr {{ {inside} }} oifname "{bridge}" ct status dnat masquerade;
    ip saddr {{ {inside} }} ip daddr != {{ {inside}, 224.0.0.0/4 }} oifname != "{bridge}" masquerade;
  }}
  chain forward {{
    type filter hook forward priority 0; policy accept;
    iifname "{bridge}" accept;
    oifname "{bridge}" ct state established,related accept;
    oifname "{bridge}" ct status dnat accept;
    oifname "{bridge}" drop;
  }}
  chain input {{
    type filter hook input priority 0; policy accept;
    iifname "{bridge}" ip daddr 127.0.0.0/8 ct status dnat accept;
    iifname "{bridge}" ip daddr 127.0.0.0/8 ct state new drop;
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Published:
    """A port of the host that leads to a port of a node. `listen` empty: all of the host's addresses. `protocol`: tcp,
    udp or sctp."""

    node: IPv4Address
    node_port: int
    host_port: int
    protocol: str = "tcp"
    listen: str = ""


def program(
    table: str, bridge: str, ranges: Ranges, published: Collection[Published], resolver: IPv4Address | None = None,
    local: Collection[int] = (),
) -> str:  # fmt: skip
    """In the place of what was there. `resolver`: on the host's loopback, for who asks the bridge's own address. `local`:
    TCP ports of the host's loopback that are reached so too."""
    everywhere, at_one = [], []
    for each in published:
        element = f"{each.protocol} . {each.host_port} : {each.node} . {each.node_port}"
        if each.listen in ("", "0.0.0.0"):
            everywhere.append(element)
        else:
            at_one.append(f"{each.listen} . {element}")
    text = _PROGRAM.format(
        table=table, bridge=bridge, inside=f"{ranges.nodes}, {ranges.pods}", ports=_listed(everywhere),
        ports_of=_listed(at_one), resolver=(_resolver(bridge, ranges.gateway, resolver) if resolver else "") + _local(bridge, ranges.gateway, local),
    )  # fmt: skip
    return replaced(table, text)


def _listed(elements: list[str]) -> str:
    return f"elements = {{ {', '.join(elements)} }}" if elements else ""


def _local(bridge: str, gateway: IPv4Address, ports: Collection[int]) -> str:
    match = f'    iifname "{bridge}" ip daddr {gateway}'
    return "".join(f"{match} tcp dport {port} dnat to 127.0.0.1;\n" for port in ports)


def _resolver(bridge: str, gateway: IPv4Address, resolver: IPv4Address) -> str:
    match = f'    iifname "{bridge}" ip daddr {gateway}'
    return "".join(f"{match} {protocol} dport 53 dnat to {resolver};\n" for protocol in ("udp", "tcp"))

"""Zones and names: which zone a name is in, and what an address is called in reverse.

Source: github.com/coredns/coredns plugin/normalize.go, plugin/pkg/dnsutil/reverse.go, plugin/pkg/cidr
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

_V4, _V6 = ".in-addr.arpa.", ".ip6.arpa."
_PORT = re.compile(r":\d+$")


def fqdn(name: str) -> str:
    return name if name.endswith(".") else f"{name}."


def within(name: str, zone: str) -> bool:
    """Both in lower case, with the final dot."""
    return zone == "." or name == zone or name.endswith("." + zone)


def longest(zones: Iterable[str], name: str) -> str:
    """The zone that a name is in; empty if in none."""
    best = ""
    for zone in zones:
        if len(zone) > len(best) and within(name, zone):
            best = zone
    return best


def zones(host: str) -> list[str]:
    """A zone as it is written in a Corefile, perhaps with scheme and port, or a network; a network whose size is not of
    whole labels is several zones."""
    scheme, found, rest = host.partition("://")
    bare = rest if found else scheme
    if "/" in bare:
        network, size = bare.partition("/")[::2]
        bare = f"{network}/{_PORT.sub('', size)}"
        try:
            return [_reverse_zone(part) for part in _whole(ipaddress.ip_network(bare, strict=False))]
        except ValueError:
            return [fqdn(bare.lower())]
    if bare.count(":") <= 1:
        bare = _PORT.sub("", bare)
    try:
        return [reverse(str(ipaddress.ip_address(bare)))]
    except ValueError:
        return [fqdn(bare.lower())]


def all_zones(hosts: Iterable[str]) -> list[str]:
    return [zone for host in hosts for zone in zones(host)]


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _whole(network: Network) -> list[Network]:
    step = 8 if network.version == 4 else 4
    size = -(-network.prefixlen // step) * step
    return list(network.subnets(new_prefix=size)) if size > network.prefixlen else [network]


def _reverse_zone(network: Network) -> str:
    step = 8 if network.version == 4 else 4
    whole = reverse(str(network.network_address)).split(".")
    kept = network.prefixlen // step
    total = network.max_prefixlen // step
    return ".".join(whole[total - kept :])


def reverse(ip: str) -> str:
    """`10.0.0.1` is `1.0.0.10.in-addr.arpa.`"""
    return ipaddress.ip_address(ip).reverse_pointer + "."


def is_reverse(name: str) -> bool:
    return name.endswith((_V4, _V6)) or name in (_V4[1:], _V6[1:])


def address(name: str) -> str:
    """What a whole reverse name stands for; empty for any other."""
    if name.endswith(_V4):
        parts = name[: -len(_V4)].split(".")
        text = ".".join(reversed(parts)) if len(parts) == 4 else ""
    elif name.endswith(_V6):
        digits = name[: -len(_V6)].split(".")
        joined = "".join(reversed(digits))
        good = len(digits) == 32 and all(len(each) == 1 for each in digits)
        text = ":".join(joined[at : at + 4] for at in range(0, 32, 4)) if good else ""
    else:
        return ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True

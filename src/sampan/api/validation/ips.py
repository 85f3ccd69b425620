"""IP addresses and CIDRs in fields: what is refused, and what is let through with a warning.

Older fields took what older Go did (`010.0.0.1`, `::ffff:1.2.3.4`, a CIDR with host bits), so an update may keep what
is there; nothing new of that kind is let in. Nothing ever takes a zone (`fe80::1%eth0`).

Source: k8s.io/apimachinery/pkg/util/validation/ip.go; ValidateNonSpecialIP
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from sampan.api.field import ErrorList, Path, go_quote

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
_QUAD = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
WRONG_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
WRONG_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


@functools.lru_cache(maxsize=4096)
def parse_ip(text: str) -> Address | None:
    """Leading zeros are nothing but zeros."""
    if "%" in text or len(text) > 64:
        return None
    if _QUAD.fullmatch(text):
        text = ".".join(str(int(part)) for part in text.split("."))
    try:
        return ip_address(text)
    except ValueError:
        return None


def parse_cidr(text: str) -> Network | None:
    address, slash, length = text.partition("/")
    parsed = parse_ip(address)
    if parsed is None or not slash or not re.fullmatch("[0-9]{1,8}", length):
        return None
    if int(length) > parsed.max_prefixlen:
        return None
    return ip_network(f"{parsed}/{int(length)}", strict=False)


def legacy_ip(text: str, old: Collection[str] = ()) -> list[str]:
    """`old`: those that the object had before, which are taken as they are."""
    return [] if text in old else strict_ip(text)


def legacy_cidr(text: str, old: Collection[str] = ()) -> list[str]:
    return [] if text in old else strict_cidr(text)


def strict_ip(text: str) -> list[str]:
    parsed = parse_ip(text)
    if parsed is None:
        return [WRONG_IP]
    if _leading_zero(text):
        return ["must not have leading 0s"]
    return ["must not be an IPv4-mapped IPv6 address"] if _mapped(parsed) else []


def strict_cidr(text: str) -> list[str]:
    network = parse_cidr(text)
    if network is None:
        return [WRONG_CIDR]
    address, _, length = text.partition("/")
    if _leading_zero(address) or (length != "0" and length.startswith("0")):
        return ["must not have leading 0s in IP or prefix length"]
    parsed = parse_ip(address)
    if _mapped(parsed):
        return ["must not have an IPv4-mapped IPv6 address"]
    return [] if parsed == network.network_address else ["must not have bits set beyond the prefix length"]


def _leading_zero(text: str) -> bool:
    return bool(_QUAD.fullmatch(text)) and any(part != "0" and part.startswith("0") for part in text.split("."))


def _mapped(address: Address | None) -> bool:
    return isinstance(address, IPv6Address) and address.ipv4_mapped is not None


def is_dual_stack(texts: list[str]) -> bool:
    """Valid addresses (or CIDRs) of both families."""
    found = [parse_cidr(text) if "/" in text else parse_ip(text) for text in texts]
    return {item.version for item in found if item is not None} == {4, 6}


def non_special(text: str, path: Path, out: ErrorList) -> None:
    """No address of the host itself or of one link."""
    parsed = parse_ip(text)
    if parsed is None:
        out.invalid(path, text, "must be a valid IP address")
        return
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    if parsed.is_unspecified:
        out.invalid(path, text, f"may not be unspecified ({text})")
    if parsed.is_loopback:
        out.invalid(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if parsed.is_link_local:
        out.invalid(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if parsed.is_multicast and _is_link_local_multicast(parsed):
        out.invalid(path, text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")


def _is_link_local_multicast(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return address in IPv4Network("224.0.0.0/24")
    return address.packed[1] & 0x0F == 2


# -- warnings ----------------------------------------------------------------------------------------------------------


def ip_warnings(path: Path, text: str) -> list[str]:
    said = odd_ip(text)
    return [f"{path}: {said}"] if said else []


@functools.lru_cache(maxsize=4096)
def odd_ip(text: str) -> str:
    """What is to be said of how an address is written; empty: nothing."""
    parsed = parse_ip(text)
    if parsed is None:
        return ""
    if _leading_zero(text) or _mapped(parsed):
        better = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else parsed
        return (
            f"non-standard IP address {go_quote(text)} will be considered invalid in a future Kubernetes release: "
            f"use {go_quote(str(better))}"
        )
    if parsed.version == 6 and str(parsed) != text:
        return f"IPv6 address {go_quote(text)} should be in RFC 5952 canonical format ({go_quote(str(parsed))})"
    return ""


def cidr_warnings(path: Path, text: str) -> list[str]:
    network = parse_cidr(text)
    if network is None:
        return []
    problems = strict_cidr(text)
    if problems == ["must not have bits set beyond the prefix length"]:
        host = str(parse_ip(text.partition("/")[0]))
        single = f"{host}/{network.max_prefixlen}"
        return [
            f"{path}: CIDR value {go_quote(text)} is ambiguous in this context (should be {go_quote(str(network))} or "
            f"{go_quote(single)}?)"
        ]
    if problems:
        return [
            f"{path}: non-standard CIDR value {go_quote(text)} will be considered invalid in a future Kubernetes "
            f"release: use {go_quote(str(network))}"
        ]
    if network.version == 6 and str(network) != text:
        return [
            f"{path}: IPv6 CIDR value {go_quote(text)} should be in RFC 5952 canonical format ({go_quote(str(network))})"
        ]
    return []

"""IP addresses and CIDRs: no zones, no IPv4 in IPv6.

Source: k8s.io/apiserver/pkg/cel/library/{ip,cidr}.go, Go's net/netip
"""

from __future__ import annotations

import ipaddress

from sampan.api.cel.errors import EvaluationError
from sampan.api.cel.functions import Library
from sampan.api.cel.values import Opaque

network = Library()
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_ZERO_4, _ONES_4 = ipaddress.IPv4Address(0), ipaddress.IPv4Address(0xFFFFFFFF)


class Ip(Opaque):
    __slots__ = ("address",)
    type_name = "net.IP"

    def __init__(self, address: Address) -> None:
        self.address = address

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ip) and other.address == self.address

    def __hash__(self) -> int:
        return hash(self.address)

    def __str__(self) -> str:
        return str(self.address)

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.address.packed)


class Cidr(Opaque):
    """The address is kept as written: it may have bits beyond the prefix."""

    __slots__ = ("address", "bits")
    type_name = "net.CIDR"

    def __init__(self, address: Address, bits: int) -> None:
        self.address = address
        self.bits = bits

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cidr) and (other.address, other.bits) == (self.address, self.bits)

    def __hash__(self) -> int:
        return hash((self.address, self.bits))

    def __str__(self) -> str:
        return f"{self.address}/{self.bits}"

    @property
    def size(self) -> int:
        """The prefix, in whole bytes."""
        return -(-self.bits // 8)

    def masked(self) -> Cidr:
        shift = self.address.max_prefixlen - self.bits
        return Cidr(type(self.address)(int(self.address) >> shift << shift), self.bits)

    def contains(self, address: Address) -> bool:
        shift = self.address.max_prefixlen - self.bits
        return address.version == self.address.version and int(address) >> shift == int(self.address) >> shift


def _address(text: str) -> Address:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise EvaluationError(
            f'IP Address "{text}" parse error during conversion from string: ParseAddr("{text}"): {_why(text)}'
        ) from None
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id is not None:
            raise EvaluationError(f'IP address "{text}" with zone value is not allowed')
        if found.ipv4_mapped is not None:
            raise EvaluationError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return found


def _why(text: str) -> str:
    """Go's reason, where it is a simple one."""
    if ":" in text or "." not in text:
        return "unable to parse IP" if ":" not in text else "IPv6 address string is invalid"
    fields = text.split(".")
    if len(fields) != 4:
        return "IPv4 address too short" if len(fields) < 4 else "IPv4 address too long"
    for field in fields:
        if field.isdigit() and len(field) > 1 and field[0] == "0":
            return "IPv4 field has octet with leading zero"
        if field.isdigit() and int(field[:9]) > 255:
            return "IPv4 field has value >255"
    return "unexpected character"


def _ip(text: str) -> Ip:
    return Ip(_address(text))


def _is_ip(text: str) -> bool:
    try:
        _address(text)
    except EvaluationError:
        return False
    return True


def _cidr(text: str) -> Cidr:
    wrong = "network address parse error during conversion from string: "
    head, slash, tail = text.rpartition("/")
    if not slash:
        raise EvaluationError(f"{wrong}{wrong}netip.ParsePrefix(\"{text}\"): no '/'")
    try:
        address = _address(head)
    except EvaluationError as error:
        reason = str(error)
        if "not allowed" in reason:
            shown = f'IPv4-mapped IPv6 address "{text}" is not allowed'
            raise EvaluationError(wrong + (shown if "mapped" in reason else reason)) from None
        raise EvaluationError(f'{wrong}{wrong}netip.ParsePrefix("{text}"): ParseAddr("{head}"): {_why(head)}') from None
    if not (tail.isascii() and tail.isdigit()) or (len(tail) > 1 and tail[0] == "0"):
        raise EvaluationError(f'{wrong}{wrong}netip.ParsePrefix("{text}"): bad bits after slash: "{tail}"')
    if len(tail) > 3 or int(tail) > address.max_prefixlen:
        raise EvaluationError(f'{wrong}{wrong}netip.ParsePrefix("{text}"): prefix length out of range')
    return Cidr(address, int(tail))


def _is_cidr(text: str) -> bool:
    try:
        _cidr(text)
    except EvaluationError:
        return False
    return True


def _is_link_local_multicast(ip: Ip) -> bool:
    if ip.address.version == 4:
        return int(ip.address) >> 8 == 0xE00000
    return ip.address.packed[0] == 0xFF and ip.address.packed[1] & 0x0F == 0x02


def _is_global_unicast(ip: Ip) -> bool:
    address = ip.address
    if address in (_ZERO_4, _ONES_4):
        return False
    return not (address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local)


def _contains_cidr(outer: Cidr, inner: Cidr) -> bool:
    return outer.contains(inner.address) and outer.bits <= inner.bits


network.function("ip", "string_to_ip", "string -> net.IP", _ip)
network.function("isIP", "is_ip", "string -> bool", _is_ip)
network.function("ip.isCanonical", "ip_is_canonical", "string -> bool", lambda text: str(_address(text)) == text)
network.function("string", "ip_to_string", "net.IP -> string", str)
network.member("family", "ip_family", "net.IP -> int", lambda ip: ip.address.version)
network.member("isUnspecified", "ip_is_unspecified", "net.IP -> bool", lambda ip: ip.address.is_unspecified)
network.member("isLoopback", "ip_is_loopback", "net.IP -> bool", lambda ip: ip.address.is_loopback)
network.member("isLinkLocalUnicast", "ip_is_link_local_unicast", "net.IP -> bool", lambda ip: ip.address.is_link_local)
network.member("isLinkLocalMulticast", "ip_is_link_local_multicast", "net.IP -> bool", _is_link_local_multicast)
network.member("isGlobalUnicast", "ip_is_global_unicast", "net.IP -> bool", _is_global_unicast)
network.function("cidr", "string_to_cidr", "string -> net.CIDR", _cidr)
network.function("isCIDR", "is_cidr", "string -> bool", _is_cidr)
network.function("string", "cidr_to_string", "net.CIDR -> string", str)
network.member(
    "containsIP", "cidr_contains_ip_string", "net.CIDR, string -> bool", lambda a, b: a.contains(_address(b))
)
network.member("containsIP", "cidr_contains_ip_ip", "net.CIDR, net.IP -> bool", lambda a, b: a.contains(b.address))
network.member(
    "containsCIDR", "cidr_contains_cidr_string", "net.CIDR, string -> bool", lambda a, b: _contains_cidr(a, _cidr(b))
)
network.member("containsCIDR", "cidr_contains_cidr", "net.CIDR, net.CIDR -> bool", _contains_cidr)
network.member("ip", "cidr_ip", "net.CIDR -> net.IP", lambda cidr: Ip(cidr.address))
network.member("masked", "cidr_masked", "net.CIDR -> net.CIDR", Cidr.masked)
network.member("prefixLength", "cidr_prefix_length", "net.CIDR -> int", lambda cidr: cidr.bits)

"""Links, addresses, routes: what `ip` does, as messages to the kernel.

A socket belongs to the namespace it was opened in for all its life: open it `inside` one and use it from anywhere.
Written by hand because it stands in the way of every pod: pyroute2 takes 300 ms and 22 MB to import and 13 ms to attach a
pod, this 1 ms.

Source: linux/{netlink,rtnetlink,if_link,veth,neighbour}.h
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from types import TracebackType
from typing import Self

REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
REPLACE, EXCLUSIVE, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800
_ERROR, _DONE, _MULTI, _DUMP_INTERRUPTED = 2, 3, 0x2, 0x10
_SOL_NETLINK, _EXT_ACK, _CAP_ACK = 270, 11, 10
_ACK_TLVS, _CAPPED = 0x200, 0x100
_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _GETADDR = 20, 22
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_NEWNEIGH, _DELNEIGH, _GETNEIGH = 28, 29, 30
_HEADER, _LINK, _ADDRESS, _ROUTE, _NEIGHBOUR = (
    struct.Struct("=LHHLL"),
    struct.Struct("=BxHiII"),
    struct.Struct("=BBBBi"),
    struct.Struct("=8BI"),
    struct.Struct("=BxxxiHBB"),
)
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_NET_NS_FD = 1, 3, 4, 10, 18, 20, 28  # fmt: skip
_IFLA_GSO_IPV4, _IFLA_GRO_IPV4, BIG = 63, 64, 192 << 10
_SETLINK, _AF_BRIDGE, _PROTINFO, _BRPORT_MODE = 19, 7, 12, 4
_INFO_KIND, _INFO_DATA, _VETH_PEER, _NESTED = 1, 2, 1, 0x8000
_VXLAN_ID, _VXLAN_LEARNING, _VXLAN_PORT = 1, 7, 15
_NDA_DST, _NDA_LLADDR, _PERMANENT, _NTF_SELF = 1, 2, 0x80, 0x02
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_TABLE = 1, 4, 5, 7, 15
UP, LOOPBACK = 0x1, 0x8
UNIVERSE, LINK = 0, 253
_MAIN, _STATIC, _UNICAST, _ONLINK = 254, 4, 1, 4


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", len(data) + 4, kind) + data + b"\0" * (-len(data) % 4)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind, without flags, and value."""
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            return
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += (length + 3) & ~3


class Socket:
    """One conversation at a time. Raises OSError with what the kernel has to say."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind((0, 0))
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def ask(self, kind: int, flags: int, body: bytes, what: str = "") -> list[bytes]:
        """The bodies of the answers."""
        while True:
            answers = self._ask(kind, flags, body, what)
            if answers is not None:
                return answers

    def _ask(self, kind: int, flags: int, body: bytes, what: str) -> list[bytes] | None:
        """None: the table changed while it was read."""
        self._number += 1
        flags |= REQUEST if flags & DUMP == DUMP else REQUEST | ACK
        self._socket.send(_HEADER.pack(16 + len(body), kind, flags, self._number, 0) + body)
        out: list[bytes] = []
        torn = False
        while True:
            data = self._socket.recv(1 << 18)
            at = 0
            while at + 16 <= len(data):
                length, kind, flags, number, _ = _HEADER.unpack_from(data, at)
                message, at = data[at + 16 : at + length], at + ((length + 3) & ~3)
                if number != self._number:
                    continue
                torn = torn or bool(flags & _DUMP_INTERRUPTED)
                if kind in (_ERROR, _DONE):
                    _check(message, flags, what)
                    return None if torn else out
                out.append(message)


def _check(message: bytes, flags: int, what: str) -> None:
    number = -struct.unpack_from("=i", message)[0] if len(message) >= 4 else 0
    if not number:
        return
    said = ""
    if flags & _ACK_TLVS:
        skip = 4 + (16 if flags & _CAPPED else struct.unpack_from("=L", message, 4)[0])
        said = next((value.rstrip(b"\0").decode() for kind, value in attributes(message[skip:]) if kind == 1), "")
    raise OSError(number, ": ".join(filter(None, (what, os.strerror(number), said))))


@dataclass(frozen=True, slots=True)
class Link:
    index: int
    name: str
    kind: str
    up: bool
    loopback: bool
    mtu: int
    mac: str
    master: int
    alias: str


@dataclass(frozen=True, slots=True)
class Address:
    index: int
    interface: IPv4Interface
    scope: int


@dataclass(frozen=True, slots=True)
class Route:
    """Of the main table. `index` 0: several ways, or none."""

    to: IPv4Network
    index: int
    gateway: IPv4Address | None
    source: IPv4Address | None
    scope: int


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Behind an address on a link is this MAC; on a VXLAN (`forwarding`), behind a MAC is the machine with this address."""

    address: IPv4Address
    mac: bytes
    forwarding: bool = False


class Routing(Socket):
    """IPv4 of the namespace it was opened in."""

    def __init__(self) -> None:
        super().__init__(socket.NETLINK_ROUTE)

    # -- links ---------------------------------------------------------------------------------------------------------

    def add_veth(self, name: str, peer: str, peer_namespace: int, *, mtu: int, peer_mac: bytes = b"") -> None:
        """This end is up; the peer, which cannot be yet, is in the namespace of this file descriptor."""
        common = attribute(_IFLA_MTU, struct.pack("=I", mtu)) if mtu else b""
        there = _LINK.pack(0, 0, 0, 0, 0) + _name(peer) + common
        there += attribute(_IFLA_ADDRESS, peer_mac) if peer_mac else b""
        there += attribute(_IFLA_NET_NS_FD, struct.pack("=I", peer_namespace))
        data = attribute(_VETH_PEER | _NESTED, there)
        self._new_link(name, "veth", common, data)

    def add_bridge(self, name: str, mac: bytes) -> None:
        """Without one of its own its address would change with its ports, and neighbours would lose it."""
        self._new_link(name, "bridge", attribute(_IFLA_ADDRESS, mac), b"")

    def add_vxlan(self, name: str, number: int, port: int, *, mac: bytes, mtu: int) -> None:
        """It knows of others what it is told (`add_neighbour`), and learns nothing from what comes in."""
        data = attribute(_VXLAN_ID, struct.pack("=I", number)) + attribute(_VXLAN_LEARNING, b"\0")
        data += attribute(_VXLAN_PORT, struct.pack(">H", port))
        common = attribute(_IFLA_ADDRESS, mac) + attribute(_IFLA_MTU, struct.pack("=I", mtu))
        self._new_link(name, "vxlan", common, data)

    def _new_link(self, name: str, kind: str, common: bytes, data: bytes) -> None:
        info = attribute(_INFO_KIND, kind.encode()) + (attribute(_INFO_DATA | _NESTED, data) if data else b"")
        body = _LINK.pack(0, 0, 0, UP, UP) + _name(name) + common + attribute(_IFLA_LINKINFO | _NESTED, info)
        self.ask(_NEWLINK, CREATE | EXCLUSIVE, body, f"add link {name}")

    def link(self, name: str) -> Link | None:
        try:
            found = self.ask(_GETLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _name(name), f"get link {name}")
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return _link(found[0])

    def links(self) -> list[Link]:
        return [_link(each) for each in self.ask(_GETLINK, DUMP, _LINK.pack(0, 0, 0, 0, 0), "list links")]

    def set_link(
        self, index: int, *, up: bool | None = None, master: int | None = None, alias: str | None = None, mtu: int = 0,
    ) -> None:  # fmt: skip
        body = _LINK.pack(0, 0, index, UP if up else 0, 0 if up is None else UP)
        if mtu:
            body += attribute(_IFLA_MTU, struct.pack("=I", mtu))
        if master is not None:
            body += attribute(_IFLA_MASTER, struct.pack("=I", master))
        if alias is not None:
            body += attribute(_IFLA_IFALIAS, alias.encode())
        self.ask(_NEWLINK, 0, body, f"set link {index}")

    def enlarge(self, index: int) -> None:
        """Packets of TCP may be 192 KB while they are inside the machine: a pod's way to another node is four links long,
        and each costs by the packet. On the way out the kernel cuts them by itself, at 400 MB/s where a card's own cutting
        was measured at 1300. Linux has it since 6.3; before, nothing changes."""
        sizes = b"".join(attribute(kind, struct.pack("=I", BIG)) for kind in (_IFLA_GSO_IPV4, _IFLA_GRO_IPV4))
        with contextlib.suppress(OSError):
            self.ask(_NEWLINK, 0, _LINK.pack(0, 0, index, 0, 0) + sizes, f"enlarge link {index}")

    def hairpin(self, index: int) -> None:
        """A port of a bridge gives frames back to where they came from. With bridge-nf-call-iptables, what a port of the
        host leads back to its sender never leaves the bridge."""
        mode = attribute(_PROTINFO | _NESTED, attribute(_BRPORT_MODE, b"\1"))
        self.ask(_SETLINK, 0, struct.pack("=BxHiII", _AF_BRIDGE, 0, index, 0, 0) + mode, f"set port {index}")

    def delete_link(self, name: str) -> bool:
        """False: there is none."""
        try:
            self.ask(_DELLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _name(name), f"delete link {name}")
        except OSError as error:
            if error.errno == errno.ENODEV:
                return False
            raise
        return True

    # -- addresses -----------------------------------------------------------------------------------------------------

    def add_address(self, index: int, address: IPv4Interface, scope: int = UNIVERSE) -> None:
        """Also if it is there."""
        body = _ADDRESS.pack(socket.AF_INET, address.network.prefixlen, 0, scope, index)
        body += attribute(_IFA_LOCAL, address.ip.packed) + attribute(_IFA_ADDRESS, address.ip.packed)
        if address.network.prefixlen < 31:
            body += attribute(_IFA_BROADCAST, address.network.broadcast_address.packed)
        self.ask(_NEWADDR, CREATE | REPLACE, body, f"add address {address}")

    def addresses(self) -> list[Address]:
        out = []
        for each in self.ask(_GETADDR, DUMP, _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0), "list addresses"):
            family, prefix, _, scope, index = _ADDRESS.unpack_from(each)
            found = dict(attributes(each[8:]))
            packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)
            if family == socket.AF_INET and packed:
                out.append(Address(index, IPv4Interface((packed, prefix)), scope))
        return out

    # -- neighbours ----------------------------------------------------------------------------------------------------

    def add_neighbour(self, index: int, neighbour: Neighbour) -> None:
        """For good, in the place of another with this address (or, `forwarding`, with this MAC)."""
        self.ask(_NEWNEIGH, CREATE | REPLACE, _neighbour(index, neighbour), f"add neighbour {neighbour.address}")

    def delete_neighbour(self, index: int, neighbour: Neighbour) -> None:
        """Also if there is none."""
        try:
            self.ask(_DELNEIGH, 0, _neighbour(index, neighbour), f"delete neighbour {neighbour.address}")
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise

    def neighbours(self, index: int) -> set[Neighbour]:
        """Those of a link that were added."""
        out = set()
        for family in (socket.AF_INET, _AF_BRIDGE):
            for each in self.ask(_GETNEIGH, DUMP, _NEIGHBOUR.pack(family, 0, 0, 0, 0), "list neighbours"):
                _, of, state, _, _ = _NEIGHBOUR.unpack_from(each)
                found = dict(attributes(each[12:]))
                if of == index and state & _PERMANENT and len(found.get(_NDA_DST, b"")) == 4 and _NDA_LLADDR in found:
                    out.add(Neighbour(IPv4Address(found[_NDA_DST]), found[_NDA_LLADDR], family == _AF_BRIDGE))
        return out

    # -- routes --------------------------------------------------------------------------------------------------------

    def add_route(
        self, to: IPv4Network, index: int, *, gateway: IPv4Address | None = None, source: IPv4Address | None = None,
    ) -> None:  # fmt: skip
        """In the place of one that leads elsewhere."""
        scope, flags = (UNIVERSE, _ONLINK) if gateway else (LINK, 0)
        body = _route(to, scope, flags) + attribute(_RTA_OIF, struct.pack("=I", index))
        body += attribute(_RTA_GATEWAY, gateway.packed) if gateway else b""
        body += attribute(_RTA_PREFSRC, source.packed) if source else b""
        self.ask(_NEWROUTE, CREATE | REPLACE, body, f"add route to {to}")

    def delete_route(self, to: IPv4Network) -> None:
        """Also if there is none."""
        try:
            self.ask(_DELROUTE, 0, _route(to, 255, 0, any_kind=True), f"delete route to {to}")
        except OSError as error:
            if error.errno != errno.ESRCH:
                raise

    def routes(self) -> list[Route]:
        out = []
        for each in self.ask(_GETROUTE, DUMP, _ROUTE.pack(socket.AF_INET, *[0] * 8), "list routes"):
            family, prefix, _, _, table, _, scope, kind, _ = _ROUTE.unpack_from(each)
            found = dict(attributes(each[12:]))
            table = struct.unpack("=I", found[_RTA_TABLE])[0] if _RTA_TABLE in found else table
            if family != socket.AF_INET or table != _MAIN or kind != _UNICAST:
                continue
            to = IPv4Network((found.get(_RTA_DST, b"\0" * 4), prefix))
            index = struct.unpack("=I", found[_RTA_OIF])[0] if _RTA_OIF in found else 0
            gateway, source = (
                IPv4Address(found[key]) if key in found else None for key in (_RTA_GATEWAY, _RTA_PREFSRC)
            )
            out.append(Route(to, index, gateway, source, scope))
        return out


def _name(name: str) -> bytes:
    return attribute(_IFLA_IFNAME, name.encode() + b"\0")


def _link(message: bytes) -> Link:
    _, _, index, flags, _ = _LINK.unpack_from(message)
    found = dict(attributes(message[16:]))
    info = dict(attributes(found.get(_IFLA_LINKINFO, b"")))

    def number(kind: int) -> int:
        return int(struct.unpack("=I", found[kind])[0]) if kind in found else 0

    def text(value: bytes) -> str:
        return value.rstrip(b"\0").decode()

    return Link(
        index, text(found[_IFLA_IFNAME]), text(info.get(_INFO_KIND, b"")), bool(flags & UP), bool(flags & LOOPBACK),
        number(_IFLA_MTU), found.get(_IFLA_ADDRESS, b"").hex(":"), number(_IFLA_MASTER),
        text(found.get(_IFLA_IFALIAS, b"")),
    )  # fmt: skip


def _neighbour(index: int, each: Neighbour) -> bytes:
    family, flags = (_AF_BRIDGE, _NTF_SELF) if each.forwarding else (socket.AF_INET, 0)
    head = _NEIGHBOUR.pack(family, index, _PERMANENT, flags, 0)
    return head + attribute(_NDA_DST, each.address.packed) + attribute(_NDA_LLADDR, each.mac)


def _route(to: IPv4Network, scope: int, flags: int, *, any_kind: bool = False) -> bytes:
    protocol, kind = (0, 0) if any_kind else (_STATIC, _UNICAST)
    head = _ROUTE.pack(socket.AF_INET, to.prefixlen, 0, 0, _MAIN, protocol, scope, kind, flags)
    return head + (attribute(_RTA_DST, to.network_address.packed) if to.prefixlen else b"")

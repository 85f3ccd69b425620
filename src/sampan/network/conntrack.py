"""The kernel's table of connections: what translation an old flow keeps, although the rules have changed.

TCP connections end by themselves when an endpoint goes; a UDP flow never does, as long as somebody sends. So whoever
changes rules for UDP deletes the flows that they contradict.

Source: linux/netfilter/nfnetlink_conntrack.h; kubernetes/pkg/proxy/conntrack
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

from sampan.network.netlink import DUMP, Socket, attribute, attributes

UDP = 17
_NETFILTER, _GET, _DELETE = 12, 1 << 8 | 1, 1 << 8 | 2
_ORIGINAL, _REPLY, _IP, _PROTOCOL, _NESTED = 1, 2, 1, 2, 0x8000
_HEAD = struct.pack(">BBH", socket.AF_INET, 0, 0)


@dataclass(frozen=True, slots=True)
class Flow:
    """`to` is what the sender meant, `answers_from` who it really is. `raw` names it to the kernel."""

    source: IPv4Address
    to: IPv4Address
    port: int
    answers_from: IPv4Address
    answering_port: int
    raw: bytes


class Conntrack(Socket):
    """Of the namespace it was opened in."""

    def __init__(self) -> None:
        super().__init__(_NETFILTER)

    def flows(self, protocol: int = UDP) -> list[Flow]:
        """Raises OSError."""
        found = (_flow(message, protocol) for message in self.ask(_GET, DUMP, _HEAD, "list connections"))
        return [flow for flow in found if flow is not None]

    def delete(self, flow: Flow) -> bool:
        """False: it is gone already. Raises OSError."""
        try:
            self.ask(_DELETE, 0, _HEAD + attribute(_ORIGINAL | _NESTED, flow.raw), "delete connection")
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True

    def clear(self, is_stale: Callable[[Flow], bool]) -> int:
        """How many UDP flows were deleted. Raises OSError."""
        return sum(self.delete(flow) for flow in self.flows() if is_stale(flow))


def _flow(message: bytes, protocol: int) -> Flow | None:
    parts = dict(attributes(message[4:]))
    original, reply = _tuple(parts.get(_ORIGINAL, b"")), _tuple(parts.get(_REPLY, b""))
    if original is None or reply is None or original[2] != protocol:
        return None
    source, to, _, port = original
    answers_from, _, _, _ = reply
    answering = _source_port(parts[_REPLY])
    return Flow(IPv4Address(source), IPv4Address(to), port, IPv4Address(answers_from), answering, parts[_ORIGINAL])


def _tuple(data: bytes) -> tuple[bytes, bytes, int, int] | None:
    """Source, destination, protocol, destination port."""
    parts = dict(attributes(data))
    ip, protocol = dict(attributes(parts.get(_IP, b""))), dict(attributes(parts.get(_PROTOCOL, b"")))
    if len(ip.get(1, b"")) != 4 or len(ip.get(2, b"")) != 4 or 1 not in protocol:
        return None
    return ip[1], ip[2], protocol[1][0], int.from_bytes(protocol.get(3, b"\0\0"), "big")


def _source_port(data: bytes) -> int:
    parts = dict(attributes(dict(attributes(data)).get(_PROTOCOL, b"")))
    return int.from_bytes(parts.get(2, b"\0\0"), "big")

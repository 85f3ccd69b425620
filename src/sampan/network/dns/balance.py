"""`loadbalance`: addresses in another order each time, so that those who take the first spread over all.

Source: github.com/coredns/coredns plugin/loadbalance/loadbalance.go
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from sampan.network.dns import wire
from sampan.network.dns.wire import Record, Reply

#: orders kept of one answer
MAX_ORDERS = 16
_SHUFFLED = (wire.A, wire.AAAA)


def orders(reply: Reply, rng: random.Random, *, many: bool) -> list[Reply]:
    """One reply in a random order, or `many`: each address comes first once, as far as there is room."""
    if len(reply.answer) < 2 and len(reply.authority) < 2 and len(reply.additional) < 2:
        return [reply]
    sections = [_sorted(each) for each in (reply.answer, reply.authority, reply.additional)]
    longest = max(len(addresses) for _, addresses, _ in sections)
    if longest < 2:
        return [reply]
    for _, addresses, _ in sections:
        rng.shuffle(addresses)
    return [_turned(reply, sections, turn) for turn in range(min(longest, MAX_ORDERS) if many else 1)]


Parts = tuple[list[Record], list[Record], list[Record]]


def _sorted(section: Sequence[Record]) -> Parts:
    """CNAMEs and others, addresses, mail exchangers: in this order they are sent."""
    first = [record for record in section if record.type == wire.CNAME]
    rest = [record for record in section if record.type not in (wire.CNAME, wire.MX, *_SHUFFLED)]
    return (
        first + rest,
        [record for record in section if record.type in _SHUFFLED],
        [record for record in section if record.type == wire.MX],
    )


def _turned(reply: Reply, sections: list[Parts], turn: int) -> Reply:
    out = []
    for before, addresses, after in sections:
        at = turn % len(addresses) if addresses else 0
        out.append([*before, *addresses[at:], *addresses[:at], *after])
    return replace(reply, answer=out[0], authority=out[1], additional=out[2])

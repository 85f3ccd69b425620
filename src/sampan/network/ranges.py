"""Which addresses a cluster's nodes, pods and services have: the usual ones, or others where the machine uses those itself.

A choice is kept with the cluster: addresses are in certificates and objects.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from ipaddress import IPv4Address, IPv4Network
from typing import Self

from sampan.network.netlink import Routing

NOTED = "sampan cluster "
_TENS = [IPv4Network(f"10.{number}.0.0/16") for number in range(256)]


class NoRoom(Exception):
    """Every range that could be used is in use on this machine."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """`nodes`: on the bridge, whose own address is the first; `balancers`: for Services of type LoadBalancer."""

    nodes: IPv4Network
    pods: IPv4Network
    services: IPv4Network
    balancers: IPv4Network

    @property
    def gateway(self) -> IPv4Address:
        """The host as nodes see it, and where the API server listens for them."""
        return self.nodes[1]

    @property
    def api(self) -> IPv4Address:
        """Service `kubernetes`."""
        return self.services[1]

    @property
    def dns(self) -> IPv4Address:
        return self.services[10]

    def node(self, index: int) -> IPv4Address:
        """Of the first node: 0."""
        return self.nodes[2 + index]

    def all(self) -> tuple[IPv4Network, ...]:
        return self.nodes, self.pods, self.services, self.balancers

    def plain(self) -> dict[str, str]:
        return {each.name: str(getattr(self, each.name)) for each in fields(self)}

    @classmethod
    def parse(cls, plain: Mapping[str, str]) -> Self:
        """Raises KeyError, ValueError."""
        return cls(**{each.name: IPv4Network(plain[each.name]) for each in fields(cls)})


def in_use() -> list[IPv4Network]:
    """What this namespace has routes to, and what clusters on it will have routes to."""
    with Routing() as routing:
        found = [route.to for route in routing.routes() if route.to.prefixlen]
        return found + [each for link in routing.links() for each in noted(link.alias)]


def note(cluster: str, ranges: Ranges) -> str:
    """Alias of the cluster's bridge: the kernel forgets it together with what it is about."""
    return " ".join([f"{NOTED}{cluster}", *map(str, ranges.all())])


def noted(alias: str) -> list[IPv4Network]:
    """The other way; nothing if it is no cluster's bridge."""
    words = alias.partition(";")[0].removeprefix(NOTED).split() if alias.startswith(NOTED) else []
    return [IPv4Network(word) for word in words[1:]]


def choose(
    taken: Collection[IPv4Network], *, pods: IPv4Network | None = None, services: IPv4Network | None = None,
    nodes: IPv4Network | None = None,
) -> Ranges:  # fmt: skip
    """`taken`: what is `in_use`, and what other clusters keep. What is asked for is used, whatever else is. Raises
    NoRoom."""
    found = [*taken, *(each for each in (pods, services, nodes) if each is not None)]

    def free(candidates: Iterator[IPv4Network]) -> IPv4Network:
        for each in candidates:
            if not any(each.overlaps(other) for other in found):
                found.append(each)
                return each
        raise NoRoom("every private range of addresses is in use on this machine")

    # as other tools have them first, and beyond those what few use
    pods = pods or free(_from(244, range(245, 256), range(128, 244)))
    services = services or free(_from(96, range(97, 128), range(32, 96)))
    # in one piece: another cluster's bridge is seen at once, its balancers not before there is a route to them
    small = (part for each in _from(213, range(214, 224), range(16, 32)) for part in each.subnets(new_prefix=23))
    first, second = free(small).subnets(1)
    return Ranges(nodes or first, pods, services, second)


def _from(first: int, *more: range) -> Iterator[IPv4Network]:
    yield _TENS[first]
    for numbers in more:
        yield from (_TENS[number] for number in numbers)

"""A port of a Service, as elements of nftables' maps.

Each address and port under which it is reached is a frontend. A frontend of N endpoints is one element of a verdict map,
which leads to the chain for N, and N elements of that chain's own map. What has no endpoint is an element of a set that
refuses or drops. Nothing here is a rule.

Source: kubernetes/pkg/proxy/nftables/proxier.go (what leads where)
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sampan.network.proxy.model import Endpoint, ServicePort

#: set or map, key, value (empty for a set)
Element = tuple[str, str, str]


class Chain(NamedTuple):
    """A chain for all frontends of a kind with `size` endpoints, and the map it looks up (one map for several chains is
    more than nft 1.0.6 can read back).

    kind: cluster (a cluster IP), external (an address of the world), local (the same, only to endpoints here), short (the
    same, for those inside, to all endpoints); node, nodelocal and nodeshort are theirs for node ports. `affine`: with
    session affinity."""

    name: str
    map: str
    kind: str
    size: int
    affine: bool


@functools.lru_cache(maxsize=4096)
def chain_of(kind: str, size: int, affine: bool) -> Chain:
    name = f"{kind}{'-affine' if affine else ''}-{size}"
    return Chain(name, f"to-{name}", kind, size, affine)


class Frontend(NamedTuple):
    """`key`: what it is reached by, which only one Service can have. `leads`: the endpoints, as `ip . port`."""

    key: str
    elements: tuple[Element, ...]
    chains: tuple[Chain, ...]
    leads: frozenset[str]
    affinity: int


def frontends(port: ServicePort) -> Iterator[Frontend]:
    everywhere, here = port.usable
    key = f"{port.cluster_ip} . {port.protocol} . {port.port}"
    yield _frontend(port, key, "services", "cluster", here if port.internal_local else everywhere, "dropped")
    if not (port.external or port.balancers or port.node_port):
        return
    outside = here if port.external_local else everywhere
    short = everywhere if port.external_local else ()
    kind, node_kind = ("local", "nodelocal") if port.external_local else ("external", "node")
    for ip in dict.fromkeys((*port.external, *port.balancers)):
        key = f"{ip} . {port.protocol} . {port.port}"
        guard: list[Element] = []
        if port.sources and ip in port.balancers:
            guard = [("guarded", key, ""), *(("allowed", f"{source} . {key}", "") for source in port.sources)]
        yield _frontend(port, key, "services", kind, outside, "dropped-outside", short, guard)
    if port.node_port:
        key = f"{port.protocol} . {port.node_port}"
        yield _frontend(port, key, "nodeports", node_kind, outside, "dropped-ports", short)


def _frontend(
    port: ServicePort, key: str, verdicts: str, kind: str, endpoints: tuple[Endpoint, ...], dropped: str,
    short: tuple[Endpoint, ...] = (), guard: Iterable[Element] = (),
) -> Frontend:  # fmt: skip
    """`dropped`: the set for a frontend whose endpoints are all elsewhere; it is refused if there are none at all.
    `short`: where those inside are led to instead."""
    elements = [*guard]
    chains: list[Chain] = []
    if endpoints:
        _lead(elements, chains, verdicts, key, chain_of(kind, len(endpoints), port.affinity > 0), endpoints)
    elif port.usable.everywhere:
        elements.append((dropped, key, ""))
    else:
        elements.append(("refused-ports" if verdicts == "nodeports" else "refused", key, ""))
    if short:
        verdicts, kind = ("nodeports-short", "nodeshort") if verdicts == "nodeports" else ("short", "short")
        _lead(elements, chains, verdicts, key, chain_of(kind, len(short), port.affinity > 0), short)
    if port.affinity and chains:
        elements.append((f"affine-{'ports' if verdicts.startswith('node') else 'ips'}-{port.affinity}", key, ""))
    leads = frozenset(f"{each.ip} . {each.port}" for each in (*endpoints, *short))
    return Frontend(key, tuple(elements), tuple(chains), leads, port.affinity)


def _lead(
    elements: list[Element], chains: list[Chain], verdicts: str, key: str, chain: Chain, endpoints: tuple[Endpoint, ...]
) -> None:
    chains.append(chain)
    elements.append((verdicts, key, f"goto {chain.name}"))
    for number, (ip, port) in enumerate(endpoints):
        elements.append((chain.map, f"{key} . {number}", f"{ip} . {port}"))

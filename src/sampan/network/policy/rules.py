"""From NetworkPolicies and pods to an nftables table.

A pod of this node that is selected leads, by an element of a map, to the chain of the policies that select it: each may
accept, then it is dropped. A policy is a chain; its peers and ports are sets. So a pod that comes or goes is a change of
elements, and a rule for each rule somebody wrote. Sets that are the same are one.

What is established passes: a new policy ends no connection. A node reaches its own pods, and a pod itself, always.

Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/;
k8s.io/api/networking/v1/types.go (NetworkPolicySpec)
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, collapse_addresses
from typing import Any

from sampan.api.selectors import label_selector_from
from sampan.network.policy.facts import Pod

log = logging.getLogger("sampan.network.policy")
Obj = dict[str, Any]
TABLE = "kube-policies"
_PEERS, _PORTS, _NAMED = "ipv4_addr", "inet_proto . inet_service", "ipv4_addr . inet_proto . inet_service"


@dataclass(slots=True)
class Table:
    """`sets`: type and elements by name; `chains`: rules by name; `ways`: a pod's address to its chain, for each map."""

    sets: dict[str, tuple[str, frozenset[str]]] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)
    ways: dict[str, dict[str, str]] = field(default_factory=lambda: {"ingress": {}, "egress": {}})

    def structure(self) -> tuple[Any, ...]:
        """What a change of elements leaves as it is."""
        return self.chains, {name: kind for name, (kind, _) in self.sets.items()}

    def elements(self) -> dict[tuple[str, str], str]:
        """By set or map and key."""
        out = {(name, element): "" for name, (_, elements) in self.sets.items() for element in elements}
        for name, ways in self.ways.items():
            out |= {(name, ip): f"goto {chain}" for ip, chain in ways.items()}
            out |= {("self", f"{ip} . {ip}"): "" for ip in ways}
        return out


class Compiler:
    """`namespaces`: labels by name; `node`: our name."""

    def __init__(self, pods: Iterable[Pod], namespaces: Mapping[str, Mapping[str, str]], node: str) -> None:
        self._by_namespace: dict[str, list[Pod]] = {}
        for pod in pods:
            self._by_namespace.setdefault(pod.namespace, []).append(pod)
        self._namespaces = namespaces
        self._node = node
        self._table = Table()

    def compile(self, policies: Iterable[Obj]) -> Table:
        selecting: dict[str, dict[str, list[str]]] = {"ingress": {}, "egress": {}}
        for policy in sorted(policies, key=lambda each: (each["metadata"]["namespace"], each["metadata"]["name"])):
            namespace, spec = policy["metadata"]["namespace"], policy["spec"]
            selector = label_selector_from(spec.get("podSelector") or {})
            mine = [
                pod
                for pod in self._by_namespace.get(namespace, ())
                if pod.node == self._node and selector.matches(pod.labels)
            ]
            if not mine:
                continue
            types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
            for direction in (each.lower() for each in types):
                name = f"{direction}-{_digest(namespace, policy['metadata']['name'])}"
                try:
                    self._table.chains[name] = self._policy(namespace, direction, spec.get(direction) or (), mine)
                except (ValueError, KeyError) as error:
                    # it selects these pods all the same, and allows them nothing
                    log.error("policy %s/%s cannot be understood: %r", namespace, policy["metadata"]["name"], error)
                    self._table.chains[name] = []
                for pod in mine:
                    selecting[direction].setdefault(pod.ip, []).append(name)
        for direction, by_pod in selecting.items():
            for ip, names in by_pod.items():
                chain = f"pods-{direction}-{_digest(*names)}"
                self._table.chains[chain] = [*(f"jump {name}" for name in names), "drop"]
                self._table.ways[direction][ip] = chain
        return self._table

    def _policy(self, namespace: str, direction: str, rules: Iterable[Obj], mine: list[Pod]) -> list[str]:
        out = []
        for rule in rules:
            given = rule.get("from" if direction == "ingress" else "to") or ()
            peers = self._peers(namespace, direction, given)
            reached = (
                mine if direction == "ingress" else [pod for each in given for pod in self._selected(namespace, each)]
            )
            if direction == "egress" and not given:
                reached = [pod for pods in self._by_namespace.values() for pod in pods]
            for peer in peers:
                out += [
                    " ".join(filter(None, (peer, port, "accept")))
                    for port in self._ports(rule.get("ports") or (), reached)
                ]
        return out

    def _peers(self, namespace: str, direction: str, given: Iterable[Obj]) -> list[str]:
        """Matches, one of which must hold; an empty one always does."""
        if not given:
            return [""]
        address = "ip saddr" if direction == "ingress" else "ip daddr"
        out, ips = [], set()
        has_pods = False
        for peer in given:
            if (block := peer.get("ipBlock")) is not None:
                if ":" not in block["cidr"]:
                    out.append(_block(address, block))
                continue
            has_pods = True
            ips |= {pod.ip for pod in self._selected(namespace, peer)}
        if has_pods:
            out.append(f"{address} @{self._set(_PEERS, ips)}")
        return out

    def _selected(self, namespace: str, peer: Obj) -> list[Pod]:
        if "ipBlock" in peer:
            return []
        names = [namespace]
        if (wanted := peer.get("namespaceSelector")) is not None:
            selector = label_selector_from(wanted)
            names = [name for name, labels in self._namespaces.items() if selector.matches(labels)]
        selector = label_selector_from(peer.get("podSelector") or {})
        return [pod for name in names for pod in self._by_namespace.get(name, ()) if selector.matches(pod.labels)]

    def _ports(self, given: Iterable[Obj], reached: Iterable[Pod]) -> list[str]:
        """As `_peers`. `reached`: pods by which names of ports are understood."""
        if not given:
            return [""]
        numbers: dict[str, list[tuple[int, int]]] = {}
        named: set[str] = set()
        has_names = False
        for port in given:
            protocol, number = (port.get("protocol") or "TCP").lower(), port.get("port")
            if isinstance(number, str):
                has_names = True
                named |= {
                    f"{pod.ip} . {found[1]} . {found[2]}"
                    for pod in reached
                    for found in pod.ports
                    if found[:2] == (number, protocol)
                }
            elif number is None:
                numbers.setdefault(protocol, []).append((0, 65535))
            else:
                numbers.setdefault(protocol, []).append((number, port.get("endPort") or number))
        out = []
        if numbers:
            every = {f"{protocol} . {_span(*each)}" for protocol, spans in numbers.items() for each in merged(spans)}
            out.append(f"meta l4proto . th dport @{self._set(_PORTS, every)}")
        if has_names:
            out.append(f"ip daddr . meta l4proto . th dport @{self._set(_NAMED, named)}")
        return out

    def _set(self, kind: str, elements: Iterable[str]) -> str:
        """Its name. Numbered, not named by what is in it, so that it stays while its elements change."""
        name = f"{ {_PEERS: 'peers', _PORTS: 'ports', _NAMED: 'named'}[kind] }-{len(self._table.sets)}"
        self._table.sets[name] = kind, frozenset(elements)
        return name


def _block(address: str, block: Obj) -> str:
    """`except` leaves out parts of `cidr`."""
    without = collapse_addresses(IPv4Network(each, strict=False) for each in block.get("except") or ())
    out = f"{address} {IPv4Network(block['cidr'], strict=False)}"
    parts = ", ".join(map(str, without))
    return f"{out} {address} != {{ {parts} }}" if parts else out


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same numbers in spans that do not touch."""
    out: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if out and first <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], last))
        else:
            out.append((first, last))
    return out


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _digest(*words: str) -> str:
    return hashlib.sha1("\0".join(words).encode(), usedforsecurity=False).hexdigest()[:12]

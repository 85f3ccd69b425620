"""What would have to change for a node to let a pod in: one sentence for each thing, from the same arrays the plugins
decide by."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sampan.api.selectors import Requirement
from sampan.scheduler.cluster import NodeInfo
from sampan.scheduler.framework import Cycle, Plugin
from sampan.scheduler.plugins.inter_pod_affinity import wants
from sampan.scheduler.plugins.pod_topology_spread import PodTopologySpread
from sampan.scheduler.plugins.resources_fit import NodeResourcesFit
from sampan.scheduler.plugins.taint_toleration import HARD
from sampan.scheduler.terms import AffinityTerm, NodeTerm, tolerated

Advice = Iterator[str]
_BINARY = ("Ki", "Mi", "Gi", "Ti", "Pi")
_WORDS = {"in": "in", "notin": "not in", "=": "=", "!=": "!=", "gt": ">", "lt": "<"}


def advise(plugin: Plugin, cycle: Cycle, node: NodeInfo) -> list[str]:
    """For a node that the plugin refuses; empty where nothing more than its reason can be said."""
    found = _ADVICE.get(plugin.name)
    return list(found(plugin, cycle, node)) if found is not None else []


def amount(resource: str, units: int) -> str:
    """As people write it."""
    if resource == "cpu":
        return f"{units // 1000}" if units % 1000 == 0 else f"{units}m"
    if resource not in ("memory", "ephemeral-storage") and not resource.startswith("hugepages-"):
        return str(units)
    power = min((abs(units).bit_length() - 1) // 10, len(_BINARY)) if units else 0
    return f"{units / 1024**power:.4g}{('', *_BINARY)[power]}"


def _cordoned(plugin: Plugin, cycle: Cycle, node: NodeInfo) -> Advice:
    yield f"uncordon it: kubectl uncordon {node.name}"


def _taints(plugin: Plugin, cycle: Cycle, node: NodeInfo) -> Advice:
    for taint in node.taints:
        if taint.effect in HARD and not tolerated(cycle.shape.tolerations, taint):
            value = f" value={taint.value}" if taint.value else ""
            yield f"add toleration key={taint.key}{value} effect={taint.effect}"


def _affinity(plugin: Plugin, cycle: Cycle, node: NodeInfo) -> Advice:
    selector = cycle.shape.node_selector
    if selector is None:
        return
    for key, value in selector.exact:
        there = node.labels.get(key)
        if there is None:
            yield f"label {key}={value} is missing"
        elif there != value:
            yield f"label {key} is {there}, not {value}"
    if selector.terms is not None and not any(term.matches(node.name, node.labels) for term in selector.terms):
        failing = [list(_term(term, node)) for term in selector.terms]
        # the term that is nearest to being true
        yield from min(failing, key=len, default=["the node affinity has no terms: it matches no node"])


def _term(term: NodeTerm, node: NodeInfo) -> Advice:
    if not term.labels and not term.fields:
        yield "a term of the node affinity is empty: it matches no node"
    named = {"metadata.name": node.name}
    for requirement in term.labels:
        if not requirement.matches(node.labels):
            yield _requirement(requirement, node.labels.get(requirement.key))
    for requirement in term.fields:
        if not requirement.matches(named):
            yield f"its name is {node.name}: {requirement.key} must be {_words(requirement)}"


def _requirement(requirement: Requirement, there: str | None) -> str:
    key = requirement.key
    match requirement.operator:
        case "exists":
            return f"label {key} is missing"
        case "!":
            return f"label {key}={there} must not be there"
    if there is None:
        if requirement.operator == "in" and len(requirement.values) == 1:
            return f"label {key}={requirement.values[0]} is missing"
        return f"label {key} is missing: it must be {_words(requirement)}"
    return f"label {key} is {there}: it must be {_words(requirement)}"


def _words(requirement: Requirement) -> str:
    values = ", ".join(requirement.values)
    word = _WORDS.get(requirement.operator, requirement.operator)
    return f"{word} ({values})" if word.endswith("in") else f"{word} {values}"


def _ports(plugin: Plugin, cycle: Cycle, node: NodeInfo) -> Advice:
    for address, protocol, number in cycle.shape.ports:
        for pod in node.pods.values():
            for other, kind, port in pod.shape.ports:
                same = address == other or "0.0.0.0" in (address, other)
                if same and (kind, port) == (protocol, number):
                    yield f"host port {number}/{protocol} is used by {pod.key}"


def _fit(plugin: Plugin, cycle: Cycle, node: NodeInfo) -> Advice:
    assert isinstance(plugin, NodeResourcesFit)
    cluster, slot = cycle.cluster, node.slot
    allowed, here = cluster.pods_allowed.item(slot), cluster.pods_here.item(slot)
    if here >= allowed:
        yield f"it has {here} pods and may have {allowed}"
    for name, asked in plugin.wanted(cycle.shape):
        row = cluster.row(name)
        total = cluster.allocatable.item(row, slot)
        free = total - cluster.requested.item(row, slot)
        if asked > total:
            yield f"needs {amount(name, asked)} {name}, the node has {amount(name, total)} in all"
        elif asked > free:
            short = amount(name, asked - free)
            yield f"needs {amount(name, asked)} {name}, {amount(name, free)} are free: {short} short"


def _spread(plugin: Plugin, cycle: Cycle, node: NodeInfo) -> Advice:
    assert isinstance(plugin, PodTopologySpread)
    hard = plugin.constraints(cycle, True)
    for item in hard:
        value = node.labels.get(item.topology_key)
        if value is None:
            yield f"label {item.topology_key} is missing, which pods are spread by"
            continue
        counts = plugin.domains(cycle, item, hard)
        least = min(counts.values(), default=0) if len(counts) >= item.min_domains else 0
        mine = counts.get(value, 0)
        itself = int(item.selector.matches(cycle.shape.labels))
        if mine + itself - least > item.max_skew:
            where = f"{item.topology_key}={value}"
            few = f"the least is {least}" if len(counts) >= item.min_domains else "there are fewer than minDomains"
            yield f"{mine} matching pods in {where}, {few}: one more exceeds maxSkew {item.max_skew}"


def _inter_pod(plugin: Plugin, cycle: Cycle, node: NodeInfo) -> Advice:
    shape = cycle.shape
    namespaces = cycle.cluster.namespaces

    def near(term: AffinityTerm) -> list[NodeInfo]:
        value = node.labels.get(term.topology_key)
        return [
            n for n in cycle.cluster.nodes.values() if value is not None and n.labels.get(term.topology_key) == value
        ]

    for term in shape.affinity:
        where = f"{term.topology_key}={node.labels.get(term.topology_key)}"
        if term.topology_key not in node.labels:
            yield f"label {term.topology_key} is missing, which pod affinity goes by"
        elif not any(
            term.matches(p.namespace, namespaces.get(p.namespace, {}), p.shape.labels)
            for n in near(term)
            for p in n.pods.values()
        ):
            yield f"no pod with {term.selector} in {where}"
    for term in shape.anti_affinity:
        for other in near(term):
            for pod in other.pods.values():
                if term.matches(pod.namespace, namespaces.get(pod.namespace, {}), pod.shape.labels):
                    yield f"pod {pod.key} on {other.name} has {term.selector}, which the pod's anti-affinity avoids"
    for other in cycle.cluster.nodes.values():
        for pod in other.pods.values():
            for term in pod.shape.anti_affinity:
                if wants(cycle, term) and other in near(term):
                    yield f"pod {pod.key} on {other.name} keeps pods with {term.selector} away"


_ADVICE: dict[str, Callable[[Plugin, Cycle, NodeInfo], Advice]] = {
    "NodeUnschedulable": _cordoned,
    "TaintToleration": _taints,
    "NodeAffinity": _affinity,
    "NodePorts": _ports,
    "NodeResourcesFit": _fit,
    "PodTopologySpread": _spread,
    "InterPodAffinity": _inter_pod,
}

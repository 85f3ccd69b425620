"""Scheduling the plain way: one pod, one node at a time, from the objects themselves.

Slow and obvious: what the arrays of `sampan.scheduler` are compared with. It shares no code with them beyond reading
quantities and selectors.

Source: k8s.io/kubernetes/pkg/scheduler/framework/plugins
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from sampan.api.selectors import Requirement, label_selector_from
from sampan.scheduler.shape import units

Obj = dict[str, Any]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!", "Gt": "gt", "Lt": "lt"}


@dataclass
class World:
    nodes: dict[str, Obj]
    pods: dict[str, list[Obj]]
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)


def labels_of(obj: Obj) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def requests(pod: Obj, defaults: bool = False) -> dict[str, int]:
    out: dict[str, int] = {}
    for container in pod["spec"]["containers"]:
        asked = {n: units(n, a) for n, a in ((container.get("resources") or {}).get("requests") or {}).items()}
        if defaults:
            asked = {"cpu": 100, "memory": 200 << 20, **asked}
        for name, amount in asked.items():
            out[name] = out.get(name, 0) + amount
    return out


def tolerates(pod: Obj, taint: Obj) -> bool:
    for item in pod["spec"].get("tolerations") or ():
        if item.get("effect") and item["effect"] != taint["effect"]:
            continue
        if item.get("key") and item["key"] != taint["key"]:
            continue
        if item.get("operator") == "Exists" or item.get("value", "") == taint.get("value", ""):
            return True
    return False


def node_term(term: Obj, node: Obj) -> bool:
    wanted = [
        Requirement(e["key"], OPERATORS[e["operator"]], tuple(e.get("values") or ()))
        for e in term.get("matchExpressions") or ()
    ]
    return bool(wanted) and all(item.matches(labels_of(node)) for item in wanted)


def node_matches(pod: Obj, node: Obj) -> bool:
    if any(labels_of(node).get(k) != v for k, v in (pod["spec"].get("nodeSelector") or {}).items()):
        return False
    required = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(REQUIRED)
    return required is None or any(node_term(term, node) for term in required["nodeSelectorTerms"])


def term_matches(world: World, owner: Obj, term: Obj, other: Obj) -> bool:
    namespace = other["metadata"]["namespace"]
    names = term.get("namespaces") or ([] if "namespaceSelector" in term else [owner["metadata"]["namespace"]])
    covered = namespace in names
    if not covered and "namespaceSelector" in term:
        covered = label_selector_from(term["namespaceSelector"]).matches(world.namespaces.get(namespace, {}))
    return covered and label_selector_from(term.get("labelSelector")).matches(labels_of(other))


def pod_terms(pod: Obj, which: str, how: str) -> list[Obj]:
    return ((pod["spec"].get("affinity") or {}).get(which) or {}).get(how) or []


def everyone(world: World) -> list[tuple[Obj, Obj]]:
    return [(pod, world.nodes[name]) for name, pods in world.pods.items() if name in world.nodes for pod in pods]


def spread_counts(world: World, pod: Obj, item: Obj, items: list[Obj]) -> dict[str, int]:
    selector = label_selector_from(item.get("labelSelector"))
    out: dict[str, int] = {}
    for name, node in world.nodes.items():
        if any(other["topologyKey"] not in labels_of(node) for other in items):
            continue
        if item.get("nodeAffinityPolicy", "Honor") == "Honor" and not node_matches(pod, node):
            continue
        if item.get("nodeTaintsPolicy") == "Honor" and untolerated(pod, node):
            continue
        value = labels_of(node)[item["topologyKey"]]
        here = [p for p in world.pods.get(name, ()) if p["metadata"]["namespace"] == pod["metadata"]["namespace"]]
        here = [p for p in here if "deletionTimestamp" not in p["metadata"] and selector.matches(labels_of(p))]
        out[value] = out.get(value, 0) + len(here)
    return out


def untolerated(pod: Obj, node: Obj) -> bool:
    hard = [t for t in node["spec"].get("taints") or () if t["effect"] in ("NoSchedule", "NoExecute")]
    return any(not tolerates(pod, taint) for taint in hard)


def refusals(world: World, pod: Obj, name: str) -> tuple[str, ...]:
    """What the first filter that refuses the node says; empty: it may go there."""
    node, spec = world.nodes[name], pod["spec"]
    here = world.pods.get(name, [])
    cordon = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    if node["spec"].get("unschedulable") and not tolerates(pod, cordon):
        return ("node(s) were unschedulable",)
    if untolerated(pod, node):
        return ("node(s) had untolerated taint(s)",)
    if not node_matches(pod, node):
        return ("node(s) didn't match Pod's node affinity/selector",)
    wanted = [p["hostPort"] for c in spec["containers"] for p in c.get("ports") or ()]
    taken = [p["hostPort"] for other in here for c in other["spec"]["containers"] for p in c.get("ports") or ()]
    if set(wanted) & set(taken):
        return ("node(s) didn't have free ports for the requested pod ports",)
    out = []
    allocatable = {n: units(n, a) for n, a in node["status"]["allocatable"].items()}
    if len(here) + 1 > allocatable["pods"]:
        out.append("Too many pods")
    for resource, amount in requests(pod).items():
        used = sum(requests(other).get(resource, 0) for other in here)
        if amount and used + amount > allocatable.get(resource, 0):
            out.append(f"Insufficient {resource}")
    if out:
        return tuple(sorted(out))
    hard = [
        item for item in spec.get("topologySpreadConstraints") or () if item["whenUnsatisfiable"] == "DoNotSchedule"
    ]
    for item in hard:
        if item["topologyKey"] not in labels_of(node):
            return ("node(s) didn't match pod topology spread constraints (missing required label)",)
        counts = spread_counts(world, pod, item, hard)
        least = min(counts.values(), default=0) if len(counts) >= item.get("minDomains", 1) else 0
        itself = label_selector_from(item.get("labelSelector")).matches(labels_of(pod))
        if counts.get(labels_of(node)[item["topologyKey"]], 0) + itself - least > item["maxSkew"]:
            return ("node(s) didn't match pod topology spread constraints",)
    return inter_pod(world, pod, node)


def inter_pod(world: World, pod: Obj, node: Obj) -> tuple[str, ...]:
    terms = pod_terms(pod, "podAffinity", REQUIRED)
    if terms:
        friends = [at for other, at in everyone(world) if all(term_matches(world, pod, t, other) for t in terms)]
        if any(t["topologyKey"] not in labels_of(node) for t in terms):
            return ("node(s) didn't match pod affinity rules",)
        near = all(
            any(labels_of(at).get(t["topologyKey"]) == labels_of(node)[t["topologyKey"]] for at in friends)
            for t in terms
        )
        nobody = not any(t["topologyKey"] in labels_of(at) for at in friends for t in terms)
        first = nobody and all(term_matches(world, pod, t, pod) for t in terms)
        if not near and not first:
            return ("node(s) didn't match pod affinity rules",)

    def same(at: Obj, key: str) -> bool:
        return key in labels_of(node) and labels_of(at).get(key) == labels_of(node)[key]

    for term in pod_terms(pod, "podAntiAffinity", REQUIRED):
        if any(
            term_matches(world, pod, term, other) and same(at, term["topologyKey"]) for other, at in everyone(world)
        ):
            return ("node(s) didn't match pod anti-affinity rules",)
    for other, at in everyone(world):
        for term in pod_terms(other, "podAntiAffinity", REQUIRED):
            if term_matches(world, other, term, pod) and same(at, term["topologyKey"]):
                return ("node(s) didn't satisfy existing pods anti-affinity rules",)
    return ()


# -- scores ------------------------------------------------------------------------------------------------------------


def scale(raw: dict[str, int], reverse: bool = False) -> dict[str, int]:
    most = max(raw.values(), default=0)
    if most == 0:
        return dict.fromkeys(raw, 100 if reverse else 0)
    return {name: 100 - 100 * value // most if reverse else 100 * value // most for name, value in raw.items()}


def total_scores(world: World, pod: Obj, feasible: list[str]) -> dict[str, int]:
    parts = [
        (taint_score(world, pod, feasible), 3),
        (affinity_score(world, pod, feasible), 2),
        (least_allocated(world, pod, feasible), 1),
        (balanced(world, pod, feasible), 1),
        (spread_score(world, pod, feasible), 2),
        (inter_pod_score(world, pod, feasible), 2),
    ]
    return {name: sum(part.get(name, 0) * weight for part, weight in parts) for name in feasible}


def taint_score(world: World, pod: Obj, feasible: list[str]) -> dict[str, int]:
    soft = {
        **pod,
        "spec": {
            "tolerations": [
                t for t in pod["spec"].get("tolerations") or () if t.get("effect", "") in ("", "PreferNoSchedule")
            ]
        },
    }
    raw = {}
    for name in feasible:
        taints = world.nodes[name]["spec"].get("taints") or ()
        raw[name] = sum(t["effect"] == "PreferNoSchedule" and not tolerates(soft, t) for t in taints)
    return scale(raw, reverse=True)


def affinity_score(world: World, pod: Obj, feasible: list[str]) -> dict[str, int]:
    preferred = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(PREFERRED)
    if not preferred:
        return {}
    raw = {n: sum(p["weight"] for p in preferred if node_term(p["preference"], world.nodes[n])) for n in feasible}
    return scale(raw)


def least_allocated(world: World, pod: Obj, feasible: list[str]) -> dict[str, int]:
    out = {}
    for name in feasible:
        score = weights = 0
        for resource in ("cpu", "memory"):
            capacity = units(resource, world.nodes[name]["status"]["allocatable"].get(resource, "0"))
            used = sum(requests(other, True)[resource] for other in [*world.pods.get(name, ()), pod])
            if capacity:
                score += 0 if used > capacity else (capacity - used) * 100 // capacity
                weights += 1
        out[name] = score // weights if weights else 0
    return out


def balanced(world: World, pod: Obj, feasible: list[str]) -> dict[str, int]:
    if not any(requests(pod).get(resource) for resource in ("cpu", "memory")):
        return {}
    out = {}
    for name in feasible:
        here = world.pods.get(name, [])
        out[name] = 50 + (50 + balance(world.nodes[name], [*here, pod]) - balance(world.nodes[name], here)) // 2
    return out


def balance(node: Obj, pods: list[Obj]) -> int:
    fractions = []
    for resource in ("cpu", "memory"):
        capacity = units(resource, node["status"]["allocatable"].get(resource, "0"))
        used = sum(requests(other).get(resource, 0) for other in pods)
        if capacity:
            fractions.append(min(used / capacity, 1.0))
    deviation = abs(fractions[0] - fractions[1]) / 2 if len(fractions) == 2 else 0.0
    return int((1 - deviation) * 100)


def spread_score(world: World, pod: Obj, feasible: list[str]) -> dict[str, int]:
    soft = [i for i in pod["spec"].get("topologySpreadConstraints") or () if i["whenUnsatisfiable"] == "ScheduleAnyway"]
    if not soft:
        return {}
    kept = [n for n in feasible if all(i["topologyKey"] in labels_of(world.nodes[n]) for i in soft)]
    raw: dict[str, float] = dict.fromkeys(kept, 0.0)
    for item in soft:
        key = item["topologyKey"]
        sizes = len(kept) if key == HOST else len({labels_of(world.nodes[n])[key] for n in kept})
        counts = spread_counts(world, pod, item, soft)
        for name in kept:
            if key == HOST:
                everywhere = {**item, "nodeAffinityPolicy": "Ignore", "nodeTaintsPolicy": "Ignore"}
                alone = World({name: world.nodes[name]}, world.pods, world.namespaces)
                count = sum(spread_counts(alone, pod, everywhere, [item]).values())
            else:
                count = counts.get(labels_of(world.nodes[name])[key], 0)
            raw[name] += count * math.log(sizes + 2) + item["maxSkew"] - 1
    rounded = {name: math.floor(value + 0.5) for name, value in raw.items()}
    most, least = max(rounded.values(), default=0), min(rounded.values(), default=0)
    if most == 0:
        return {name: 100 if name in rounded else 0 for name in feasible}
    return {name: 100 * (most + least - rounded[name]) // most if name in rounded else 0 for name in feasible}


def inter_pod_score(world: World, pod: Obj, feasible: list[str]) -> dict[str, int]:
    points: dict[tuple[str, str], int] = {}

    def add(term: Obj, weight: int, at: Obj) -> None:
        key = term["topologyKey"]
        if key in labels_of(at):
            points[key, labels_of(at)[key]] = points.get((key, labels_of(at)[key]), 0) + weight

    for other, at in everyone(world):
        for which, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
            for item in pod_terms(pod, which, PREFERRED):
                if term_matches(world, pod, item["podAffinityTerm"], other):
                    add(item["podAffinityTerm"], sign * item["weight"], at)
            for item in pod_terms(other, which, PREFERRED):
                if term_matches(world, other, item["podAffinityTerm"], pod):
                    add(item["podAffinityTerm"], sign * item["weight"], at)
        for term in pod_terms(other, "podAffinity", REQUIRED):
            if term_matches(world, other, term, pod):
                add(term, 1, at)
    raw = {n: sum(points.get((k, v), 0) for k, v in labels_of(world.nodes[n]).items()) for n in feasible}
    least, most = min(raw.values(), default=0), max(raw.values(), default=0)
    if most == least:
        return {}
    return {name: int(100 * ((value - least) / (most - least))) for name, value in raw.items()}

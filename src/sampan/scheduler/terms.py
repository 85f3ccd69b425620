"""The parts of a pod's wishes: tolerations, node selectors, affinity terms, spread constraints.

Each can be asked of one node or pod as it stands (`matches`); the plugins ask the same of all nodes at once.

Source: k8s.io/component-helpers/scheduling/corev1/nodeaffinity, pkg/scheduler/framework/types.go (AffinityTerm),
plugins/podtopologyspread/common.go
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sampan.api.selectors import EVERYTHING, LabelSelector, Requirement, label_selector_from

Obj = dict[str, Any]
Labels = Mapping[str, str]
HOSTNAME = "kubernetes.io/hostname"


@dataclass(frozen=True, slots=True)
class Taint:
    key: str
    value: str
    effect: str

    @classmethod
    def of(cls, raw: Obj) -> Taint:
        return cls(raw.get("key", ""), raw.get("value", ""), raw.get("effect", ""))


@dataclass(frozen=True, slots=True)
class Toleration:
    key: str
    operator: str
    value: str
    effect: str

    @classmethod
    def of(cls, raw: Obj) -> Toleration:
        return cls(raw.get("key", ""), raw.get("operator") or "Equal", raw.get("value", ""), raw.get("effect", ""))

    def tolerates(self, taint: Taint) -> bool:
        if (self.effect and self.effect != taint.effect) or (self.key and self.key != taint.key):
            return False
        match self.operator:
            case "Exists":
                return True
            case "Equal":
                return self.value == taint.value
            case "Gt" | "Lt":
                try:
                    asked, there = int(self.value), int(taint.value)
                except ValueError:
                    return False
                return there > asked if self.operator == "Gt" else there < asked
        return False


def tolerated(tolerations: tuple[Toleration, ...], taint: Taint) -> bool:
    return any(item.tolerates(taint) for item in tolerations)


_NODE_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!", "Gt": "gt", "Lt": "lt"}


@dataclass(frozen=True, slots=True)
class NodeTerm:
    """All of its expressions must hold; a term without any matches nothing."""

    labels: tuple[Requirement, ...]
    fields: tuple[Requirement, ...] = ()

    @classmethod
    def of(cls, raw: Obj) -> NodeTerm:
        def read(items: list[Obj] | None) -> tuple[Requirement, ...]:
            return tuple(
                Requirement(item.get("key", ""), _NODE_OPERATORS[item["operator"]], tuple(item.get("values") or ()))
                for item in items or ()
            )

        return cls(read(raw.get("matchExpressions")), read(raw.get("matchFields")))

    def matches(self, name: str, labels: Labels) -> bool:
        if not self.labels and not self.fields:
            return False
        named = {"metadata.name": name}
        return all(r.matches(labels) for r in self.labels) and all(r.matches(named) for r in self.fields)


@dataclass(frozen=True, slots=True)
class NodeSelector:
    """`nodeSelector` and required node affinity: the map, and one of the terms (None: no terms were given)."""

    exact: tuple[tuple[str, str], ...]
    terms: tuple[NodeTerm, ...] | None

    @classmethod
    def of(cls, exact: dict[str, str] | None, required: Obj | None) -> NodeSelector | None:
        if not exact and required is None:
            return None
        terms = None if required is None else tuple(NodeTerm.of(raw) for raw in required.get("nodeSelectorTerms") or ())
        return cls(tuple(sorted((exact or {}).items())), terms)

    def matches(self, name: str, labels: Labels) -> bool:
        if any(labels.get(key) != value for key, value in self.exact):
            return False
        return self.terms is None or any(term.matches(name, labels) for term in self.terms)


@dataclass(frozen=True, slots=True)
class PreferredNode:
    weight: int
    term: NodeTerm

    @classmethod
    def of(cls, raw: Obj) -> PreferredNode:
        return cls(int(raw.get("weight", 0)), NodeTerm.of(raw.get("preference") or {}))


@dataclass(frozen=True, slots=True)
class AffinityTerm:
    """`namespaces` and the labels of namespaces that `namespace_selector` matches: where pods are looked for."""

    topology_key: str
    selector: LabelSelector
    namespaces: frozenset[str]
    namespace_selector: LabelSelector | None
    weight: int = 0

    @classmethod
    def of(cls, raw: Obj, namespace: str, labels: Labels) -> AffinityTerm:
        selector = with_label_keys(label_selector_from(raw.get("labelSelector")), raw, labels)
        chosen = raw.get("namespaceSelector")
        named = frozenset(raw.get("namespaces") or (() if chosen is not None else (namespace,)))
        return cls(
            raw.get("topologyKey", ""), selector, named, label_selector_from(chosen) if chosen is not None else None
        )

    @classmethod
    def weighted(cls, raw: Obj, namespace: str, labels: Labels) -> AffinityTerm:
        return replace(cls.of(raw.get("podAffinityTerm") or {}, namespace, labels), weight=int(raw.get("weight", 0)))

    def covers(self, namespace: str, namespace_labels: Labels) -> bool:
        if namespace in self.namespaces:
            return True
        return self.namespace_selector is not None and self.namespace_selector.matches(namespace_labels)

    def matches(self, namespace: str, namespace_labels: Labels, labels: Labels) -> bool:
        """Is a pod with these one of those the term speaks of?"""
        return self.covers(namespace, namespace_labels) and self.selector.matches(labels)


def with_label_keys(selector: LabelSelector, raw: Obj, labels: Labels) -> LabelSelector:
    """`matchLabelKeys` and `mismatchLabelKeys` joined in, where the API server has not done so."""
    more = [
        Requirement(key, operator, (labels[key],))
        for field, operator in (("matchLabelKeys", "in"), ("mismatchLabelKeys", "notin"))
        for key in raw.get(field) or ()
        if key in labels
    ]
    new = tuple(item for item in more if item not in selector.requirements)
    return replace(selector, requirements=(*selector.requirements, *new)) if new else selector


@dataclass(frozen=True, slots=True)
class Spread:
    """One topology spread constraint. `hard`: DoNotSchedule."""

    max_skew: int
    topology_key: str
    hard: bool
    selector: LabelSelector
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False

    @classmethod
    def of(cls, raw: Obj, labels: Labels) -> Spread:
        return cls(
            int(raw.get("maxSkew", 1)),
            raw.get("topologyKey", ""),
            raw.get("whenUnsatisfiable") != "ScheduleAnyway",
            with_label_keys(label_selector_from(raw.get("labelSelector")), raw, labels),
            int(raw.get("minDomains") or 1),
            (raw.get("nodeAffinityPolicy") or "Honor") == "Honor",
            raw.get("nodeTaintsPolicy") == "Honor",
        )


__all__ = ["EVERYTHING", "HOSTNAME", "AffinityTerm", "NodeSelector", "NodeTerm", "PreferredNode", "Spread", "Taint", "Toleration", "tolerated"]  # fmt: skip

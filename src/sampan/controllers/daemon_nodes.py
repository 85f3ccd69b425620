"""Where the pods of DaemonSets belong: which nodes suit, which taints they bear, how a pod is tied to its node.

A pod is made for one node: a node affinity names it, and the scheduler puts it there.

Source: kubernetes/pkg/controller/daemon/daemon_controller.go (NodeShouldRunDaemonPod), daemon/util/daemonset_util.go,
k8s.io/component-helpers/scheduling/corev1/{helpers,nodeaffinity}.go
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sampan.controllers.nodes import taints

Obj = dict[str, Any]
FIELD = "metadata.name"
_PREFIX = "node.kubernetes.io/"


def _toleration(name: str, effect: str) -> Obj:
    return {"key": _PREFIX + name, "operator": "Exists", "effect": effect}


TOLERATIONS = (
    _toleration("not-ready", "NoExecute"),
    _toleration("unreachable", "NoExecute"),
    _toleration("disk-pressure", "NoSchedule"),
    _toleration("memory-pressure", "NoSchedule"),
    _toleration("pid-pressure", "NoSchedule"),
    _toleration("unschedulable", "NoSchedule"),
)
ON_HOST_NETWORK = _toleration("network-unavailable", "NoSchedule")


def tolerations_of(spec: Obj) -> list[Obj]:
    """A template's own and those that every daemon has."""
    own = spec.get("tolerations") or []
    added = (*TOLERATIONS, ON_HOST_NETWORK) if spec.get("hostNetwork") else TOLERATIONS

    def key(toleration: Obj) -> tuple[Any, ...]:
        return tuple(toleration.get(name, "") for name in ("key", "value", "effect", "operator"))

    needed = {key(toleration): toleration for toleration in added}
    mine = {key(toleration) for toleration in own}
    return [
        *(needed.get(key(toleration), toleration) for toleration in own),
        *(t for k, t in needed.items() if k not in mine),
    ]


def tolerates(toleration: Obj, taint: Obj) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    return toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")


def should_run(daemon_set: Obj, node: Obj) -> tuple[bool, bool]:
    """Whether a pod of it belongs on the node, and whether one that is there may stay."""
    spec = daemon_set["spec"]["template"]["spec"]
    if spec.get("nodeName") not in (None, "", node["metadata"]["name"]) or not suits(spec, node):
        return False, False
    tolerations = tolerations_of(spec)
    effects = {taint["effect"] for taint in taints(node) if not any(tolerates(item, taint) for item in tolerations)} - {
        "PreferNoSchedule"
    }
    return not effects, "NoExecute" not in effects


def suits(spec: Obj, node: Obj) -> bool:
    """By node selector and required node affinity."""
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(_matches(term, node, labels) for term in required.get("nodeSelectorTerms") or ())


def _matches(term: Obj, node: Obj, labels: Obj) -> bool:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    name = {FIELD: node["metadata"]["name"]}
    return _all(expressions, labels) and _all(fields, name)


def _all(requirements: Iterable[Obj], values: Obj) -> bool:
    return all(_holds(item["operator"], values.get(item["key"]), item.get("values") or ()) for item in requirements)


def _holds(operator: str, value: str | None, wanted: Any) -> bool:
    match operator:
        case "In":
            return value in wanted
        case "NotIn":
            return value not in wanted
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    try:
        return value is not None and (int(value) > int(wanted[0]) if operator == "Gt" else int(value) < int(wanted[0]))
    except ValueError:
        return False


# -- pods --------------------------------------------------------------------------------------------------------------


def bound_to(spec: Obj, node: str) -> Obj:
    """A pod's spec that can only run on that node."""
    affinity = spec.get("affinity") or {}
    only = {"nodeSelectorTerms": [{"matchFields": [{"key": FIELD, "operator": "In", "values": [node]}]}]}
    wanted = {**(affinity.get("nodeAffinity") or {}), "requiredDuringSchedulingIgnoredDuringExecution": only}
    return {**spec, "affinity": {**affinity, "nodeAffinity": wanted}}


def target_of(pod: Obj) -> str:
    """The node it is on or is made for; empty: none can be told."""
    spec = pod["spec"]
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field["key"] == FIELD and field["operator"] == "In" and len(field["values"]) == 1:
                return str(field["values"][0])
    return ""

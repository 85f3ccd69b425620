"""A new node is tainted until the node controller has seen that it is ready.

Source: kubernetes/plugin/pkg/admission/nodetaint/admission.go
"""

from __future__ import annotations

from sampan.apiserver.admission.chain import Attributes, Plugin

TAINT = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


class TaintNodesByCondition(Plugin):
    resources = frozenset({("", "nodes")})
    operations = frozenset({"CREATE"})

    async def mutate(self, attributes: Attributes) -> None:
        if attributes.obj is None:
            return
        spec = attributes.obj.setdefault("spec", {})
        taints = spec.get("taints") or []
        if not any(item.get("key") == TAINT["key"] and item.get("effect") == TAINT["effect"] for item in taints):
            spec["taints"] = [*taints, dict(TAINT)]

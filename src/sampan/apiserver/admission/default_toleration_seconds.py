"""Pods stay five minutes on a node that is not ready or not reachable, unless they say otherwise.

Source: kubernetes/plugin/pkg/admission/defaulttolerationseconds/admission.go
"""

from __future__ import annotations

from sampan.apiserver.admission.chain import Attributes, Plugin

SECONDS = 300
TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class DefaultTolerationSeconds(Plugin):
    resources = frozenset({("", "pods")})
    operations = frozenset({"CREATE", "UPDATE"})

    async def mutate(self, attributes: Attributes) -> None:
        if attributes.obj is None:
            return
        spec = attributes.obj["spec"]
        have = spec.get("tolerations") or []
        tolerated = {item.get("key", "") for item in have if item.get("effect", "") in ("", "NoExecute")}
        if "" in tolerated:
            return
        missing = [
            {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}
            for key in TAINTS
            if key not in tolerated
        ]
        if missing:
            spec["tolerations"] = [*have, *missing]

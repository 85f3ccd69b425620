"""A pod carries its node's zone and region as labels, from the moment it has a node.

Source: kubernetes/plugin/pkg/admission/podtopologylabels/admission.go
"""

from __future__ import annotations

from sampan.api.kind import Obj
from sampan.apiserver.admission.chain import Attributes, Plugin

LABELS = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class PodTopologyLabels(Plugin):
    resources = frozenset({("", "pods")})
    operations = frozenset({"CREATE"})
    subresources = frozenset({"", "binding"})

    async def mutate(self, attributes: Attributes) -> None:
        """Of a Binding: its labels become the pod's."""
        obj = attributes.obj
        if obj is None:
            return
        node = _node(obj, bool(attributes.subresource))
        record = attributes.api.cached("", "nodes").get(node) if node else None
        if record is None or not record.labels:
            return
        added = {key: record.labels[key] for key in LABELS if key in record.labels}
        if added:
            meta = obj["metadata"]
            meta["labels"] = {**added, **(meta.get("labels") or {})}


def _node(obj: Obj, binding: bool) -> str:
    if not binding:
        return str(obj["spec"].get("nodeName") or "")
    target = obj.get("target") or {}
    return str(target.get("name") or "") if target.get("kind") == "Node" else ""

"""ReplicaSets: so many pods, of one template.

Source: kubernetes/pkg/controller/replicaset/replica_set.go
"""

from __future__ import annotations

from typing import Any

from sampan.api.selectors import LabelSelector, label_selector_from
from sampan.controllers.context import Context
from sampan.controllers.replicas import Flavour, Replicas


def selector(replica_set: dict[str, Any]) -> LabelSelector:
    return label_selector_from(replica_set["spec"].get("selector"))


FLAVOUR = Flavour("ReplicaSet", "replicasets.apps", "replicaset-controller", selector, counts_terminating=True)


class ReplicaSetController(Replicas):
    def __init__(self, context: Context) -> None:
        super().__init__(context, FLAVOUR)

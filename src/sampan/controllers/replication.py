"""ReplicationControllers: what was there before ReplicaSets. Their selector is a plain map.

Source: kubernetes/pkg/controller/replication/{replication_controller,conversion}.go
"""

from __future__ import annotations

from typing import Any

from sampan.api.selectors import LabelSelector, selector_from_map
from sampan.controllers.context import Context
from sampan.controllers.replicas import Flavour, Replicas


def selector(controller: dict[str, Any]) -> LabelSelector:
    return selector_from_map(controller["spec"].get("selector"))


FLAVOUR = Flavour(
    "ReplicationController", "replicationcontrollers", "replication-controller", selector, counts_terminating=False
)


class ReplicationControllerController(Replicas):
    def __init__(self, context: Context) -> None:
        super().__init__(context, FLAVOUR)

"""The kubelet as its server sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sampan.kubelet.server import metrics

if TYPE_CHECKING:
    from sampan.kubelet.kubelet import Kubelet

Obj = dict[str, Any]


class View:
    """`server.Host`: the pods of the workers, with the statuses that were last made."""

    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet

    def pods(self) -> list[Obj]:
        return [self._with_status(worker.pod) for worker in self._kubelet.workers.values()]

    def pod(self, namespace: str, name: str) -> Obj | None:
        for worker in self._kubelet.workers.values():
            meta = worker.pod["metadata"]
            if meta["name"] == name and meta["namespace"] == namespace:
                return self._with_status(worker.pod)
        return None

    def unhealthy(self) -> str:
        # the workers wait for events: there is no loop that could stand still while we answer
        return ""

    def probe_metrics(self) -> str:
        return metrics.slis({"syncloop": ""})

    def _with_status(self, pod: Obj) -> Obj:
        return {**pod, "status": self._kubelet.statuses.get(pod)}

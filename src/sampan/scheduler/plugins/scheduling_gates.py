"""SchedulingGates: a pod waits until every gate has been taken off it.

Source: plugins/schedulinggates/scheduling_gates.go
"""

from __future__ import annotations

from sampan.scheduler.changes import POD_UNGATED, TARGET_POD, Hint
from sampan.scheduler.framework import Plugin
from sampan.scheduler.shape import PodInfo


class SchedulingGates(Plugin):
    name = "SchedulingGates"

    def hints(self) -> list[Hint]:
        return [Hint(TARGET_POD, POD_UNGATED)]

    def pre_enqueue(self, pod: PodInfo) -> str | None:
        return f"waiting for scheduling gates: [{' '.join(pod.gates)}]" if pod.gates else None

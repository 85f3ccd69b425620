"""DynamicResources: pods that claim devices.

DEVIATION: devices are not allocated. A pod with resource claims waits; upstream allocates devices for it.

What is here beyond that is the plugin's part in the words about pods that fit nowhere: upstream's looks for what its
prefilter has kept, and says that this was not found where another one's refused the pod before it.

Source: plugins/dynamicresources/dynamicresources.go (PreFilter, PostFilter)
"""

from __future__ import annotations

from sampan.scheduler.changes import Hint
from sampan.scheduler.framework import Cycle, Plugin, PostFilter, Refused
from sampan.scheduler.words import FitError


class DynamicResources(Plugin):
    name = "DynamicResources"

    def hints(self) -> list[Hint]:
        return []

    def prefilter(self, cycle: Cycle) -> None:
        cycle.state[self.name] = True
        if cycle.pod.pod.get("spec", {}).get("resourceClaims"):
            raise Refused(self.name, "resource claims cannot be allocated in this cluster")

    def post_filter(self, cycle: Cycle, error: FitError) -> PostFilter | None:
        return None if self.name in cycle.state else PostFilter("not found", failed=True)

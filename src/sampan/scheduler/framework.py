"""The framework: what a plugin is, and one pod's way through the plugins of a profile.

A filter answers for all nodes at once with an array of codes: 0 lets the pod in, any other number stands for reasons
that the plugin can name. A score answers with one number for each feasible node, 0 to 100. None means that a plugin has
nothing to say about this pod, which costs nothing.

Source: k8s.io/kube-scheduler/framework/interface.go, pkg/scheduler/framework/runtime/framework.go, schedule_one.go
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sampan.api.selectors import LabelSelector
from sampan.scheduler.cluster import Cluster, Mask
from sampan.scheduler.shape import PodInfo, Shape

MAX_SCORE = 100
NOBODY, NARROWED = -1, -2
Codes = NDArray[np.int32]
Scores = NDArray[np.int64]
Slots = NDArray[np.intp]


@dataclass(slots=True)
class Cycle:
    """One attempt to place one pod. `state`: what a plugin keeps from filter to score. `default_selector`: what services
    and owners select this pod by, for spreading that nobody asked for. `only`: slots that prefilters narrowed it to."""

    pod: PodInfo
    cluster: Cluster
    default_selector: LabelSelector | None = None
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> Shape:
        return self.pod.shape

    def memo(self, key: Any) -> Any:
        """What was kept for this shape while the nodes stood as they do now."""
        kept = self.shape.memo.get(key)
        return kept[1] if kept is not None and kept[0] == (id(self.cluster), self.cluster.generation) else None

    def keep(self, key: Any, value: Any) -> Any:
        self.shape.memo[key] = ((id(self.cluster), self.cluster.generation), value)
        return value


class Refused(Exception):
    """The pod cannot be placed anywhere, whatever the nodes are (a prefilter's answer). `message` as upstream words it;
    `final`: preemption cannot help either."""

    def __init__(self, plugin: str, message: str, *, final: bool = True) -> None:
        super().__init__(message)
        self.plugin = plugin
        self.message = message
        self.final = final


class Plugin:
    """Override what the plugin takes part in."""

    name = ""
    #: weight of its score unless a profile says otherwise
    weight = 0

    def prefilter(self, cycle: Cycle) -> None:
        """Raises Refused."""

    def narrow(self, cycle: Cycle) -> Mask | None:
        """The only nodes that come into question, where that can be told without asking each (None: all do)."""
        return None

    def filter(self, cycle: Cycle) -> Codes | None:
        """Codes by slot (at least `cluster.slots` of them)."""
        return None

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        """What a code of `filter` means, as upstream words it."""
        raise NotImplementedError

    def unresolvable(self, cycle: Cycle, code: int) -> bool:
        """Taking other pods away would not help."""
        return False

    def score(self, cycle: Cycle, slots: Slots) -> Scores | None:
        """0 to 100 for each of `slots`."""
        return None


@dataclass(slots=True)
class Diagnosis:
    """Why nodes were refused: for each slot the index of the plugin that did (or `NOBODY`, `NARROWED`) and its code.
    `narrowed_by`: the plugins that let only some nodes come into question."""

    plugins: Sequence[Plugin]
    by: NDArray[np.int32]
    codes: Codes
    narrowed_by: tuple[str, ...] = ()

    def reasons(self, cycle: Cycle, slot: int) -> tuple[str, ...]:
        return self._reasons(cycle, int(self.by[slot]), int(self.codes[slot]))

    def plugin(self, slot: int) -> str:
        """The name of the one that refused the node (empty: none did)."""
        index = int(self.by[slot])
        return self.plugins[index].name if index >= 0 else ", ".join(self.narrowed_by) if index == NARROWED else ""

    def _reasons(self, cycle: Cycle, plugin: int, code: int) -> tuple[str, ...]:
        if plugin == NARROWED:
            return (f"node(s) didn't satisfy plugin(s) [{' '.join(self.narrowed_by)}]",)
        return self.plugins[plugin].reasons(cycle, code) if plugin >= 0 else ()

    def histogram(self, cycle: Cycle) -> dict[str, int]:
        """Nodes by reason; a node may have several."""
        out: dict[str, int] = {}
        valid = cycle.cluster.valid[: len(self.by)]
        for plugin in np.unique(self.by[valid]):
            if plugin == NOBODY:
                continue
            codes, counts = np.unique(self.codes[valid & (self.by == plugin)], return_counts=True)
            for code, count in zip(codes, counts, strict=True):
                for reason in self._reasons(cycle, int(plugin), int(code)):
                    out[reason] = out.get(reason, 0) + int(count)
        return out

    def resolvable(self, cycle: Cycle) -> Mask:
        """Slots of nodes that preemption might help."""
        out = cycle.cluster.valid[: len(self.by)] & (self.by >= 0)
        for plugin in np.unique(self.by[out]):
            mine = out & (self.by == plugin)
            for code in np.unique(self.codes[mine]):
                if self.plugins[plugin].unresolvable(cycle, int(code)):
                    out &= ~(mine & (self.codes == code))
        return out


@dataclass(slots=True)
class Profile:
    """One scheduler name's plugins, in order, with the weights of those that score."""

    scheduler_name: str
    filters: Sequence[Plugin]
    scorers: Sequence[tuple[Plugin, int]]

    def feasible(self, cycle: Cycle) -> tuple[Mask, Diagnosis]:
        """Nodes that every filter lets the pod on, and why the others do not. Raises Refused."""
        slots = cycle.cluster.slots
        valid = cycle.cluster.valid[:slots]
        left = valid.copy()
        narrowed = []
        for plugin in self.filters:
            plugin.prefilter(cycle)
            only = plugin.narrow(cycle)
            if only is not None:
                narrowed.append(plugin.name)
                left &= only[:slots]
        by = np.full(slots, NOBODY, np.int32)
        by[valid & ~left] = NARROWED
        codes = np.zeros(slots, np.int32)
        for index, plugin in enumerate(self.filters):
            found = plugin.filter(cycle)
            if found is None:
                continue
            found = found[:slots]
            refused = left & (found != 0)
            if refused.any():
                by[refused] = index
                codes[refused] = found[refused]
                left &= ~refused
                if not left.any():
                    break
        return left, Diagnosis(self.filters, by, codes, tuple(sorted(narrowed)))

    def scores(self, cycle: Cycle, slots: Slots) -> Scores:
        """The weighted sum for each feasible node."""
        total = np.zeros(len(slots), np.int64)
        for plugin, weight in self.scorers:
            found = plugin.score(cycle, slots)
            if found is not None:
                total += found * weight
        return total

    def scores_by_plugin(self, cycle: Cycle, slots: Slots) -> dict[str, Scores]:
        """Unweighted, for people who want to know."""
        out = {}
        for plugin, _ in self.scorers:
            found = plugin.score(cycle, slots)
            if found is not None:
                out[plugin.name] = found
        return out


def normalised(raw: NDArray[Any], *, reverse: bool = False) -> Scores:
    """Scaled so that the largest is 100 (`reverse`: so that the smallest is best), in whole numbers.

    Source: plugins/helper/normalize_score.go
    """
    most = int(raw.max()) if len(raw) else 0
    if most == 0:
        return np.full(len(raw), MAX_SCORE if reverse else 0, np.int64)
    out: Scores = raw.astype(np.int64) * MAX_SCORE // most
    return MAX_SCORE - out if reverse else out

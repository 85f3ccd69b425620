"""The framework: what a plugin is, and what one attempt to place a pod carries with it.

A filter answers for all nodes at once with an array of codes: 0 lets the pod in, any other number stands for reasons
that the plugin can name. A score answers with one number for each feasible node, 0 to 100. None means that a plugin has
nothing to say about this pod, which costs nothing.

Upstream's extension points are the methods of `Plugin`: PreEnqueue, PreFilter (`prefilter`, `narrow`), Filter,
PostFilter, Score (which sees all feasible nodes, so that it needs neither PreScore nor NormalizeScore), Reserve, Permit,
PreBind, Bind, PostBind. QueueSort is none of them: the order is PrioritySort's.

Source: k8s.io/kube-scheduler/framework/interface.go, pkg/scheduler/framework/runtime/framework.go
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sampan.api.selectors import LabelSelector
from sampan.scheduler.changes import Hint
from sampan.scheduler.cluster import Cluster, Mask
from sampan.scheduler.shape import PodInfo, Shape

if TYPE_CHECKING:
    from sampan.scheduler.words import FitError

MAX_SCORE = 100
NOBODY, NARROWED = -1, -2
Codes = NDArray[np.int32]
Scores = NDArray[np.int64]
Slots = NDArray[np.intp]
#: all slots, or some
At = slice | Slots
EVERYWHERE = slice(None)


@dataclass(slots=True)
class Cycle:
    """One attempt to place one pod. `state`: what a plugin keeps from one extension point to the next.
    `default_selector`: what services and owners select this pod by, for spreading that nobody asked for."""

    pod: PodInfo
    cluster: Cluster
    default_selector: LabelSelector | None = None
    state: dict[str, Any] = field(default_factory=dict)
    shape: Shape = field(init=False)

    def __post_init__(self) -> None:
        self.shape = self.pod.shape

    def memo(self, key: Any) -> Any:
        """What was kept for this shape while the nodes stood as they do now."""
        kept = self.shape.memo.get(key)
        return kept[1] if kept is not None and kept[0] is self.cluster.stamp else None

    def keep(self, key: Any, value: Any) -> Any:
        self.shape.memo[key] = (self.cluster.stamp, value)
        return value


class Refused(Exception):
    """The pod cannot be placed: anywhere (a prefilter's answer), or where it was to go (Reserve's, Permit's).

    `message` as upstream words it; `final`: preemption cannot help either; `plugin`: whose answer it is, or more than
    one's that together refuse it."""

    def __init__(self, plugin: str, message: str, *, final: bool = True, plugins: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.plugins = plugins or (plugin,)
        self.message = message
        self.final = final


class PluginFailed(Exception):
    """What a plugin raised other than Refused, as upstream words it."""


@contextmanager
def running(point: str, plugin: Plugin) -> Iterator[None]:
    """`point`: upstream's name of the extension point."""
    try:
        yield
    except Refused:
        raise
    except Exception as error:
        raise PluginFailed(f'running {point} plugin "{plugin.name}": {error}') from error


@dataclass(frozen=True, slots=True)
class PostFilter:
    """What became of a pod that fits nowhere. `nominated`: the node it will have (empty: take its nomination away;
    None: leave it as it is). `failed`: no other plugin is asked, and this alone is said."""

    message: str = ""
    nominated: str | None = None
    success: bool = False
    failed: bool = False


class Plugin:
    """Override what the plugin takes part in. What is raised other than Refused is an error: the pod is tried again."""

    name = ""
    #: weight of its score unless a profile says otherwise
    weight = 0
    #: what `filter_at` (`score`) says of a node changes only with that node and the pods on it
    local_filter = False
    local_score = False
    #: ... and not with the pods on it
    static_filter = False

    # -- waiting -------------------------------------------------------------------------------------------------------

    def hints(self) -> Sequence[Hint]:
        """Which changes may help the pods that it refuses. None at all: it never refuses, or any change may help."""
        return ()

    def pre_enqueue(self, pod: PodInfo) -> str | None:
        """Why the pod may not be tried yet."""
        return None

    # -- choosing ------------------------------------------------------------------------------------------------------

    def prefilter(self, cycle: Cycle) -> None:
        """Raises Refused."""

    def narrow(self, cycle: Cycle) -> Mask | None:
        """The only nodes that come into question, where that can be told without asking each (None: all do)."""
        return None

    def filter(self, cycle: Cycle) -> Codes | None:
        """Codes by slot (at least `cluster.slots` of them)."""
        return self.filter_at(cycle, EVERYWHERE) if self.local_filter else None

    def filter_at(self, cycle: Cycle, at: At) -> Codes | None:
        """Of some slots, one code for each; asked of those with `local_filter`."""
        raise NotImplementedError

    def filter_one(self, cycle: Cycle, slot: int) -> int:
        """Of one slot; overridden where plain numbers answer faster than arrays of one."""
        found = self.filter_at(cycle, np.array([slot], np.intp))
        return 0 if found is None else int(found[0])

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        """What a code of `filter` means, as upstream words it."""
        raise NotImplementedError

    def unresolvable(self, cycle: Cycle, code: int) -> bool:
        """Taking other pods away would not help."""
        return False

    def post_filter(self, cycle: Cycle, error: FitError) -> PostFilter | None:
        """The pod fits nowhere: can something be done? None: it has nothing to do with that."""
        return None

    def score(self, cycle: Cycle, slots: Slots) -> Scores | int | None:
        """0 to 100 for each of `slots`, or the same for all."""
        return None

    def score_one(self, cycle: Cycle, slot: int) -> int:
        """Of one slot, with `local_score`; as `filter_one`."""
        found = self.score(cycle, np.array([slot], np.intp))
        return 0 if found is None else found if isinstance(found, int) else int(found[0])

    # -- carrying out --------------------------------------------------------------------------------------------------

    def reserve(self, cycle: Cycle, node: str) -> None:
        """The pod is taken to be there from now on. Raises Refused."""

    def unreserve(self, cycle: Cycle, node: str) -> None:
        """It is not; also called where `reserve` was not."""

    async def permit(self, cycle: Cycle, node: str) -> None:
        """Returns when the pod may be bound; meanwhile others are placed. Raises Refused."""

    def will_pre_bind(self, cycle: Cycle, node: str) -> bool:
        """Has `pre_bind` anything to do for this pod, which may take a while?"""
        return True

    async def pre_bind(self, cycle: Cycle, node: str) -> None:
        """What must be done before the pod is bound."""

    async def bind(self, cycle: Cycle, node: str) -> bool:
        """False: left to the next plugin."""
        return False

    def post_bind(self, cycle: Cycle, node: str) -> None:
        """It is bound."""


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

    def refusers(self, cycle: Cycle) -> set[str]:
        """All plugins that refused a node."""
        found = np.unique(self.by[cycle.cluster.valid[: len(self.by)]])
        return {self.plugins[index].name for index in found if index >= 0} | set(self.narrowed_by)

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


def normalised(raw: NDArray[Any], *, reverse: bool = False) -> Scores:
    """Scaled so that the largest is 100 (`reverse`: so that the smallest is best), in whole numbers.

    Source: plugins/helper/normalize_score.go
    """
    most = int(raw.max()) if len(raw) else 0
    if most == 0:
        return np.full(len(raw), MAX_SCORE if reverse else 0, np.int64)
    out: Scores = raw.astype(np.int64) * MAX_SCORE // most
    return MAX_SCORE - out if reverse else out

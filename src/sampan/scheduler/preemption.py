"""DefaultPreemption: a pod that fits nowhere may take the place of others that matter less.

For each node that could help, all less important pods are taken away in thought; if the pod fits then, as many as
possible are given back, those first whose disruption budget would be violated, then by importance. Of the nodes that are
left the one is chosen where least is lost. Its victims are told why and deleted, beside the loop; the pod has the node
nominated, and comes again when they are gone.

Source: pkg/scheduler/framework/plugins/defaultpreemption/default_preemption.go, framework/preemption/preemption.go
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sampan.api.errors import StatusError
from sampan.api.selectors import label_selector_from
from sampan.client import HttpError
from sampan.client.errors import is_conflict, is_not_found
from sampan.scheduler import quick
from sampan.scheduler.changes import Hint
from sampan.scheduler.framework import Cycle, Plugin, PostFilter
from sampan.scheduler.handle import Handle
from sampan.scheduler.profile import Profile
from sampan.scheduler.shape import PodInfo
from sampan.scheduler.status import condition, status_patch
from sampan.scheduler.words import NOT_HELPFUL, FitError, not_available

log = logging.getLogger("sampan.scheduler")
Obj = dict[str, Any]
NO_VICTIMS = "No preemption victims found for incoming pod"
NEVER = "not eligible due to preemptionPolicy=Never."
TERMINATING = "not eligible due to a terminating pod on the nominated node."
#: victims that are being deleted at once, of one pod
AT_ONCE = 16
NOT_STARTED = "~"  # sorts behind every time


@dataclass(frozen=True, slots=True)
class Candidate:
    """`victims` by importance, the most important first; `violations`: how many break a disruption budget."""

    node: str
    victims: tuple[PodInfo, ...]
    violations: int

    def cost(self) -> tuple[int, int, int, int]:
        priorities = [pod.priority for pod in self.victims]
        # made positive, so that fewer pods of a negative priority are better than more of them
        return (self.violations, priorities[0], sum(value + 2**31 for value in priorities), len(priorities))

    def started(self) -> str:
        """When the first of the most important ones started."""
        most = self.victims[0].priority
        return min(pod.started or NOT_STARTED for pod in self.victims if pod.priority == most)


def importance(pod: PodInfo) -> tuple[int, str]:
    return (-pod.priority, pod.started or NOT_STARTED)


def pick(candidates: Sequence[Candidate]) -> Candidate:
    """The cheapest; of equals the one whose victims have run shortest; of those the first."""
    least = min(item.cost() for item in candidates)
    equals = [item for item in candidates if item.cost() == least]
    latest = max(item.started() for item in equals)
    return next(item for item in equals if item.started() == latest)


class DefaultPreemption(Plugin):
    """`percentage`, `absolute`: how many nodes are looked at, at least the larger of the two."""

    name = "DefaultPreemption"

    def __init__(self, handle: Handle, percentage: int = 10, absolute: int = 100) -> None:
        self.handle = handle
        self.percentage = percentage
        self.absolute = absolute
        self.budgets = handle.informers.get("poddisruptionbudgets.policy")
        self._preempting: set[str] = set()
        self._held: set[str] = set()

    @property
    def profile(self) -> Profile:
        assert self.handle.profile is not None
        return self.handle.profile

    def hints(self) -> list[Hint]:
        """Those that refused the pod in the first place know when it may come again."""
        return []

    def pre_enqueue(self, pod: PodInfo) -> str | None:
        if pod.uid not in self._preempting:
            return None
        self._held.add(pod.uid)
        return "waiting for the preemption for this pod to be finished"

    # -- whether and where ---------------------------------------------------------------------------------------------

    def post_filter(self, cycle: Cycle, error: FitError) -> PostFilter | None:
        self.handle.metrics.preemptions += 1
        why = self._not_eligible(cycle, error)
        if why:
            return PostFilter(f"preemption: {why}")
        asked = error.diagnosis is not None
        candidates, refused = self.candidates(cycle, self._potential(cycle, error), quickly=asked)
        if not candidates:
            reasons = Counter(reason for said in refused.values() for reason in said)
            if left := error.total - len(refused):
                reasons[NOT_HELPFUL] += left
            return PostFilter(f"preemption: {not_available(error.total, reasons)}", nominated="")
        best = pick(candidates)
        self.handle.metrics.victims.observe(len(best.victims))
        log.info("pod %s preempts %d pods on node %s", cycle.pod.key, len(best.victims), best.node)
        self._prepare(cycle.pod, best)
        return PostFilter(nominated=best.node, success=True)

    def _not_eligible(self, cycle: Cycle, error: FitError) -> str:
        pod = cycle.pod
        if pod.shape.preemption_policy == "Never":
            return NEVER
        node = cycle.cluster.nodes.get(self.handle.nominator.node_of(pod.uid) or pod.nominated)
        if node is None or not self._may_help(cycle, error, node.slot):
            # the one in view cannot be had whatever goes: look again
            return ""
        going = any(other.preempted and other.priority < pod.priority for other in node.pods.values())
        return TERMINATING if going else ""

    @staticmethod
    def _may_help(cycle: Cycle, error: FitError, slot: int) -> bool:
        if error.diagnosis is None:
            return not error.final
        return bool(error.diagnosis.by[slot] < 0 or error.diagnosis.resolvable(cycle)[slot])

    @staticmethod
    def _potential(cycle: Cycle, error: FitError) -> list[str]:
        """Nodes that taking pods away from might help."""
        cluster = cycle.cluster
        if error.diagnosis is None:
            return [] if error.final else list(cluster.nodes)
        mask = error.diagnosis.resolvable(cycle)
        return [info.name for info in cluster.by_slot[: len(mask)] if info is not None and mask[info.slot]]

    def candidates(
        self, cycle: Cycle, potential: list[str], *, quickly: bool
    ) -> tuple[list[Candidate], dict[str, tuple[str, ...]]]:
        """Nodes that can be had, and why those others that were looked at cannot. `quickly`: `potential` are those where
        a filter that other pods matter to was the first to refuse."""
        found: list[Candidate] = []
        refused: dict[str, tuple[str, ...]] = {}
        if not potential:
            return found, refused
        wanted = min(max(len(potential) * self.percentage // 100, self.absolute), len(potential))
        first = self.handle.rng.randrange(len(potential))
        budgets = self.budgets.cache.list()
        fits: quick.Checker = quick.General(self.profile, cycle, self.handle.nominator)
        if quickly:
            fits = quick.checker(self.profile, cycle, self.handle.nominator)
        for name in potential[first:] + potential[:first]:
            answer = self.victims(cycle, name, budgets, fits)
            if isinstance(answer, Candidate):
                found.append(answer)
                # those alone that violate a disruption budget are not enough: there may be better ones
                if len(found) >= wanted and any(not item.violations for item in found):
                    break
            else:
                refused[name] = answer
        return found, refused

    def victims(self, cycle: Cycle, name: str, budgets: list[Obj], fits: quick.Checker) -> Candidate | tuple[str, ...]:
        """Who must go from a node; or why that would not help."""
        info, pod = cycle.cluster.nodes[name], cycle.pod
        less = [other for other in info.pods.values() if other.priority < pod.priority]
        if not less:
            return (NO_VICTIMS,)
        less.sort(key=importance)
        with fits.without(info, less) as room:
            if why := room.refusal():
                return why
            violating, others = by_budget(less, budgets)
            gone = [other for other in violating if not room.give_back(other)]
            violations = len(gone)
            gone.extend(other for other in others if not room.give_back(other))
        if not gone:
            return (f'expected at least one victim pod on node "{name}"',)
        return Candidate(name, tuple(sorted(gone, key=importance)), violations)

    # -- carrying out --------------------------------------------------------------------------------------------------

    def _prepare(self, pod: PodInfo, chosen: Candidate) -> None:
        for other in self.handle.nominator.on(chosen.node):
            if other.priority < pod.priority:
                # its place is ours now: it must look for another
                self.handle.nominator.put(other, "")
                self.handle.spawn(self._clear(other))
        victims = [victim for victim in chosen.victims if not victim.terminating]
        if victims:
            self._preempting.add(pod.uid)
            self.handle.spawn(self._preempt(pod, chosen.node, victims))

    async def _clear(self, pod: PodInfo) -> None:
        patch = status_patch(pod.pod, None, "") if pod.pod else None
        if patch is None:
            return
        try:
            await self.handle.client.patch(
                "pods", pod.name, patch, pod.namespace, type="strategic", subresource="status"
            )
        except (StatusError, HttpError) as error:
            if not is_not_found(error):
                log.error("cannot clear 'NominatedNodeName' of pod %s: %s", pod.key, error)

    async def _preempt(self, pod: PodInfo, node: str, victims: list[PodInfo]) -> None:
        limit = asyncio.Semaphore(AT_ONCE)

        async def one(victim: PodInfo) -> bool:
            async with limit:
                return await self._evict(pod, node, victim)

        done = False
        try:
            done = all(await asyncio.gather(*(one(victim) for victim in victims)))
        finally:
            self._preempting.discard(pod.uid)
            held = pod.uid in self._held
            self._held.discard(pod.uid)
            if held or not done:
                self.handle.activate(pod.uid)

    async def _evict(self, pod: PodInfo, node: str, victim: PodInfo) -> bool:
        """False: it is still there."""
        handle = self.handle
        obj = handle.informers.get("pods").cache.by_key(victim.key)
        if obj is None or obj["metadata"]["uid"] != victim.uid:
            return True
        message = f"{handle.scheduler_name}: preempting to accommodate a higher priority pod"
        told = condition(obj, "DisruptionTarget", "True", "PreemptionByScheduler", message, handle.clock())
        try:
            patch = status_patch(obj, told, None)
            if patch is not None:
                await handle.client.patch(
                    "pods", victim.name, patch, victim.namespace, type="strategic", subresource="status"
                )
            await handle.client.delete("pods", victim.name, victim.namespace, uid=victim.uid)
        except (StatusError, HttpError) as error:
            if is_not_found(error) or is_conflict(error):
                return True
            log.error("pod %s could not preempt pod %s: %s", pod.key, victim.key, error)
            return False
        note = f"Preempted by pod {pod.uid} on node {node}"
        handle.tell(handle.scheduler_name, obj, "Normal", "Preempted", "Preempting", note, related=pod.pod or None)
        return True


def by_budget(pods: list[PodInfo], budgets: list[Obj]) -> tuple[list[PodInfo], list[PodInfo]]:
    """Those whose going would violate a disruption budget, and the others, each in the order given."""
    violating: list[PodInfo] = []
    others: list[PodInfo] = []
    left = {}
    selectors = {}
    for index, budget in enumerate(budgets):
        left[index] = (budget.get("status") or {}).get("disruptionsAllowed", 0)
        selectors[index] = label_selector_from((budget.get("spec") or {}).get("selector"))
    for pod in pods:
        violated = False
        for index, budget in enumerate(budgets if pod.shape.labels else ()):
            selector = selectors[index]
            if (
                budget["metadata"]["namespace"] != pod.namespace
                or not selector
                or not selector.matches(pod.shape.labels)
            ):
                continue
            if pod.name in ((budget.get("status") or {}).get("disruptedPods") or {}):
                continue  # it has been counted already
            left[index] -= 1
            violated = violated or left[index] < 0
        (violating if violated else others).append(pod)
    return violating, others

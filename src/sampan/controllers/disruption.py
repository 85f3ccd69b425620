"""PodDisruptionBudgets: how many of their pods may be disrupted now.

What an eviction took from a budget stays in `disruptedPods` until the pod is seen to go, two minutes at most; and a pod
that was marked to be disrupted but is still there two minutes later is marked so no more.

Source: kubernetes/pkg/controller/disruption/disruption.go
"""

from __future__ import annotations

import asyncio
from math import ceil
from typing import Any

from sampan.api.selectors import LabelSelector, label_selector_from
from sampan.api.times import format_time, parse_time
from sampan.client import Controller
from sampan.client.errors import is_conflict, is_not_found
from sampan.controllers.context import Context
from sampan.controllers.disruption_scales import Scales
from sampan.controllers.echoes import Echoes
from sampan.controllers.pod_control import INDEXERS, controller_of
from sampan.controllers.pods import condition_of, is_ready, is_terminal, phase_of

Obj = dict[str, Any]
ACCOUNT = "disruption-controller"
SOURCE = "controllermanager"
BUDGETS = "poddisruptionbudgets.policy"
#: for a pod to go after its eviction; for one that is marked to be disrupted
DELETION_SECONDS, STALE_SECONDS = 120.0, 120.0
ALLOWED, TARGET = "DisruptionAllowed", "DisruptionTarget"


class DisruptionController:
    def __init__(self, context: Context) -> None:
        self.clock = context.clock
        self.client = context.clients(ACCOUNT)
        self.recorder = context.recorders(SOURCE, self.client)
        self.echoes = Echoes()
        self.pods = context.informers.get("pods", indexers=INDEXERS)
        self.budgets = context.informers.get(BUDGETS)
        self.scales = Scales(self.client, context.informers)
        synced = (self.pods, self.budgets, *self.scales.informers)
        self.controller = Controller("disruption", self.reconcile, synced=synced)
        self.stale = Controller("stale-pod-disruption", self.unmark, synced=(self.pods,))
        enqueue = self.controller.enqueue
        self.controller.listen(self.budgets, enqueue, self._changed, self.echoes.forget)
        self.controller.listen(self.pods, self._pod_added, self._pod_changed, self._wake)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.controller.run(), name="disruption")
            group.create_task(self.stale.run(), name="stale-pod-disruption")

    # -- what wakes it -------------------------------------------------------------------------------------------------

    def _changed(self, old: Obj, new: Obj) -> None:
        if not self.echoes.is_own(new):
            self.controller.enqueue(new)

    def _pod_added(self, pod: Obj) -> None:
        self._wake(pod)
        self._mark_seen(pod)

    def _pod_changed(self, old: Obj, new: Obj) -> None:
        relabelled = old["metadata"].get("labels") != new["metadata"].get("labels")
        if relabelled:
            self._wake(old)
        if relabelled or _counted(old) != _counted(new):
            self._wake(new)
        self._mark_seen(new)

    def _wake(self, pod: Obj) -> None:
        meta = pod["metadata"]
        for budget in self.budgets.cache.list(meta["namespace"]):
            if _selector(budget).matches(meta.get("labels")):
                self.controller.enqueue(budget)

    def _mark_seen(self, pod: Obj) -> None:
        left = self._until_stale(pod)
        if left is not None:
            self.stale.enqueue_after(pod, left)

    # -- budgets -------------------------------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> float | None:
        budget = self.budgets.cache.by_key(key)
        if budget is None or self.echoes.behind(budget):
            return None
        try:
            return await self._sync(budget)
        except Exception as error:
            if is_conflict(error):
                raise
            # better no disruption at all than one too many
            status = dict(budget.get("status") or {})
            status |= {"disruptionsAllowed": 0}
            for name in ("currentHealthy", "desiredHealthy", "expectedPods"):
                status.setdefault(name, 0)
            self._say(status, budget, "False", "SyncFailed", str(error))
            await self._write(budget, status)
            return None

    async def _sync(self, budget: Obj) -> float | None:
        meta, now = budget["metadata"], self.clock()
        pods = self.pods.cache.list(meta["namespace"], _selector(budget)) if not _selector(budget).nothing else []
        if not pods:
            self.recorder.event(budget, "Normal", "NoPods", "No matching pods found")
        try:
            expected, desired, unmanaged = await self._expected(budget, pods)
        except Exception as error:
            said = f"Failed to calculate the number of expected pods: {error}"
            self.recorder.event(budget, "Warning", "CalculateExpectedPodCountFailed", said)
            raise
        if unmanaged:
            said = (
                f"Pods selected by this PodDisruptionBudget (selector: {_as_go(budget)}) were found to be unmanaged. "
            )
            said += "As a result, the status of the PDB cannot be calculated correctly, which may result in undefined "
            said += (
                'behavior. To account for these pods please set ".spec.minAvailable" field of the PDB to an integer '
            )
            self.recorder.event(budget, "Warning", "UnmanagedPods", said + "value.")
        disrupted, again = self._disrupted(budget, pods, now)
        healthy = sum(
            is_ready(pod) and "deletionTimestamp" not in pod["metadata"] and pod["metadata"]["name"] not in disrupted
            for pod in pods
        )
        # a budget that expects nothing allows nothing: its first pods may be there before it is looked at again
        allowed = max(0, healthy - desired) if expected > 0 else 0
        status: Obj = {
            "disruptionsAllowed": allowed,
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "observedGeneration": meta.get("generation", 0),
        }
        if disrupted:
            status["disruptedPods"] = disrupted
        if (old := (budget.get("status") or {}).get("conditions")) is not None:
            status["conditions"] = old
        self._say(status, budget, *(("True", "SufficientPods") if allowed else ("False", "InsufficientPods")), "")
        await self._write(budget, status)
        return again

    async def _expected(self, budget: Obj, pods: list[Obj]) -> tuple[int, int, bool]:
        """How many pods there should be, how many must be healthy, and whether some pods belong to nobody."""
        spec = budget["spec"]
        most, least = spec.get("maxUnavailable"), spec.get("minAvailable")
        if most is None and least is None:
            return 0, 0, False  # which allows nothing
        if most is None and not isinstance(least, str):
            return len(pods), int(least or 0), False
        expected, unmanaged = await self.scales.of(pods)
        if most is not None:
            return expected, max(0, expected - _scaled(most, expected)), unmanaged
        return expected, _scaled(least, expected), unmanaged

    def _disrupted(self, budget: Obj, pods: list[Obj], now: float) -> tuple[Obj, float | None]:
        """Evicted pods that are still to go, and seconds until the first of them is given up."""
        meta, known = budget["metadata"], (budget.get("status") or {}).get("disruptedPods") or {}
        out: Obj = {}
        waits = []
        for pod in pods if known else ():
            name = pod["metadata"]["name"]
            if name not in known or "deletionTimestamp" in pod["metadata"]:
                continue
            left = parse_time(known[name]) + DELETION_SECONDS - now
            if left < 0:
                said = f"Pod was expected by PDB {meta['namespace']}/{meta['name']} to be deleted but it wasn't"
                self.recorder.event(pod, "Warning", "NotDeleted", said)
                continue
            out[name] = known[name]
            waits.append(left + 0.001)
        return out, min(waits, default=None)

    def _say(self, status: Obj, budget: Obj, value: str, reason: str, message: str) -> None:
        old = next((item for item in status.get("conditions") or () if item["type"] == ALLOWED), None)
        same = old is not None and old["status"] == value
        since = old["lastTransitionTime"] if same and old is not None else format_time(self.clock())
        new = {
            "type": ALLOWED, "status": value, "lastTransitionTime": since, "reason": reason, "message": message,
            "observedGeneration": status.get("observedGeneration", 0),
        }  # fmt: skip
        others = [item for item in status.get("conditions") or () if item["type"] != ALLOWED]
        status["conditions"] = [*others, {name: said for name, said in new.items() if said or name == "message"}]

    async def _write(self, budget: Obj, status: Obj) -> None:
        if status == (budget.get("status") or {}):
            return
        try:
            self.echoes.wrote(await self.client.update_status(BUDGETS, {**budget, "status": status}))
        except Exception as error:
            if not is_not_found(error):
                raise

    # -- marks that no one made good -----------------------------------------------------------------------------------

    def _until_stale(self, pod: Obj) -> float | None:
        """Seconds; None: never."""
        mark = condition_of(pod, TARGET)
        if mark is None or mark["status"] != "True" or "deletionTimestamp" in pod["metadata"] or is_terminal(pod):
            return None
        if mark.get("reason") == "TerminationByKubelet":
            return None  # which may take as long as it likes
        return max(0.0, parse_time(mark["lastTransitionTime"]) + STALE_SECONDS - self.clock())

    async def unmark(self, key: str) -> float | None:
        pod = self.pods.cache.by_key(key)
        left = self._until_stale(pod) if pod is not None else None
        if pod is None or left is None or left > 0:
            return left
        meta, mark = pod["metadata"], {"type": TARGET, "status": "False", "reason": None, "message": None}
        mark["lastTransitionTime"] = format_time(self.clock())
        body = {"metadata": {"uid": meta["uid"]}, "status": {"conditions": [mark]}}
        try:
            where = (meta["name"], body, meta["namespace"])
            await self.client.patch("pods", *where, type="strategic", subresource="status")
        except Exception as error:
            if not is_not_found(error):
                raise
        return None


def _selector(budget: Obj) -> LabelSelector:
    return label_selector_from(budget["spec"].get("selector"))


def _counted(pod: Obj) -> tuple[Any, ...]:
    """What of a pod its budget looks at."""
    owner = controller_of(pod) or {}
    return is_ready(pod), phase_of(pod), "deletionTimestamp" in pod["metadata"], owner.get("uid")


def _scaled(value: int | str, total: int) -> int:
    if isinstance(value, str):
        return ceil(int(value.removesuffix("%")) * total / 100)
    return int(value)


def _as_go(budget: Obj) -> str:
    """A selector as Go prints it."""
    selector = budget["spec"].get("selector") or {}
    labels = "".join(f"{key}: {value}," for key, value in sorted((selector.get("matchLabels") or {}).items()))
    terms = "".join(
        f"LabelSelectorRequirement{{Key:{term['key']},Operator:{term['operator']},Values:[{' '.join(term.get('values') or ())}],}},"
        for term in selector.get("matchExpressions") or ()
    )
    expressions = f"[]LabelSelectorRequirement{{{terms}}}"
    return f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:{expressions},}}"

"""One step of a StatefulSet towards what it should be: pods made in order, deleted in reverse order, then updated.

Ordered sets do one thing at a time and wait until every pod before it runs and is available; parallel ones do all at
once. Updates wait for both.

Source: kubernetes/pkg/controller/statefulset/stateful_set_control.go
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from sampan.client import Expectations
from sampan.controllers.batches import BatchFailed, slow_start
from sampan.controllers.controller_history import template_of
from sampan.controllers.pods import phase_of
from sampan.controllers.stateful_control import StatefulPodControl
from sampan.controllers.stateful_pods import (
    first_ordinal,
    is_healthy,
    is_in_range,
    is_leaving,
    is_running,
    is_serving,
    make_pod,
    ordinal_of,
    revision_of,
)

Obj = dict[str, Any]


class Rollout:
    """`current`, `update`: the revisions pods come from and go to. `acted`: pods were made or deleted, which will be
    seen."""

    def __init__(
        self,
        key: str,
        stateful_set: Obj,
        pods: list[Obj],
        current: Obj,
        update: Obj,
        now: float,
    ) -> None:
        self.key = key
        self.set = stateful_set
        self.current, self.update = current, update
        self.now = now
        self.acted = False
        self.first = first_ordinal(stateful_set)
        count = int(stateful_set["spec"]["replicas"])
        #: by ordinal, from the first on
        self.replicas: list[Obj | None] = [None] * count
        self.condemned: list[Obj] = []
        for pod in pods:
            ordinal = ordinal_of(pod)
            if is_in_range(ordinal, stateful_set):
                self.replicas[ordinal - self.first] = pod
            elif ordinal >= 0:
                self.condemned.append(pod)
        self.condemned.sort(key=ordinal_of)
        self.ordered = bool(stateful_set["spec"].get("podManagementPolicy") != "Parallel")

    async def step(self, control: StatefulPodControl, expectations: Expectations) -> None:
        """Raises what went wrong."""
        self.control, self.expectations = control, expectations
        if await self._for_all(len(self.replicas), self._replica, self.ordered):
            return
        for pod in self.condemned:
            await control.keep_owners(self.set, pod)
        if await self._condemned():
            return
        if self.set["spec"]["updateStrategy"]["type"] == "RollingUpdate":
            await self._update()

    async def _for_all(self, count: int, each: Callable[[int], Awaitable[bool]], ordered: bool) -> bool:
        """`each` says whether to stop there, which only counts where order does."""
        if ordered:
            for number in range(count):
                if await each(number):
                    return True
            return False
        try:
            await slow_start(count, each)
        except BatchFailed as failed:
            raise failed.error from None
        return False

    async def _replica(self, number: int) -> bool:
        pod = self.replicas[number]
        if pod is None:
            return await self._create(number)
        if phase_of(pod) in ("Failed", "Succeeded"):
            # whatever it ended with: its name is free only when it is gone, and that wakes us
            if not is_leaving(pod):
                await self._recreate(pod)
            return True
        if phase_of(pod) == "Pending" and not is_leaving(pod):
            await self.control.create_claims(self.set, pod)
        if self.ordered and (is_leaving(pod) or not is_serving(pod, self.set, self.now)):
            return True
        if not is_leaving(pod):
            await self.control.keep(self.set, pod)
        return False

    async def _create(self, number: int) -> bool:
        ordinal = self.first + number
        revision = self.current if self._stays_behind(number) else self.update
        pod = make_pod(self.set, template_of(revision), revision["metadata"]["name"], ordinal)
        if self.control.has_stale_claim(self.set, pod):
            return True
        self._expect(creations=1)
        await self.control.create(self.key, self.set, pod)
        return self.ordered

    def _stays_behind(self, number: int) -> bool:
        """A new pod is made as the ones before the update were."""
        strategy = self.set["spec"]["updateStrategy"]
        if strategy["type"] != "RollingUpdate":
            return False
        rolling = strategy.get("rollingUpdate")
        if rolling is None:
            return bool(number < (self.set.get("status") or {}).get("currentReplicas", 0))
        return bool(number < int(rolling.get("partition") or 0))

    async def _recreate(self, pod: Obj) -> None:
        meta = self.set["metadata"]
        failed = phase_of(pod) == "Failed"
        what = f"StatefulSet {meta['namespace']}/{meta['name']} is recreating"
        told = (
            ("Warning", "RecreatingFailedPod", f"{what} failed Pod {pod['metadata']['name']}")
            if failed
            else ("Normal", "RecreatingTerminatedPod", f"{what} terminated Pod {pod['metadata']['name']}")
        )
        self.control.recorder.event(self.set, *told)
        await self._delete(pod)

    async def _condemned(self) -> bool:
        """The last first. Whether to stop there."""
        unhealthy = [pod for pod in (*self.replicas, *self.condemned) if pod is not None and not is_healthy(pod)]
        first = min(unhealthy, key=ordinal_of, default=None)
        for pod in reversed(self.condemned):
            if is_leaving(pod):
                if self.ordered:
                    return True
                continue
            serves = is_running(pod) and is_serving(pod, self.set, self.now)
            if self.ordered and not serves and pod is not first:
                return True
            await self._delete(pod)
            if self.ordered:
                return True
        return False

    async def _update(self) -> None:
        """Whatever is stale and down goes: it is missed already, and may never come up as it is. Then, from the last on,
        what is stale and serves, as long as no more are down than may be, those that are no part of the update among
        them."""
        rolling = self.set["spec"]["updateStrategy"].get("rollingUpdate") or {}
        most = _scaled(rolling.get("maxUnavailable"), len(self.replicas))
        down = sum(pod is None or not self._serves(pod) for pod in self.replicas)
        serving = []
        for pod in reversed(self.replicas[int(rolling.get("partition") or 0) :]):
            if pod is None or is_leaving(pod) or revision_of(pod) == self.update["metadata"]["name"]:
                continue
            if self._serves(pod):
                serving.append(pod)
            else:  # only of a parallel set: others do not come this far
                await self._delete(pod)
        for pod in serving[: max(0, most - down)]:
            await self._delete(pod)

    def _serves(self, pod: Obj) -> bool:
        return not is_leaving(pod) and is_serving(pod, self.set, self.now)

    async def _delete(self, pod: Obj) -> None:
        await self.control.delete(self.set, pod)
        self.acted = True

    def _expect(self, creations: int) -> None:
        self.acted = True
        if self.expectations.satisfied(self.key):
            self.expectations.expect_creations(self.key, creations)
        else:
            self.expectations.raise_(self.key, creations, 0)


def _scaled(value: int | str | None, total: int) -> int:
    """At least one."""
    if isinstance(value, str):
        return max(1, int(value.removesuffix("%")) * total // 100)
    return max(1, value or 1)

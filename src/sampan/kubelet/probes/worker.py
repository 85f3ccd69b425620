"""One probe of one container: every so many seconds an attempt, and what so many of them in a row mean.

A worker lives as long as its pod and follows the container through its restarts: with each new container the result starts anew
(a startup probe knows nothing, a container is not ready until found so, and alive until found dead). Once a container is found dead it is
left alone until there is another.

Source: kubernetes pkg/kubelet/prober/worker.go
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from sampan.api.times import parse_time
from sampan.kubelet.plan import restarts_after
from sampan.kubelet.probes.metrics import Tally

if TYPE_CHECKING:
    from sampan.kubelet.probes.probes import Probes

log = logging.getLogger("sampan.kubelet")
Obj = dict[str, Any]
Kind = Literal["startup", "readiness", "liveness"]
Result = Literal["success", "failure", "unknown"]
KINDS: dict[Kind, Result] = {"startup": "unknown", "readiness": "failure", "liveness": "success"}
FIELDS: dict[Kind, str] = {"startup": "startupProbe", "readiness": "readinessProbe", "liveness": "livenessProbe"}
Set = Callable[[str, Result], None]


class Worker:
    """`probes` keeps the results. Cancelled, it leaves none behind."""

    def __init__(self, probes: Probes, kind: Kind, container: Obj, tally: Tally) -> None:
        self.probes = probes
        self.kind = kind
        self.uid = tally.uid
        self.tally = tally
        self.container = container
        self.probe: Obj = container[FIELDS[kind]]
        self.period = float(self.probe.get("periodSeconds") or 10)
        self.container_id = ""
        self.again = asyncio.Event()
        self._last: Result | None = None
        self._run = 0
        self._on_hold = False

    async def run(self, delay: float) -> None:
        """`delay`: before the first time."""
        loop = asyncio.get_running_loop()
        try:
            await asyncio.sleep(delay)
            began = loop.time()
            tick = began + self.period
            while await self._once():
                try:
                    async with asyncio.timeout_at(tick):
                        await self.again.wait()
                except TimeoutError:
                    tick += self.period
                    if tick < loop.time():
                        # what was missed while an attempt took long is not made up for
                        tick = began + ((loop.time() - began) // self.period + 1) * self.period
        finally:
            self.probes.drop(self)

    async def _once(self) -> bool:
        """Is there to be a next time?"""
        self.again.clear()
        try:
            return await self._look()
        except Exception:
            log.exception("%s probe of %s", self.kind, self.container["name"])
            return True

    async def _look(self) -> bool:
        known = self.probes.status_of(self.uid)
        if known is None:
            return True
        pod, status = known
        if status.get("phase") in ("Failed", "Succeeded"):
            return False
        found = _status_of(status, self.container["name"])
        if found is None or not found.get("containerID"):
            return True
        self._meet(found)
        if self._on_hold:
            return True
        running = found["state"].get("running")
        if running is None:
            ended = found["state"].get("terminated")
            before = (found.get("lastState") or {}).get("terminated") or {}
            if ended is None and before.get("containerID") != found["containerID"]:
                return True  # it has been created, and is about to start
            self.probes.set(self, "failure")
            return ended is None or restarts_after(pod, self.container, ended["exitCode"])
        if self.kind != "readiness" and self.probes.is_terminating(self.uid):
            # it ends in peace
            self.probes.set(self, "success")
            return False
        if int(self.probes.clock() - parse_time(running["startedAt"])) < (self.probe.get("initialDelaySeconds") or 0):
            return True
        if self.probes.has_started(self.uid, self.container["name"], self.container_id) == (self.kind == "startup"):
            return True
        result = await self.probes.attempt(self, pod, status)
        if result is not None:
            self._count(result)
        return True

    def _meet(self, found: Obj) -> None:
        """A container that was not known yet."""
        container_id = found["containerID"].partition("://")[2]
        if container_id == self.container_id:
            return
        self.probes.forget(self)
        self.container_id = container_id
        self._on_hold = False
        self._last, self._run = None, 0
        self.probes.set(self, self.probes.initially(self))

    def _count(self, result: Result) -> None:
        self._run = self._run + 1 if result == self._last else 1
        self._last = result
        threshold = self.probe.get("failureThreshold" if result == "failure" else "successThreshold")
        if self._run < (threshold or (3 if result == "failure" else 1)):
            return
        self.probes.set(self, result)
        if self.kind != "readiness" and result == "failure":
            self._on_hold = True
            self._run = 0


def _status_of(status: Obj, name: str) -> Obj | None:
    for field in ("containerStatuses", "initContainerStatuses"):
        for each in status.get(field) or ():
            if each["name"] == name:
                return dict(each)
    return None

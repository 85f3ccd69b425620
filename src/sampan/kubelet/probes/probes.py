"""All probes of a node: a worker for each, and what they have found, by container.

Source: kubernetes pkg/kubelet/prober/{prober_manager,prober}.go, results/results_manager.go
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable
from typing import Any, Protocol

from sampan.api.times import parse_time
from sampan.client import reference
from sampan.http.client import Dial, dial
from sampan.kubelet import names
from sampan.kubelet.probes import metrics
from sampan.kubelet.probes.attempt import Attempt, ProbeError, Run
from sampan.kubelet.probes.attempt import attempt as ask
from sampan.kubelet.probes.worker import FIELDS, KINDS, Kind, Result, Worker

Obj = dict[str, Any]
#: a pod's uid, a container's name, what was asked, what was found: whenever that is something else than before
Changed = Callable[[str, str, Kind, Result], None]
TRIES = 3


class Events(Protocol):
    def event(self, about: Obj, type: str, reason: str, message: str) -> None: ...


class Probes:
    """`status`: of a pod, as it was last told; `clock`: seconds since 1970; `attempt`: another way to try a probe."""

    def __init__(
        self,
        run: Run,
        recorder: Events,
        changed: Changed,
        *,
        status: Callable[[Obj], Obj],
        clock: Callable[[], float],
        rng: random.Random | None = None,
        dial: Dial = dial,
        attempt: Attempt | None = None,
    ) -> None:
        self.clock = clock
        self._recorder = recorder
        self._changed = changed
        self._status = status
        self._rng = rng or random.Random()
        self._attempt = attempt or functools.partial(ask, run=run, connect=dial)
        self._began = clock()
        self._pods: dict[str, Obj] = {}
        self._terminating: set[str] = set()
        self._workers: dict[tuple[str, str, Kind], tuple[Worker, asyncio.Task[None]]] = {}
        self._results: dict[tuple[Kind, str], Result] = {}

    # -- for the kubelet -----------------------------------------------------------------------------------------------

    def add(self, pod: Obj) -> None:
        """Probe its containers; again, when its status has changed: one that has become able to be ready is asked at once."""
        uid = names.uid_of(pod)
        new = uid not in self._pods
        self._pods[uid] = pod
        if "deletionTimestamp" in pod["metadata"]:
            self.terminating(uid)
        if new:
            for container in (
                *pod["spec"]["containers"],
                *filter(names.is_sidecar, pod["spec"].get("initContainers") or ()),
            ):
                for kind in KINDS:
                    if FIELDS[kind] in container:
                        self._start(pod, kind, container)
        self._hurry(pod)

    def remove(self, uid: str) -> None:
        """It is gone."""
        self._pods.pop(uid, None)
        self._terminating.discard(uid)
        for key in [key for key in self._workers if key[0] == uid]:
            _, task = self._workers[key]
            task.cancel()

    def terminating(self, uid: str) -> None:
        """Nobody asks any more whether it has started and lives; whether it is ready, until the end."""
        if uid in self._pods and uid not in self._terminating:
            self._terminating.add(uid)
            for (owner, _, kind), (worker, _) in self._workers.items():
                if owner == uid and kind != "readiness":
                    worker.again.set()

    async def aclose(self) -> None:
        tasks = [task for _, task in self._workers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def ready(self, uid: str, container_id: str) -> bool:
        """Of a container with a readiness probe. One that was ready before the kubelet started, and was not asked since, is so still."""
        found = self._results.get(("readiness", container_id))
        return self._said(uid, container_id, "ready") if found is None else found == "success"

    def started(self, uid: str, container_id: str) -> bool:
        """Of a container with a startup probe; as `ready`."""
        found = self._results.get(("startup", container_id))
        return self._said(uid, container_id, "started") if found is None else found == "success"

    def live(self, container_id: str) -> bool | None:
        """False: it must be ended; None: not known."""
        return _verdict(self._results.get(("liveness", container_id)))

    def startup(self, container_id: str) -> bool | None:
        """False: it must be ended; None: not known yet."""
        return _verdict(self._results.get(("startup", container_id)))

    def metrics(self) -> str:
        """`/metrics/probes`."""
        return metrics.page(worker.tally for worker, _ in self._workers.values())

    # -- for workers ---------------------------------------------------------------------------------------------------

    def status_of(self, uid: str) -> tuple[Obj, Obj] | None:
        pod = self._pods.get(uid)
        return None if pod is None else (pod, self._status(pod))

    def is_terminating(self, uid: str) -> bool:
        return uid in self._terminating

    def has_started(self, uid: str, name: str, container_id: str) -> bool:
        return (uid, name, "startup") not in self._workers or self.started(uid, container_id)

    def initially(self, worker: Worker) -> Result:
        """Of a container that is met for the first time."""
        said = {"readiness": "ready", "startup": "started"}.get(worker.kind)
        return "success" if said and self._said(worker.uid, worker.container_id, said) else KINDS[worker.kind]

    def set(self, worker: Worker, result: Result) -> None:
        if not worker.container_id:
            return
        key = worker.kind, worker.container_id
        if self._results.get(key) == result:
            return
        self._results[key] = result
        self._changed(worker.uid, worker.container["name"], worker.kind, result)
        if worker.kind == "startup" and result == "success" and (pod := self._pods.get(worker.uid)):
            self._hurry(pod)

    def forget(self, worker: Worker) -> None:
        self._results.pop((worker.kind, worker.container_id), None)

    def drop(self, worker: Worker) -> None:
        self.forget(worker)
        self._workers.pop((worker.uid, worker.container["name"], worker.kind), None)

    async def attempt(self, worker: Worker, pod: Obj, status: Obj) -> Result | None:
        """None: it could not be tried, which is no result."""
        ips = status.get("podIPs") or [{"ip": status.get("podIP", "")}]
        title, error = worker.kind.capitalize(), ProbeError()
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(TRIES):
            try:
                outcome = await self._attempt(worker.probe, worker.container, worker.container_id, ips[0]["ip"])
            except ProbeError as failed:
                error = failed
                continue
            if outcome.result == "warning":
                self._tell(worker, pod, "ProbeWarning", f"{title} probe warning: {outcome.output}")
            elif outcome.result == "failure":
                self._tell(worker, pod, "Unhealthy", f"{title} probe failed: {outcome.output}")
            worker.tally.count(outcome.result != "failure", loop.time() - began)
            return "failure" if outcome.result == "failure" else "success"
        self._tell(worker, pod, "Unhealthy", f"{title} probe errored and resulted in unknown state: {error}")
        return None

    # -- inside --------------------------------------------------------------------------------------------------------

    def _tell(self, worker: Worker, pod: Obj, reason: str, message: str) -> None:
        name = worker.container["name"]
        self._recorder.event(reference(pod, names.field_path(pod, name)), "Warning", reason, message)

    def _start(self, pod: Obj, kind: Kind, container: Obj) -> None:
        meta = pod["metadata"]
        labels = {
            "probe_type": kind.capitalize(),
            "container": container["name"],
            "pod": meta["name"],
            "namespace": meta["namespace"],
        }
        worker = Worker(self, kind, container, metrics.Tally(labels, names.uid_of(pod)))
        # after a restart of the kubelet, not all pods of the node are asked at once
        # DEVIATION: upstream spreads the first probes of new pods too, while it is younger than their period
        known = parse_time((pod.get("status") or {}).get("startTime") or "9999-12-31T00:00:00Z") < self._began
        delay = self._rng.random() * worker.period if known and self.clock() - self._began < worker.period else 0.0
        task = asyncio.create_task(worker.run(delay), name=f"{kind} probe of {container['name']}")
        self._workers[worker.uid, container["name"], kind] = worker, task

    def _hurry(self, pod: Obj) -> None:
        uid = names.uid_of(pod)
        for each in _running(self._status(pod)):
            found = self._workers.get((uid, each["name"], "readiness"))
            container_id = (each.get("containerID") or "").partition("://")[2]
            if found and not self.ready(uid, container_id) and self.has_started(uid, each["name"], container_id):
                found[0].again.set()

    def _said(self, uid: str, container_id: str, field: str) -> bool:
        """Did an earlier kubelet say so of a container that runs since?"""
        for each in _running((self._pods.get(uid) or {}).get("status") or {}):
            if each.get("containerID", "").endswith(f"//{container_id}"):
                return bool(each.get(field)) and parse_time(each["state"]["running"]["startedAt"]) < self._began
        return False


def _running(status: Obj) -> list[Obj]:
    both = (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
    return [each for each in both if "running" in (each.get("state") or {})]


def _verdict(result: Result | None) -> bool | None:
    return None if result in (None, "unknown") else result == "success"

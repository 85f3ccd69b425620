"""Counting each pod of a Job exactly once, whatever crashes in between.

A pod keeps a finalizer until it is counted. First its uid goes into `uncountedTerminatedPods` (the completion index of
an indexed job into `completedIndexes`); only when that is stored is the finalizer taken off; only when that is done does
the uid become a number.

Source: kubernetes/pkg/controller/job/job_controller.go (trackJobStatusAndRemoveFinalizers and what it calls)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from sampan.client import Client
from sampan.client.cache import copied
from sampan.client.errors import is_not_found
from sampan.controllers.echoes import Echoes
from sampan.controllers.job_backoff import Failures
from sampan.controllers.job_pods import RELEASE
from sampan.controllers.job_policies import judge
from sampan.controllers.job_state import (
    Look,
    condition,
    counts_per_index,
    ensure,
    has_failed,
    has_succeeded,
    index_of,
    is_indexed,
    is_tracked,
    true_condition,
)

Obj = dict[str, Any]
#: uids in a status at any time
MAX_UNCOUNTED = 500
FINAL = {"SuccessCriteriaMet": "Complete", "FailureTarget": "Failed"}


class Tracking:
    """`releasing`: by key of a job, uids of pods whose finalizer was taken off and which are still to be seen so.
    `failures`: what is remembered for the back-off."""

    def __init__(self, client: Client, echoes: Echoes, clock: Callable[[], float]) -> None:
        self.client = client
        self.echoes = echoes
        self.clock = clock
        self.releasing: dict[str, set[str]] = {}
        self.failures: dict[str, Failures] = {}

    def forget(self, key: str) -> None:
        self.releasing.pop(key, None)
        self.failures.pop(key, None)

    def released(self, key: str, uid: str) -> None:
        """Seen without its finalizer, or gone."""
        waiting = self.releasing.get(key)
        if waiting is not None:
            waiting.discard(uid)
            if not waiting:
                del self.releasing[key]

    async def track(self, look: Look) -> Obj | None:
        """Write the status, and take off the finalizers it accounts for. The condition that made the job finished, if
        one did now."""
        status = look.status
        held = {pod["metadata"]["uid"] for pod in look.pods if is_tracked(pod)} - look.releasing
        _settle(status, held)
        ending = look.finish is not None
        release, full = self._count(look)
        if look.finish is not None and look.finish["type"] in FINAL:
            # an interim condition, which is stored before the finalizers go
            if true_condition(status, look.finish["type"]) is None:
                ensure(status, look.finish)
            told = (look.finish.get("reason", ""), look.finish.get("message", ""))
            look.finish = condition(FINAL[look.finish["type"]], *told, self.clock())
        stored = look.job
        problem: Exception | None = None
        if release:
            stored = await self._write(look, stored)
            removed, problem = await self._release(look.key, release)
            _settle(status, held - removed)
        final = look.finish if ending and not full and problem is None else None
        if final is not None and (look.terminating > 0 or look.uncounted("succeeded") or look.uncounted("failed")):
            final = None
        if final is not None:
            ensure(status, final)
            if look.job["spec"].get("completions") != 0:
                # that of a suspended job was taken away, and no job ends that did not start
                status.setdefault("startTime", final["lastTransitionTime"])
            if final["type"] == "Complete":
                status["completionTime"] = final["lastTransitionTime"]
        await self._write(look, stored)
        if problem is not None:
            raise problem
        return final

    def _count(self, look: Look) -> tuple[list[Obj], bool]:
        """Note ended pods in the status. Those whose finalizer may then go; and whether there are still more."""
        indexed, status = is_indexed(look.job), look.status
        succeeded, failed = list(look.uncounted("succeeded")), list(look.uncounted("failed"))
        known_succeeded, known_failed = set(succeeded), set(failed)
        release: list[Obj] = []
        new_indexes: set[int] = set()
        full = False
        pods = sorted(look.pods, key=index_of) if indexed else look.pods
        for pod in pods:
            uid = pod["metadata"]["uid"]
            if not is_tracked(pod) or uid in look.releasing or not self._may_go(look, pod):
                continue
            release.append(pod)
            valid = not indexed or 0 <= index_of(pod) < look.completions
            if has_succeeded(pod) and uid not in known_failed:
                if indexed:
                    if valid and index_of(pod) not in look.done_before:
                        new_indexes.add(index_of(pod))
                elif uid not in known_succeeded:
                    succeeded.append(uid)
            elif valid and uid not in known_failed and self._counts_as_failed(look, pod):
                failed.append(uid)
            if len(new_indexes) + len(succeeded) + len(failed) >= MAX_UNCOUNTED:
                full = True
                break
        status["uncountedTerminatedPods"] = {
            name: uids for name, uids in (("succeeded", succeeded), ("failed", failed)) if uids
        }
        if indexed:
            look.done = look.done_before.plus(sorted(new_indexes))
            put(status, "succeeded", look.done.total)
            put(status, "completedIndexes", str(look.done))
            if look.failed_indexes is not None:
                status["failedIndexes"] = str(look.failed_indexes)
            else:
                status.pop("failedIndexes", None)
        return release, full

    @staticmethod
    def _may_go(look: Look, pod: Obj) -> bool:
        if "deletionTimestamp" in look.job["metadata"] or look.finish is not None or has_succeeded(pod):
            return True
        if not has_failed(pod, look.job):
            return False
        return not counts_per_index(look.job) or look.replaced.get(index_of(pod)) is not pod

    @staticmethod
    def _counts_as_failed(look: Look, pod: Obj) -> bool:
        # whatever has not ended when a job fails is a failure
        failing = look.finish is not None and look.finish["type"] != "SuccessCriteriaMet"
        if not has_failed(pod, look.job) and not failing:
            return False
        return judge(look.job["spec"].get("podFailurePolicy"), pod).counts

    async def _release(self, key: str, pods: list[Obj]) -> tuple[set[str], Exception | None]:
        """Uids of the pods without it now, and the first failure."""
        uids = [pod["metadata"]["uid"] for pod in pods]
        self.releasing.setdefault(key, set()).update(uids)

        async def release(pod: Obj) -> None:
            meta = pod["metadata"]
            await self.client.patch("pods", meta["name"], RELEASE, meta["namespace"], type="strategic", unread=True)

        problem: Exception | None = None
        done = set()
        results = await asyncio.gather(*map(release, pods), return_exceptions=True)
        for uid, result in zip(uids, results, strict=True):
            if isinstance(result, Exception):
                self.released(key, uid)
                if not is_not_found(result):
                    problem = problem or result
                    continue
            done.add(uid)
        return done, problem

    async def _write(self, look: Look, stored: Obj) -> Obj:
        """The job as it is stored after it."""
        if look.status != (stored.get("status") or {}):
            # what is sent is a copy: the status goes on changing while the answer is compared with
            body = {**stored, "status": copied(look.status)}
            answer = await self.client.update_status("jobs.batch", body)
            self.echoes.wrote(answer)
            stored = {**answer, "status": body["status"]}
        self.failures[look.key] = look.failures
        return stored


def _settle(status: Obj, held: set[str]) -> None:
    """Uids of pods that hold their finalizer no more become numbers."""
    uncounted = status["uncountedTerminatedPods"]
    for name in ("succeeded", "failed"):
        left = [uid for uid in uncounted.get(name) or () if uid in held]
        put(status, name, status.get(name, 0) + len(uncounted.get(name) or ()) - len(left))
        uncounted.pop(name, None)
        if left:
            uncounted[name] = left


def put(status: Obj, name: str, value: int | str) -> None:
    """As Go writes it: nothing for zero."""
    if value:
        status[name] = value
    else:
        status.pop(name, None)

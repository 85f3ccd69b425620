"""Jobs: pods that come to an end, counted exactly once.

`job_look.py` finds out how it stands, `job_pods.py` makes and deletes the pods, `job_tracking.py` counts them; here is
what wakes a Job, and how these follow one another.

Promises: what pods do is looked at once a second at most, by one status write and one more where pods are counted; time
limits and back-offs are timers.

Source: kubernetes/pkg/controller/job/job_controller.go
"""

from __future__ import annotations

import asyncio
from typing import Any

from sampan.api.selectors import label_selector_from
from sampan.client import Controller, Expectations, Exponential
from sampan.client.errors import is_not_found
from sampan.client.expectations import TIMEOUT
from sampan.controllers.context import Context
from sampan.controllers.echoes import Echoes
from sampan.controllers.job_look import judge_all, look_at, restarts_of
from sampan.controllers.job_pods import RELEASE, JobPods
from sampan.controllers.job_state import (
    INDEX,
    TRACKING,
    Look,
    condition,
    ensure,
    finished,
    is_suspended,
    is_tracked,
    managed_elsewhere,
)
from sampan.controllers.job_tracking import Tracking, put
from sampan.controllers.pod_control import (
    CONTROLLER,
    INDEXERS,
    Claims,
    PodControl,
    candidates,
    controlled_by,
    controller_of,
    owner_key,
)
from sampan.controllers.pods import is_ready, phase_of
from sampan.controllers.unanswered import RETRY_SECONDS, Unanswered

Obj = dict[str, Any]
ACCOUNT = "job-controller"
#: pods' changes are gathered for so long
BATCH_SECONDS = 1.0


class JobController:
    def __init__(self, context: Context) -> None:
        self.clock = context.clock
        self.client = context.clients(ACCOUNT)
        self.recorder = context.recorders(ACCOUNT, self.client)
        self.expectations = Expectations()
        self.echoes = Echoes()
        self.tracking = Tracking(self.client, self.echoes, self.clock)
        self.pods = context.informers.get("pods", indexers=INDEXERS)
        self.jobs = context.informers.get("jobs.batch", indexers=INDEXERS)
        self.unanswered = Unanswered(self.client, "pods", self.pods.cache)
        control = PodControl(self.client, self.recorder)
        self.manage = JobPods(control, self.expectations, self.unanswered, self.clock)
        synced = (self.pods, self.jobs)
        workers = context.options.concurrent_syncs
        self.controller = Controller(
            "job", self.reconcile, workers=workers, synced=synced, limiter=Exponential(1.0, 60.0)
        )
        self.orphans = Controller("job-orphan-pod", self.release_orphan, synced=synced, limiter=Exponential(1.0, 60.0))
        self.controller.listen(self.jobs, self.controller.enqueue, self._job_changed, self._job_gone)
        self.controller.listen(self.pods, self._pod_added, self._pod_changed, self._pod_gone)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.controller.run(), name="job")
            group.create_task(self.orphans.run(), name="job-orphan-pod")

    # -- what wakes it -------------------------------------------------------------------------------------------------

    def _job_changed(self, old: Obj, new: Obj) -> None:
        if finished(new):
            self._release_pods(new)
        if self.echoes.is_own(new):
            return
        if old["metadata"].get("generation") != new["metadata"].get("generation"):
            self.controller.enqueue(new)
        else:
            self.controller.enqueue_after(new, BATCH_SECONDS)

    def _job_gone(self, job: Obj) -> None:
        self.echoes.forget(job)
        self.controller.enqueue(job)
        self._release_pods(job)

    def _release_pods(self, job: Obj) -> None:
        for pod in self.pods.cache.by_index(CONTROLLER, controlled_by(job)):
            if is_tracked(pod):
                self.orphans.enqueue(pod)

    def _pod_added(self, pod: Obj) -> None:
        if "deletionTimestamp" in pod["metadata"]:
            self._leaving(pod, gone=False)
            return
        key = owner_key(pod, "Job", self.jobs.cache)
        if key is not None:
            self.expectations.creation_observed(key)
            self._wake(key)
        elif controller_of(pod) is None:
            self._orphaned(pod)

    def _pod_changed(self, old: Obj, new: Obj) -> None:
        if "deletionTimestamp" in new["metadata"]:
            if "deletionTimestamp" not in old["metadata"] or _counted(old) != _counted(new):
                self._leaving(new, gone=False)
            return
        reference, before = controller_of(new), controller_of(old)
        moved = reference != before
        if moved and before is not None and (key := owner_key(old, "Job", self.jobs.cache)):
            if not is_tracked(new):
                self.tracking.released(key, new["metadata"]["uid"])
            self._wake(key)
        relabelled = new["metadata"].get("labels") != old["metadata"].get("labels")
        if reference is None:
            if moved or relabelled or is_tracked(new):
                self._orphaned(new)
            return
        changed = moved or relabelled or _counted(old) != _counted(new)
        if changed and (key := owner_key(new, "Job", self.jobs.cache)):
            if not is_tracked(new):
                self.tracking.released(key, new["metadata"]["uid"])
            self._wake(key)

    def _pod_gone(self, pod: Obj) -> None:
        self._leaving(pod, gone=True)

    def _leaving(self, pod: Obj, *, gone: bool) -> None:
        key = owner_key(pod, "Job", self.jobs.cache)
        job = self.jobs.cache.by_key(key) if key is not None else None
        if key is None or job is None or finished(job):
            # nobody is going to count it
            if is_tracked(pod) and not gone:
                self.orphans.enqueue(pod)
            return
        self.expectations.deletion_observed(key)
        if gone or not is_tracked(pod):
            self.tracking.released(key, pod["metadata"]["uid"])
        self._wake(key)

    def _orphaned(self, pod: Obj) -> None:
        meta = pod["metadata"]
        if is_tracked(pod):
            self.orphans.enqueue(pod)
        for job in self.jobs.cache.list(meta["namespace"]):
            if label_selector_from(job["spec"].get("selector")).matches(meta.get("labels")):
                self.controller.enqueue_after(job, BATCH_SECONDS)

    def _wake(self, key: str) -> None:
        self.controller.queue.add_after(key, BATCH_SECONDS)

    async def release_orphan(self, key: str) -> None:
        """A pod that no job is going to count."""
        pod = self.pods.cache.by_key(key)
        if pod is None or not is_tracked(pod):
            return
        reference = controller_of(pod)
        if reference is not None:
            if reference["kind"] != "Job" or reference["apiVersion"] != "batch/v1":
                return
            owner = owner_key(pod, "Job", self.jobs.cache)
            job = self.jobs.cache.by_key(owner) if owner is not None else None
            if job is not None and (managed_elsewhere(job) or not finished(job)):
                return
        meta = pod["metadata"]
        try:
            await self.client.patch("pods", meta["name"], RELEASE, meta["namespace"], type="strategic", unread=True)
        except Exception as error:
            if not is_not_found(error):
                raise

    # -- what it does --------------------------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> float | None:
        job = self.jobs.cache.by_key(key)
        if job is None:
            self.expectations.delete(key)
            self.tracking.forget(key)
            return None
        if managed_elsewhere(job) or self.echoes.behind(job):
            return None
        if finished(job):
            self.tracking.forget(key)
            return None
        # asked before the pods are looked at: what is seen in between must count for neither
        settled = self.expectations.satisfied(key)
        if not await self.unanswered.settled(key, job, label_selector_from(job["spec"].get("selector"))):
            return RETRY_SECONDS
        pods, now = await self._claim(job), self.clock()
        releasing = set(self.tracking.releasing.get(key, ()))
        look = look_at(key, job, pods, releasing, self.tracking.failures.get(key), now)
        if not settled:
            look.look_again(TIMEOUT)
        judge_all(look, now)
        problem: Exception | None = None
        if look.finish is not None:
            gone, problem = await self.manage.delete_active(look)
            if not gone or not settled:
                # there may be pods that the cache does not have yet
                look.finish = None
        else:
            managed = settled and "deletionTimestamp" not in job["metadata"]
            if managed:
                problem = await self.manage.manage(look)
            self._conclude(look, managed)
        status = look.status
        put(status, "active", look.active)
        status["ready"], status["terminating"] = look.ready, look.terminating
        final = await self.tracking.track(look)
        if final is not None:
            self._tell(look, final)
        if problem is not None:
            raise problem
        return None if final is not None else look.again

    async def _claim(self, job: Obj) -> list[Obj]:
        selector = label_selector_from(job["spec"].get("selector"))
        pods = candidates(self.pods.cache, job, selector)
        claims = Claims(self.client, "pods", job, "jobs.batch", selector, finalizers=(TRACKING,))
        # those just adopted have the finalizer, which the cache does not show yet
        return [pod if controller_of(pod) else _with_finalizer(pod) for pod in await claims.claim(pods)]

    def _conclude(self, look: Look, managed: bool) -> None:
        """After managing: it is complete, or suspended, or resumed."""
        job, status, now = look.job, look.status, self.clock()
        completions = job["spec"].get("completions")
        if look.active == 0 and (look.succeeded > 0 if completions is None else look.succeeded >= completions):
            said = ("CompletionsReached", "Reached expected number of succeeded pods")
            look.finish = condition("SuccessCriteriaMet", *said, now)
        elif managed and is_suspended(job):
            status.pop("startTime", None)
            if ensure(status, condition("Suspended", "JobSuspended", "Job suspended", now)):
                self.recorder.event(job, "Normal", "Suspended", "Job suspended")
        elif managed and ensure(status, condition("Suspended", "JobResumed", "Job resumed", now, "False")):
            self.recorder.event(job, "Normal", "Resumed", "Job resumed")

    def _tell(self, look: Look, final: Obj) -> None:
        job, completions = look.job, look.job["spec"].get("completions")
        if final["type"] == "Failed":
            self.recorder.event(job, "Warning", final.get("reason", ""), final.get("message", ""))
            return
        if completions is not None and look.status.get("succeeded", 0) > completions:
            said = "Too many succeeded pods running after completion count reached"
            self.recorder.event(job, "Warning", "TooManySucceededPods", said)
        self.recorder.event(job, "Normal", "Completed", "Job completed")


def _counted(pod: Obj) -> tuple[Any, ...]:
    """What of a pod its job looks at."""
    meta = pod["metadata"]
    restarts = restarts_of(pod) if pod["spec"].get("restartPolicy") == "OnFailure" else 0
    return phase_of(pod), is_ready(pod), is_tracked(pod), restarts, (meta.get("annotations") or {}).get(INDEX)


def _with_finalizer(pod: Obj) -> Obj:
    meta = pod["metadata"]
    return {**pod, "metadata": {**meta, "finalizers": [*(meta.get("finalizers") or ()), TRACKING]}}

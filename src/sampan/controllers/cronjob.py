"""CronJobs: a Job each time a schedule says so.

Promises: a Job's name is made of its time, so that none is made twice; between two times nothing is done; of several
missed times only the last is made up for.

Source: kubernetes/pkg/controller/cronjob/{cronjob_controllerv2,utils}.go
"""

from __future__ import annotations

from datetime import datetime
from email.utils import format_datetime
from typing import Any

from sampan.api.times import format_time, parse_time
from sampan.client import Controller, reference
from sampan.client.cache import copied
from sampan.client.errors import is_already_exists, is_namespace_terminating, is_not_found
from sampan.controllers.context import Context
from sampan.controllers.cronjob_times import due, scheduled, until_next
from sampan.controllers.echoes import Echoes
from sampan.controllers.job_state import finished
from sampan.controllers.pod_control import (
    CONTROLLER,
    INDEXERS,
    controlled_by,
    controller_of,
    owner_key,
    owner_reference,
)
from sampan.controllers.schedules import zone

Obj = dict[str, Any]
ACCOUNT = "cronjob-controller"
TIMESTAMP = "batch.kubernetes.io/cronjob-scheduled-timestamp"


class CronJobController:
    def __init__(self, context: Context) -> None:
        self.clock = context.clock
        self.client = context.clients(ACCOUNT)
        self.recorder = context.recorders(ACCOUNT, self.client)
        self.echoes = Echoes()
        self.jobs = context.informers.get("jobs.batch", indexers=INDEXERS)
        self.cron_jobs = context.informers.get("cronjobs.batch")
        synced, workers = (self.jobs, self.cron_jobs), context.options.concurrent_syncs
        self.controller = Controller("cronjob", self.reconcile, workers=workers, synced=synced)
        enqueue = self.controller.enqueue
        self.controller.listen(self.cron_jobs, enqueue, self._changed, self.echoes.forget)
        self.controller.listen(self.jobs, self._wake, self._job_changed, self._wake)

    async def run(self) -> None:
        await self.controller.run()

    # -- what wakes it -------------------------------------------------------------------------------------------------

    def _changed(self, old: Obj, new: Obj) -> None:
        if self.echoes.is_own(new):
            return
        if all(old["spec"].get(name) == new["spec"].get(name) for name in ("schedule", "timeZone")):
            self.controller.enqueue(new)
            return
        # times that the new schedule would have had do not count as missed
        try:
            self.controller.enqueue_after(new, until_next(new, scheduled(new), self.clock()))
        except ValueError:
            text = new["spec"]["schedule"]
            self._warn(new, "UnParseableCronJobSchedule", f"unparseable schedule for cronjob: {text}")

    def _wake(self, job: Obj) -> None:
        key = owner_key(job, "CronJob", self.cron_jobs.cache)
        if key is not None:
            self.controller.queue.add(key)

    def _job_changed(self, old: Obj, new: Obj) -> None:
        if controller_of(old) != controller_of(new):
            self._wake(old)
        elif finished(old) == finished(new):
            return
        self._wake(new)

    # -- what it does --------------------------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> float | None:
        cron_job = self.cron_jobs.cache.by_key(key)
        if cron_job is None or self.echoes.behind(cron_job):
            return None
        status = copied(cron_job.get("status") or {})
        jobs = self.jobs.cache.by_index(CONTROLLER, controlled_by(cron_job))
        await self._clean_up(cron_job, status, jobs)
        problem: Exception | None = None
        again: float | None = None
        try:
            await self._follow(cron_job, status, jobs)
            if "deletionTimestamp" not in cron_job["metadata"]:
                again = await self._start(cron_job, status)
        except Exception as error:
            problem = error
        if status != (cron_job.get("status") or {}):
            self.echoes.wrote(await self.client.update_status("cronjobs.batch", {**cron_job, "status": status}))
        if problem is not None:
            raise problem
        return again

    async def _follow(self, cron_job: Obj, status: Obj, jobs: list[Obj]) -> None:
        """What has become of the Jobs there are."""
        for job in jobs:
            end, known = finished(job), _is_active(status, job)
            if not known and end is None:
                await self._unexpected(cron_job, status, job)
                continue
            if known and end is not None:
                _drop(status, job["metadata"]["uid"])
                said = f"Saw completed job: {job['metadata']['name']}, condition: {end['type']}"
                self.recorder.event(cron_job, "Normal", "SawCompletedJob", said)
            time = (job.get("status") or {}).get("completionTime")
            if end is not None and end["type"] == "Complete" and time:
                # times of this form compare as text
                status["lastSuccessfulTime"] = max(time, status.get("lastSuccessfulTime") or "")
        children = {job["metadata"]["uid"] for job in jobs}
        for entry in tuple(status.get("active") or ()):
            if entry["uid"] in children:
                continue
            try:
                await self.client.get("jobs.batch", entry["name"], entry["namespace"])
            except Exception as error:
                if not is_not_found(error):
                    raise
                self.recorder.event(cron_job, "Normal", "MissingJob", f"Active job went missing: {entry['name']}")
                _drop(status, entry["uid"])

    async def _unexpected(self, cron_job: Obj, status: Obj, job: Obj) -> None:
        """Not in the status: by a crash after it was made, or by someone who wants it adopted."""
        meta = cron_job["metadata"]
        fresh = await self.client.get("cronjobs.batch", meta["name"], meta["namespace"])
        if _is_active(fresh.get("status") or {}, job):
            status["active"] = fresh["status"]["active"]
            return
        said = f"Saw a job that the controller did not create or forgot: {job['metadata']['name']}"
        self._warn(cron_job, "UnexpectedJob", said)

    async def _start(self, cron_job: Obj, status: Obj) -> float | None:
        """A Job, if one is due; seconds until the next time."""
        spec, now = cron_job["spec"], self.clock()
        try:
            zone(spec.get("timeZone"))
        except ValueError as error:
            self._warn(cron_job, "UnknownTimeZone", f'invalid timeZone: "{spec["timeZone"]}": {error}')
            return None
        if spec.get("suspend"):
            return None
        if "TZ" in spec["schedule"]:
            said = f'CRON_TZ or TZ used in schedule "{spec["schedule"]}" is not officially supported, '
            where = "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/"
            self._warn(cron_job, "UnsupportedSchedule", f"{said}see {where} for more details")
        try:
            schedule = scheduled(cron_job)
        except ValueError as error:
            self._warn(cron_job, "UnparseableSchedule", f'unparseable schedule: "{spec["schedule"]}" : {error}')
            return None
        try:
            time, many = due(cron_job, schedule, now)
        except ValueError as error:
            self._warn(cron_job, "InvalidSchedule", f"invalid schedule: {spec['schedule']} : {error}")
            return None
        if many:
            said = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            self._warn(cron_job, "TooManyMissedTimes", said)
        if time is not None and self._may_start(cron_job, status, time, now):
            if spec["concurrencyPolicy"] == "Replace":
                await self._replace(cron_job, status)
            await self._make(cron_job, status, time)
        return until_next({**cron_job, "status": status}, schedule, now)

    def _may_start(self, cron_job: Obj, status: Obj, time: float, now: float) -> bool:
        deadline = cron_job["spec"].get("startingDeadlineSeconds")
        if deadline is not None and time + deadline < now:
            when = format_datetime(datetime.fromtimestamp(time, zone("UTC")))
            self._warn(cron_job, "MissSchedule", f"Missed scheduled time to start a job: {when}")
            return False
        active = status.get("active") or ()
        if status.get("lastScheduleTime") == format_time(time):
            return False
        if any(entry["name"] == _name(cron_job, time) for entry in active):
            return False
        if cron_job["spec"]["concurrencyPolicy"] == "Forbid" and active:
            said = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self.recorder.event(cron_job, "Normal", "JobAlreadyActive", said)
            return False
        return True

    async def _replace(self, cron_job: Obj, status: Obj) -> None:
        for entry in tuple(status.get("active") or ()):
            try:
                job = await self.client.get("jobs.batch", entry["name"], entry["namespace"])
            except Exception as error:
                self._warn(cron_job, "FailedGet", f"Get job: {error}")
                raise
            await self._delete(cron_job, status, job)

    async def _make(self, cron_job: Obj, status: Obj, time: float) -> None:
        namespace = cron_job["metadata"]["namespace"]
        body = _job(cron_job, time)
        try:
            job = await self.client.create("jobs.batch", body, namespace)
        except Exception as error:
            if not is_already_exists(error):
                if not is_namespace_terminating(error):
                    self._warn(cron_job, "FailedCreate", f"Error creating job: {error}")
                raise
            # made before a crash, and the status does not say so yet; or by someone else
            job = await self.client.get("jobs.batch", body["metadata"]["name"], namespace)
            owner = controller_of(job)
            if owner is None or owner["uid"] != cron_job["metadata"]["uid"] or _is_active(status, job):
                return
        else:
            said = f"Created job {job['metadata']['name']}"
            self.recorder.event(cron_job, "Normal", "SuccessfulCreate", said)
        if finished(job) is None:
            status["active"] = [*(status.get("active") or ()), reference(job)]
        status["lastScheduleTime"] = format_time(time)

    async def _clean_up(self, cron_job: Obj, status: Obj, jobs: list[Obj]) -> None:
        """Of those that have ended, only the latest are kept."""
        spec = cron_job["spec"]
        limits = (("Complete", "successfulJobsHistoryLimit"), ("Failed", "failedJobsHistoryLimit"))
        for outcome, field in limits:
            limit = spec.get(field)
            done = [job for job in jobs if (finished(job) or {}).get("type") == outcome]
            if limit is None or len(done) <= limit:
                continue
            for job in sorted(done, key=_age)[: len(done) - limit]:
                if "deletionTimestamp" not in job["metadata"]:
                    await self._delete(cron_job, status, job)

    async def _delete(self, cron_job: Obj, status: Obj, job: Obj) -> None:
        meta = job["metadata"]
        try:
            where = (meta["name"], meta["namespace"])
            await self.client.delete("jobs.batch", *where, propagation="Background", uid=meta["uid"], unread=True)
        except Exception as error:
            if is_not_found(error):
                return
            self._warn(cron_job, "FailedDelete", f"Deleted job: {error}")
            raise
        _drop(status, meta["uid"])
        self.recorder.event(cron_job, "Normal", "SuccessfulDelete", f"Deleted job {meta['name']}")

    def _warn(self, cron_job: Obj, reason: str, message: str) -> None:
        self.recorder.event(cron_job, "Warning", reason, message)


def _name(cron_job: Obj, time: float) -> str:
    return f"{cron_job['metadata']['name']}-{int(time) // 60}"


def _job(cron_job: Obj, time: float) -> Obj:
    template = cron_job["spec"]["jobTemplate"]
    meta = template.get("metadata") or {}
    when = datetime.fromtimestamp(time, zone(cron_job["spec"].get("timeZone"))).isoformat(timespec="seconds")
    notes = {**(meta.get("annotations") or {}), TIMESTAMP: when.replace("+00:00", "Z")}
    out = {"name": _name(cron_job, time), "annotations": notes, "ownerReferences": [owner_reference(cron_job)]}
    if meta.get("labels"):
        out["labels"] = meta["labels"]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": out, "spec": template["spec"]}


def _is_active(status: Obj, job: Obj) -> bool:
    return any(entry["uid"] == job["metadata"]["uid"] for entry in status.get("active") or ())


def _drop(status: Obj, uid: str) -> None:
    left = [entry for entry in status.get("active") or () if entry["uid"] != uid]
    status.pop("active", None)
    if left:
        status["active"] = left


def _age(job: Obj) -> tuple[float, str]:
    """Those that never started come last."""
    started = (job.get("status") or {}).get("startTime")
    return parse_time(started) if started else float("inf"), job["metadata"]["name"]

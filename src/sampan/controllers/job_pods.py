"""A Job's pods: how many there should be, which are made, which are deleted.

Source: kubernetes/pkg/controller/job/job_controller.go (manageJob), indexed_job_utils.go
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from sampan.client import Expectations
from sampan.client.errors import is_namespace_terminating, is_not_found
from sampan.controllers.batches import BatchFailed, slow_start
from sampan.controllers.job_backoff import finished_at, remaining
from sampan.controllers.job_policies import judge
from sampan.controllers.job_state import (
    FAILURES,
    IGNORED,
    INDEX,
    TRACKING,
    Look,
    all_failures_of,
    counts_per_index,
    failures_of,
    has_failed,
    index_of,
    is_indexed,
    is_suspended,
    is_tracked,
    replaces_only_failed,
)
from sampan.controllers.pod_control import PodControl, pod_from
from sampan.controllers.pods import is_ready, is_terminating, to_remove
from sampan.controllers.unanswered import Unanswered

Obj = dict[str, Any]
#: pods made or deleted in one look
BURST = 500
MAX_PREFIX = 58
VARIABLE = "JOB_COMPLETION_INDEX"
RELEASE: Obj = {"metadata": {"$deleteFromPrimitiveList/finalizers": [TRACKING]}}


class JobPods:
    def __init__(
        self, control: PodControl, expectations: Expectations, unanswered: Unanswered, clock: Callable[[], float]
    ) -> None:
        self.control = control
        self.unanswered = unanswered
        self.client = control.client
        self.expectations = expectations
        self.clock = clock

    async def manage(self, look: Look) -> Exception | None:
        """Make or delete pods; the counts of `look` follow. What went wrong, if anything did."""
        job, active = look.job, look.active
        if is_suspended(job):
            return await self._remove(look, self._surplus(look, active))
        wanted = _wanted(look)
        surplus = self._surplus(look, max(0, active - wanted))[:BURST]
        if surplus:
            return await self._remove(look, surplus)
        missing = wanted - active - (look.terminating if replaces_only_failed(job) else 0)
        if missing > 0:
            return await self._add(look, min(missing, BURST))
        return None

    # -- fewer ---------------------------------------------------------------------------------------------------------

    def _surplus(self, look: Look, at_least: int) -> list[Obj]:
        """Of an indexed job, also all without a valid index, and all but one of those with the same."""
        left = look.active_pods
        out: list[Obj] = []
        if is_indexed(look.job):
            by_index: dict[int, list[Obj]] = {}
            for pod in left:
                by_index.setdefault(index_of(pod), []).append(pod)
            for index, pods in by_index.items():
                valid = 0 <= index < look.completions
                out += to_remove(pods, len(pods) - 1) if valid else pods
            gone = {id(pod) for pod in out}
            left = [pod for pod in left if id(pod) not in gone]
        return out + to_remove(left, max(0, at_least - len(out)))

    async def _remove(self, look: Look, pods: list[Obj]) -> Exception | None:
        """They will not count as failed: the finalizer goes first."""
        if not pods:
            return None
        self.expectations.expect_deletions(look.key, len(pods))

        async def remove(pod: Obj) -> None:
            meta = pod["metadata"]
            if is_tracked(pod):
                await self.client.patch("pods", meta["name"], RELEASE, meta["namespace"], type="strategic", unread=True)
            await self.control.delete_pod(pod, look.job)

        return self._count(look, pods, await asyncio.gather(*map(remove, pods), return_exceptions=True), expected=True)

    async def delete_active(self, look: Look) -> tuple[bool, Exception | None]:
        """All of a job that is over; the finalizers stay until they are counted. Whether all went."""
        pods = look.active_pods
        calls = (self.control.delete_pod(pod, look.job) for pod in pods)
        problem = self._count(look, pods, await asyncio.gather(*calls, return_exceptions=True), expected=False)
        return problem is None, problem

    def _count(
        self, look: Look, pods: list[Obj], results: list[BaseException | None], *, expected: bool
    ) -> Exception | None:
        problem: Exception | None = None
        for pod, result in zip(pods, results, strict=True):
            if isinstance(result, Exception):
                if expected:
                    self.expectations.deletion_observed(look.key)
                if not is_not_found(result):
                    problem = problem or result
                    continue
            look.active -= 1
            look.terminating += 1
            look.ready -= is_ready(pod)
        return problem

    # -- more ----------------------------------------------------------------------------------------------------------

    async def _add(self, look: Look, count: int) -> Exception | None:
        job = look.job
        wait = 0.0 if counts_per_index(job) else look.failures.remaining(self.clock())
        indexes: list[int] = []
        if not wait and is_indexed(job):
            indexes, wait = self._pending(look, count)
            count = len(indexes)
        if wait:
            look.look_again(max(1.0, wait))
            return None
        template = _template(job)
        self.expectations.expect_creations(look.key, count)

        async def add(number: int) -> None:
            pod = pod_from(template, job)
            await self.control.create(_of_index(pod, look, indexes[number]) if indexes else pod, job)

        try:
            look.active += await slow_start(count, add)
        except BatchFailed as failed:
            look.active += failed.done
            self.expectations.creation_observed(look.key, count - failed.done)
            if failed.unanswered:
                self.unanswered.note(look.key)
            return None if is_namespace_terminating(failed.error) else failed.error
        return None

    def _pending(self, look: Look, count: int) -> tuple[list[int], float]:
        """Indexes that want a pod now; if none does yet, seconds until one will."""
        taken = look.done.plus(sorted({index_of(pod) for pod in look.active_pods} - {-1}))
        if replaces_only_failed(look.job):
            taken = taken.plus(sorted({index_of(pod) for pod in look.pods if is_terminating(pod)} - {-1}))
        if look.failed_indexes is not None:
            taken |= look.failed_indexes
        out: list[int] = []
        for index in taken.missing(look.completions):
            if len(out) == count:
                break
            out.append(index)
        if not look.replaced:
            return out, 0.0
        waits = {index: self._wait(look.replaced.get(index)) for index in out}
        ready = [index for index in out if not waits[index]]
        return ready, 0.0 if ready else min(waits.values(), default=0.0)

    def _wait(self, last: Obj | None) -> float:
        return 0.0 if last is None else remaining(all_failures_of(last) + 1, finished_at(last), self.clock())


def _wanted(look: Look) -> int:
    spec = look.job["spec"]
    completions, parallelism = spec.get("completions"), int(spec["parallelism"])
    if completions is None:
        # after the first success what runs is left to run
        return look.active if look.succeeded > 0 else parallelism
    return max(0, min(int(completions) - look.succeeded, parallelism))


def _template(job: Obj) -> Obj:
    """Of its pods, as far as they are alike."""
    template: Obj = job["spec"]["template"]
    meta = template.get("metadata") or {}
    held = [name for name in meta.get("finalizers") or () if name != TRACKING]
    out = {**template, "metadata": {**meta, "finalizers": [*held, TRACKING]}}
    if is_indexed(job):
        spec = out["spec"] = {**template["spec"]}
        for name in ("initContainers", "containers"):
            if spec.get(name):
                spec[name] = [_with_variable(container) for container in spec[name]]
    return out


def _with_variable(container: Obj) -> Obj:
    known = container.get("env") or []
    if any(variable["name"] == VARIABLE for variable in known):
        return container
    source = {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}
    return {**container, "env": [*known, {"name": VARIABLE, "valueFrom": source}]}


def _of_index(pod: Obj, look: Look, index: int) -> Obj:
    meta, name = pod["metadata"], look.job["metadata"]["name"]
    notes = {**(meta.get("annotations") or {}), INDEX: str(index)}
    if counts_per_index(look.job):
        failures, ignored = _failures_before(look, index)
        notes[FAILURES] = str(failures)
        if ignored:
            notes[IGNORED] = str(ignored)
    suffix = f"-{index}-"
    prefix = name[: MAX_PREFIX - len(suffix)] + suffix if len(name) + len(suffix) > MAX_PREFIX else name + suffix
    labels = {**(meta.get("labels") or {}), INDEX: str(index)}
    meta = {**meta, "annotations": notes, "labels": labels, "generateName": prefix}
    return {**pod, "metadata": meta, "spec": {**pod["spec"], "hostname": f"{name}-{index}"}}


def _failures_before(look: Look, index: int) -> tuple[int, int]:
    """Counted and ignored ones of its index, which the new pod carries on."""
    last = look.replaced.get(index)
    if last is None:
        return 0, 0
    counts = judge(look.job["spec"].get("podFailurePolicy"), last).counts
    return failures_of(last) + counts, failures_of(last, IGNORED) + (not counts)


def to_be_replaced(look: Look) -> dict[int, Obj]:
    """By index, the last failed pod of those that have neither a pod nor an outcome: it is kept until its replacement
    is made, which takes its count of failures over."""
    active = {index_of(pod) for pod in look.active_pods}
    out: dict[int, Obj] = {}
    for pod in look.pods:
        index = index_of(pod)
        if not look.is_valid(pod) or not has_failed(pod, look.job) or index in active or index in look.done:
            continue
        if look.failed_indexes is not None and index in look.failed_indexes:
            continue
        last = out.get(index)
        later = last is None or (
            all_failures_of(last) <= all_failures_of(pod) and finished_at(last) <= finished_at(pod)
        )
        if later:
            out[index] = pod
    return out

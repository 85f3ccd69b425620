"""Which pods run here: those that the API gives this node, and those of its own files; a worker for each, and an end for all others.

A static pod is shown to the API server by its mirror: made when it is missing, made anew when it shows something else, removed when
there is nothing left for it to show. Of two static pods of one name the second begins when the first is gone.

Source: kubernetes pkg/kubelet/kubelet.go (HandlePodAdditions and the like), kubelet_pods.go HandlePodCleanups, pod/pod_manager.go
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from sampan.client import Client, HttpError, Informer, StatusError, errors
from sampan.kubelet import admission, names, preemption, static
from sampan.kubelet.admission import Refusal
from sampan.kubelet.cri import CriFailed
from sampan.kubelet.health import Health
from sampan.kubelet.node import Node
from sampan.kubelet.parts import Parts
from sampan.kubelet.sync import Syncer
from sampan.kubelet.worker import Ended, Worker

log = logging.getLogger("sampan.kubelet")
Obj = dict[str, Any]
TIDY_SECONDS, MIRROR_SECONDS = 2.0, 5.0
OVER = ("Failed", "Succeeded")


def by_uid(pod: Obj) -> Iterable[str]:
    return (pod["metadata"]["uid"],)


def wanted(pod: Obj) -> tuple[Any, ...]:
    """What of a pod concerns its worker; others' conditions do where its readiness depends on them."""
    meta = {name: value for name, value in pod["metadata"].items() if name not in ("resourceVersion", "managedFields")}
    gates = {each["conditionType"] for each in pod["spec"].get("readinessGates") or ()}
    status = pod.get("status") or {}
    theirs = [each for each in status.get("conditions") or () if each["type"] in gates]
    return meta, pod["spec"], theirs, status.get("phase") in OVER


class Pods:
    """`informer`: the pods of this node. `pressures`: of the node, for admission."""

    def __init__(
        self, client: Client, informer: Informer, node: Node, health: Health, *, static_known: bool,
        pressures: Callable[[], set[str]],
    ) -> None:  # fmt: skip
        self.workers: dict[str, Worker] = {}
        #: pods that went for a critical one, by the resource that was short
        self.preemptions: Counter[str] = Counter()
        self.parts: Parts
        self.syncer: Syncer
        self._client = client
        self._informer = informer
        self._node = node
        self._health = health
        self._pressures = pressures
        self._orphans: dict[str, asyncio.Task[None]] = {}
        #: static pods by uid, and whether the files have been read
        self._static: dict[str, Obj] = {}
        self._static_known = not static_known
        self._look = asyncio.Event()

    def begin(self, parts: Parts) -> None:
        """The informer may run from now on."""
        self.parts, self.syncer = parts, Syncer(parts)
        self._informer.add_handler(self._added, self._updated, self._deleted)

    async def stop(self) -> None:
        """The pods live on."""
        self._static = {}  # the end of a worker makes room for another of its name
        orphans = tuple(self._orphans.values())
        for task in orphans:
            task.cancel()
        await asyncio.gather(*orphans, *(each.stop() for each in self.workers.values()), return_exceptions=True)

    # -- what others ask -----------------------------------------------------------------------------------------------

    @property
    def known(self) -> bool:
        """Is it known which pods are wanted here?"""
        return self._informer.has_synced and self._static_known

    def active(self) -> list[Obj]:
        """Those whose containers may still run."""
        return [each.pod for each in self.workers.values() if not each.finished]

    def all(self) -> list[Obj]:
        """With their latest status."""
        return [{**each.pod, "status": self.parts.statuses.get(each.pod)} for each in self.workers.values()]

    def find(self, namespace: str, name: str) -> Obj | None:
        for worker in self.workers.values():
            meta = worker.pod["metadata"]
            if (meta["namespace"], meta["name"]) == (namespace, name):
                return {**worker.pod, "status": self.parts.statuses.get(worker.pod)}
        return None

    def gone(self, uid: str) -> bool:
        return self.known and uid not in self.workers

    def over(self, uid: str) -> bool:
        worker = self.workers.get(uid)
        return worker is not None and worker.finished

    def end(self, pod: Obj, ended: Ended) -> None:
        worker = self.workers.get(names.uid_of(pod))
        if worker is not None:
            worker.end(ended)

    def poke(self, uid: str) -> None:
        worker = self.workers.get(uid)
        if worker is not None:
            worker.poke()

    def heard(self, uid: str, event: Any) -> None:
        """Most of what the runtime tells is what it was told to do."""
        worker = self.workers.get(uid)
        if worker is None:
            self._health.hurry()  # whose is it?
        elif worker.memory.seen is None or not worker.memory.seen.says(event):
            worker.poke()

    def poke_all(self) -> None:
        for worker in self.workers.values():
            worker.poke()

    def of_api(self, uid: str) -> Obj | None:
        found = self._informer.cache.by_index("uid", uid)
        return found[0] if found else None

    def shown(self, pod: Obj) -> Obj | None:
        """The object at the API server that a pod's status is told of."""
        if not names.is_static(pod):
            return self.of_api(names.uid_of(pod)) or pod
        found = self._informer.cache.get(pod["metadata"]["name"], pod["metadata"]["namespace"])
        return found if found is not None and static.mirrors(found, pod) else None

    async def emptied(self) -> None:
        """Until nothing is left of any pod."""
        while tasks := [*(each.task for each in self.workers.values()), *self._orphans.values()]:
            await asyncio.wait(tasks)

    # -- from the API --------------------------------------------------------------------------------------------------

    def _added(self, pod: Obj) -> None:
        if names.is_mirror(pod):
            self._mirror_seen(pod)
            return
        worker = self.workers.get(names.uid_of(pod))
        if worker is not None:
            worker.update(pod)
        else:
            self._begin(pod)

    def _updated(self, old: Obj, pod: Obj) -> None:
        if names.is_mirror(pod):
            self._mirror_seen(pod)
            return
        uid = names.uid_of(pod)
        self.parts.statuses.seen(uid, pod)
        self.parts.volumes.update(pod)
        worker = self.workers.get(uid)
        if worker is None or wanted(old) != wanted(pod):
            self._added(pod)
        else:
            worker.pod = pod  # only its status is another: that was said by ourselves

    def _deleted(self, pod: Obj) -> None:
        self._look.set()
        worker = self.workers.get(names.uid_of(pod))
        if worker is not None:
            worker.remove()

    def _begin(self, pod: Obj) -> None:
        refused, after = self._refused(pod), list[asyncio.Event]()
        if refused is not None and refused.reason.startswith("OutOf") and admission.critical(pod):
            refused, after = self._preempt(pod)
        worker = self.workers[names.uid_of(pod)] = Worker(self.syncer, pod, self._done, after)
        if refused is not None:
            self.parts.tell(pod, "Warning", refused.reason, refused.message)
            worker.end(Ended("Failed", refused.reason, f"Pod was rejected: {refused.message}"))

    def _refused(self, pod: Obj, *, room: bool = True) -> Refusal | None:
        """One that ran here before is not asked again."""
        uid, status = names.uid_of(pod), pod.get("status") or {}
        if (
            uid in self._health.pods
            or status.get("phase", "Pending") != "Pending"
            or "deletionTimestamp" in pod["metadata"]
        ):
            return None
        if self._node.object is None:
            return None
        node, unsafe = self._node, self.parts.options.allowed_unsafe_sysctls
        return admission.admit(
            pod, self.active(), node.object or {}, node.allocatable, self._pressures(), unsafe, room=room
        )

    def _preempt(self, pod: Obj) -> tuple[Refusal | None, list[asyncio.Event]]:
        """Others go for a critical one: what still speaks against it, and what it has to wait for."""
        if (refused := self._refused(pod, room=False)) is not None:
            return refused, []
        others = self.active()
        short = preemption.short_of(pod, others, self._node.allocatable)
        try:
            victims = preemption.chosen(pod, others, short)
        except preemption.NoneFound as error:
            text = f"Unexpected error while attempting to recover from admission failure: {error}"
            return Refusal("UnexpectedAdmissionError", text), []
        log.info("pods %s go for %s", ", ".join(map(names.pod_text, victims)), names.pod_text(pod))
        ended = Ended("Failed", preemption.REASON, preemption.MESSAGE, conditions=(preemption.CONDITION,))
        for each in victims:
            self.parts.tell(each, "Warning", preemption.REASON, preemption.MESSAGE)
            self.end(each, ended)
        self.preemptions.update([next(iter(short), "")] * len(victims))
        return None, [self.workers[names.uid_of(each)].stopped for each in victims]

    def _done(self, worker: Worker) -> None:
        if self.workers.get(worker.uid) is worker:
            del self.workers[worker.uid]
        if names.is_static(worker.pod):
            self._begin_static()

    # -- from files ----------------------------------------------------------------------------------------------------

    def of_files(self, found: list[Obj]) -> None:
        """The static pods, all of them."""
        self._static = {names.uid_of(pod): pod for pod in found}
        self._static_known = True
        for uid, worker in self.workers.items():
            if names.is_static(worker.pod) and uid not in self._static:
                worker.remove()
        self._begin_static()
        self._look.set()

    def _begin_static(self) -> None:
        held = {static.full_name(each.pod): uid for uid, each in self.workers.items() if names.is_static(each.pod)}
        for uid, pod in self._static.items():
            if uid not in self.workers and static.full_name(pod) not in held:
                self._begin(pod)

    def _mirror_seen(self, mirror: Obj) -> None:
        """Whoever changed it, or the first word of it."""
        for uid, pod in self._static.items():
            if static.mirrors(mirror, pod):
                self.parts.statuses.seen(uid, mirror)
                if uid in self.workers and self.parts.statuses.told_to(uid) != names.uid_of(mirror):
                    self.workers[uid].poke()
        self._look.set()

    async def keep_mirrors(self) -> None:
        """Until cancelled: the mirrors are those of the static pods."""
        await self._informer.wait_synced()
        await self._node.registered.wait()
        while True:
            self._look.clear()
            seconds: float | None = None
            try:
                await self._mirror_all()
            except (StatusError, HttpError) as error:
                if not errors.is_not_found(error):
                    log.warning("cannot bring mirror pods up to date: %s", error)
                seconds = MIRROR_SECONDS
            try:
                async with asyncio.timeout(seconds):
                    await self._look.wait()
            except TimeoutError:
                continue

    async def _mirror_all(self) -> None:
        """Raises StatusError, HttpError."""
        if not self._static_known:
            return
        cache = self._informer.cache
        pods = {(pod["metadata"]["namespace"], pod["metadata"]["name"]): pod for pod in self._static.values()}
        for each in [found for found in cache.list() if names.is_mirror(found)]:
            meta = each["metadata"]
            pod = pods.get((meta["namespace"], meta["name"]))
            if pod is None or not static.mirrors(each, pod) or "deletionTimestamp" in meta:
                await self._client.delete("pods", meta["name"], meta["namespace"], grace_seconds=0, uid=meta["uid"])
        for (namespace, name), pod in pods.items():
            if cache.get(name, namespace) is None and self._node.object is not None:
                try:
                    await self._client.create("pods", static.mirror(pod, self._node.object), namespace)
                except StatusError as error:
                    if not errors.is_already_exists(error):
                        raise

    # -- what nobody wants ---------------------------------------------------------------------------------------------

    async def tidy(self) -> None:
        """End what the runtime has and nobody wants, until cancelled; only while it is known what is wanted."""
        await self._informer.wait_synced()
        while True:
            if self.known:
                for uid in self._health.pods:
                    if uid not in self.workers and uid not in self._orphans:
                        self._orphans[uid] = asyncio.create_task(self._end_orphan(uid), name=f"orphan {uid}")
                try:
                    kept = {*self.workers, *self._orphans}
                    await self.parts.volumes.orphans(kept)
                    for uid in self.parts.cgroups.uids() - kept - set(self.workers):
                        await self.parts.cgroups.remove(uid)
                except OSError as error:
                    log.warning("cannot clean up what pods left: %s", error)
            await asyncio.sleep(TIDY_SECONDS)

    async def _end_orphan(self, uid: str) -> None:
        parts = self.parts
        try:
            seen = await parts.reader.pod(uid)
            await self.syncer.stop(None, seen)
            seen = await parts.reader.pod(uid)
            if uid not in self.workers:
                await self.syncer.remove(seen, parts.options.logs / f"{seen.namespace}_{seen.name}_{uid}")
                await parts.volumes.remove(uid)
                await parts.cgroups.remove(uid)
                await self._health.relist()
        except (CriFailed, OSError) as error:
            log.warning("cannot end pod %s, which nobody wants: %s", uid, error)
        finally:
            self._orphans.pop(uid, None)

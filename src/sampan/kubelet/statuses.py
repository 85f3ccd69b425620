"""What is told to the API server of pods: each status once, the newest last, and the deletion of pods that are over.

A status is taken without waiting and written beside; while the API server is away it is kept, and only the newest of a pod is sent when
it is back. What others wrote over a status of ours is written again.

Source: kubernetes pkg/kubelet/status/status_manager.go
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sampan.client import Client, HttpError, StatusError, errors
from sampan.kubelet import names
from sampan.kubelet.conditions import DISRUPTED, OWNED

log = logging.getLogger("sampan.kubelet")
Obj = dict[str, Any]
WRITERS = 16
#: in the message of a conflict: there is another object of this name by now
ANOTHER = "UID in precondition"
FIRST_RETRY, LAST_RETRY = 0.2, 10.0
#: the fields that are the kubelet's own
FIELDS = (
    "phase", "reason", "message", "hostIP", "hostIPs", "podIP", "podIPs", "startTime", "qosClass", "initContainerStatuses",
    "containerStatuses", "ephemeralContainerStatuses", "observedGeneration", "allocatedResources", "resources", "resize",
)  # fmt: skip


@dataclass(slots=True)
class _Known:
    """`pod` is who it is told of: the mirror, for a static pod, None while there is none. `sent` is what the API server was told last."""

    pod: Obj | None
    status: Obj
    sent: Obj
    version: int = 0
    over: bool = False
    dirty: bool = False
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Statuses:
    """`latest`: the pod as the API server has it, by the uid it has there; None: it has none."""

    def __init__(self, client: Client, latest: Callable[[str], Obj | None]) -> None:
        self._client = client
        self._latest = latest
        self._known: dict[str, _Known] = {}
        self._slots = asyncio.Semaphore(WRITERS)
        self.deleted: Callable[[str], None] = lambda _: None

    def get(self, pod: Obj) -> Obj:
        """As it was last told or, at the beginning, as the API server has it."""
        known = self._known.get(names.uid_of(pod))
        return known.status if known is not None else pod.get("status") or {}

    def set(self, uid: str, pod: Obj | None, status: Obj) -> None:
        """`uid` is the kubelet's, `pod` the one at the API server (for a static pod: its mirror, if it has one by now)."""
        known = self._about(uid, pod)
        if status != known.status:
            known.status = status
            self._write(uid, known)

    def over(self, uid: str, pod: Obj | None) -> None:
        """Nothing of it is left here: it is deleted once its last status is written, if somebody asked for that."""
        known = self._about(uid, pod)
        known.over = True
        self._write(uid, known)

    def _about(self, uid: str, pod: Obj | None) -> _Known:
        known = self._known.get(uid)
        told = (pod or {}).get("status") or {}
        if known is None:
            known = self._known[uid] = _Known(pod, told, told)
        elif pod is not None and (known.pod is None or known.pod["metadata"]["uid"] != pod["metadata"]["uid"]):
            known.pod, known.sent, known.version = pod, told, 0
            self._write(uid, known)
        elif pod is not None:
            known.pod = pod
        return known

    def told_to(self, uid: str) -> str:
        """The uid, at the API server, of what the status is told of."""
        known = self._known.get(uid)
        return "" if known is None or known.pod is None else names.uid_of(known.pod)

    def forget(self, uid: str) -> None:
        known = self._known.pop(uid, None)
        if known is not None and known.task is not None:
            known.task.cancel()

    def seen(self, uid: str, pod: Obj) -> None:
        """The pod as the API server has it now. What of ours is not there any more is written again."""
        known = self._known.get(uid)
        if (
            known is None
            or known.task is not None
            or known.pod is None
            or int(pod["metadata"].get("resourceVersion") or 0) < known.version
        ):
            return
        theirs = pod.get("status") or {}
        if theirs.get("phase") != known.sent.get("phase") or _conditions(theirs) != _conditions(known.sent):
            known.pod, known.sent = pod, theirs
            self._write(uid, known)

    async def aclose(self) -> None:
        tasks = [known.task for known in self._known.values() if known.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- writing -------------------------------------------------------------------------------------------------------

    def _write(self, uid: str, known: _Known) -> None:
        known.dirty = True
        if known.task is None:
            known.task = asyncio.create_task(self._written(uid, known), name=f"status of {uid}")

    async def _written(self, uid: str, known: _Known) -> None:
        """Until the API server knows all."""
        delay = FIRST_RETRY
        try:
            while known.dirty:
                known.dirty = False
                try:
                    async with self._slots:
                        await self._send(uid, known)
                    delay = FIRST_RETRY
                except (StatusError, HttpError) as error:
                    if errors.is_not_found(error) or (errors.is_conflict(error) and ANOTHER in str(error)):
                        log.debug("pod %s is not there any more", uid)
                        return
                    log.warning("cannot tell the status of pod %s: %s", uid, error)
                    known.dirty = True
                    await asyncio.sleep(errors.retry_after(error) or delay)
                    delay = min(delay * 2, LAST_RETRY)
        finally:
            known.task = None

    async def _send(self, uid: str, known: _Known) -> None:
        if known.pod is None:
            return  # it is told once there is someone to tell it of
        status = known.status
        meta = known.pod["metadata"]
        patch = changes(known.sent, status)
        if patch:
            body = {"metadata": {"uid": meta["uid"]}, "status": patch}
            reply = await self._client.patch(
                "pods", meta["name"], body, meta["namespace"], type="strategic", subresource="status"
            )
            known.sent = status
            known.version = int(reply["metadata"].get("resourceVersion") or 0)
        pod = self._latest(meta["uid"]) or known.pod
        if known.over and not known.dirty and "deletionTimestamp" in pod["metadata"] and not names.is_mirror(pod):
            await self._client.delete("pods", meta["name"], meta["namespace"], grace_seconds=0, uid=meta["uid"])
            self.deleted(uid)


def changes(before: Obj, after: Obj) -> Obj:
    """A strategic merge patch from one status to another; empty: they say the same."""
    if not after:
        return {}
    out: Obj = {}
    for name in FIELDS:
        if before.get(name) == after.get(name):
            continue
        if name in ("hostIPs", "podIPs"):
            out[name] = [*(after.get(name) or []), {"$patch": "replace"}]
        else:
            out[name] = after.get(name)
    there = {each["type"]: each for each in before.get("conditions") or ()}
    changed = []
    for each in after.get("conditions") or ():
        old = there.get(each["type"])
        if each["type"] not in (*OWNED, DISRUPTED) or _bare(old) == _bare(each):
            continue
        # what is not said any more is taken away
        gone = {name: None for name in old or () if name not in each}
        changed.append({**each, **gone})
    if changed:
        out["conditions"] = changed
    return out


def _bare(condition: Obj | None) -> Obj:
    return {name: value for name, value in (condition or {}).items() if value is not None}


def _conditions(status: Obj) -> dict[str, str]:
    return {each["type"]: each["status"] for each in status.get("conditions") or () if each["type"] in OWNED}

"""Slices that a controller wrote and its cache has not shown yet: until then it must not act on what it sees, or it would
make the same slices again.

Source: k8s.io/endpointslice/util/endpointslice_tracker.go
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sampan.client.backoff import loop_time

Obj = dict[str, Any]
SERVICE = "service"
SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
#: what has not been shown after so many seconds never will be
TIMEOUT = 60.0


def by_service(slice_: Obj) -> Iterable[str]:
    """The index SERVICE of informers of EndpointSlices: `namespace/name` of the service."""
    meta = slice_["metadata"]
    name = (meta.get("labels") or {}).get(SERVICE_NAME)
    return (f"{meta['namespace']}/{name}",) if name else ()


def service_of(slice_: Obj) -> str:
    return next(iter(by_service(slice_)), "")


def manager_of(slice_: Obj) -> str:
    labels: dict[str, str] = slice_["metadata"].get("labels") or {}
    return labels.get(MANAGED_BY, "")


class SliceTracker:
    """By key of the service, then by uid of the slice: its version, or None where it was deleted; and when."""

    def __init__(self) -> None:
        self._written: dict[str, dict[str, tuple[int | None, float]]] = {}
        self._awaited: set[str] = set()

    def wrote(self, key: str, slice_: Obj) -> None:
        meta = slice_["metadata"]
        self._written.setdefault(key, {})[meta["uid"]] = (int(meta["resourceVersion"]), loop_time())

    def deleted(self, key: str, slice_: Obj) -> None:
        self._written.setdefault(key, {})[slice_["metadata"]["uid"]] = (None, loop_time())

    def stale(self, key: str, slices: Iterable[Obj]) -> bool:
        """Something written does not show in `slices`, which is all of the service's that the cache has: whoever asks is
        not to act, and looks again when `is_news` says so, or after TIMEOUT."""
        written = self._written.get(key)
        if not written:
            return False
        shown = {slice_["metadata"]["uid"]: int(slice_["metadata"]["resourceVersion"]) for slice_ in slices}
        for uid, (version, at) in tuple(written.items()):
            there = shown.get(uid)
            seen = there is None if version is None else there is not None and there >= version
            if seen or loop_time() - at > TIMEOUT:
                del written[uid]
        if written:
            self._awaited.add(key)
            return True
        del self._written[key]
        return False

    def is_news(self, slice_: Obj) -> bool:
        """What the informer just told of is not what was written."""
        version, _ = self._written.get(service_of(slice_), {}).get(slice_["metadata"]["uid"], (0, 0.0))
        return version is not None and int(slice_["metadata"]["resourceVersion"]) > version

    def is_loss(self, slice_: Obj) -> bool:
        """The informer just told that a slice is no more, and we did not delete it."""
        known = self._written.get(service_of(slice_), {}).pop(slice_["metadata"]["uid"], None)
        return known is None or known[0] is not None

    def was_awaited(self, slice_: Obj) -> bool:
        """Somebody was told `stale`, and the informer told of the service since. Once."""
        key = service_of(slice_)
        there = key in self._awaited
        self._awaited.discard(key)
        return there

    def forget(self, key: str) -> None:
        self._written.pop(key, None)
        self._awaited.discard(key)


class SliceWatch:
    """An informer's handler: `wake(key of the service, seconds from now)` when slices of `manager` are not as it wrote them,
    after `later` seconds for there may be more; at once where a reconcile waits for what was written to show."""

    def __init__(
        self, tracker: SliceTracker, manager: str, wake: Callable[[str, float], None], later: float = 0.0
    ) -> None:
        self.tracker, self.manager, self.wake, self.later = tracker, manager, wake, later

    def shown(self, slice_: Obj) -> None:
        if manager_of(slice_) == self.manager:
            self._wake_if(slice_, self.tracker.is_news(slice_))

    def changed(self, old: Obj, new: Obj) -> None:
        if service_of(old) != service_of(new):
            self._wake_if(old, True)
            self._wake_if(new, True)
        elif (manager_of(old) == self.manager) != (manager_of(new) == self.manager):
            self._wake_if(new, True)
        else:
            self.shown(new)

    def gone(self, slice_: Obj) -> None:
        if manager_of(slice_) == self.manager:
            self._wake_if(slice_, self.tracker.is_loss(slice_))

    def _wake_if(self, slice_: Obj, moved: bool) -> None:
        key = service_of(slice_)
        awaited = self.tracker.was_awaited(slice_)
        if key and (awaited or moved):
            self.wake(key, 0.0 if awaited else self.later)

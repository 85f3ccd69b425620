"""What a controller has done and not yet seen: until it has, it must not do it again.

A controller that created three pods expects three; each one that its informer tells of lowers the count. While anything
is expected the cache is known to be behind, and nothing is created or deleted. What does not come within five minutes
is expected no longer.

Deletions are expected by uid, since the same deletion can be told of twice.

Source: kubernetes/pkg/controller/controller_utils.go (ControllerExpectations, UIDTrackingControllerExpectations)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sampan.client.backoff import loop_time

TIMEOUT = 300.0


class _Expected:
    __slots__ = ("adds", "at", "deletions", "uids")

    def __init__(self, adds: int, deletions: int, uids: Iterable[str], at: float) -> None:
        self.adds = adds
        self.deletions = deletions
        self.uids = set(uids)
        self.at = at


class Expectations:
    """By key of the controlling object. `time` is the loop's."""

    def __init__(self, time: Callable[[], float] = loop_time) -> None:
        self._time = time
        self._expected: dict[str, _Expected] = {}

    def satisfied(self, key: str) -> bool:
        """All has been seen, or it is too long ago, or nothing was ever expected."""
        found = self._expected.get(key)
        if found is None or (found.adds <= 0 and found.deletions <= 0 and not found.uids):
            return True
        return self._time() - found.at > TIMEOUT

    def expect_creations(self, key: str, count: int) -> None:
        """Replaces what was expected before."""
        self._expected[key] = _Expected(count, 0, (), self._time())

    def expect_deletions(self, key: str, uids: Iterable[str] | int) -> None:
        """Replaces what was expected before. By uid, or just so many."""
        count, named = (uids, ()) if isinstance(uids, int) else (0, uids)
        self._expected[key] = _Expected(0, count, named, self._time())

    def expect(self, key: str, creations: int, deletions: int) -> None:
        self._expected[key] = _Expected(creations, deletions, (), self._time())

    def raise_(self, key: str, creations: int, deletions: int) -> None:
        """Expect so many more."""
        found = self._expected.get(key)
        if found is not None:
            found.adds += creations
            found.deletions += deletions

    def creation_observed(self, key: str, count: int = 1) -> None:
        """Seen, or failed and never to be seen."""
        found = self._expected.get(key)
        if found is not None:
            found.adds -= count

    def deletion_observed(self, key: str, uid: str = "") -> None:
        found = self._expected.get(key)
        if found is None:
            return
        if found.uids:
            found.uids.discard(uid)
        else:
            found.deletions -= 1

    def deletion_expected(self, key: str, uid: str) -> bool:
        found = self._expected.get(key)
        return found is not None and uid in found.uids

    def pending(self, key: str) -> tuple[int, int]:
        """Creations and deletions not yet seen."""
        found = self._expected.get(key)
        return (0, 0) if found is None else (found.adds, found.deletions + len(found.uids))

    def delete(self, key: str) -> None:
        """The controlling object is gone."""
        self._expected.pop(key, None)

"""Multi-version state in memory: what both local stores keep, and check transactions against.

Every key has its history since the last compaction, newest last; a deletion is an entry without a value. A transaction
is checked and applied in one step on the event loop, which makes it atomic; the SQLite store then makes it durable and
shows it (`visible`) only afterwards. Reads look at `visible`, transactions at everything, so that a write in flight is
built upon but never read.

Source: https://etcd.io/docs/v3.4/learning/data_model/; etcd mvcc/kvstore.go for what compaction keeps
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field

from sampan.store.contract import (
    NO_LEASE,
    Compacted,
    Compare,
    Delete,
    Event,
    FutureRevision,
    Get,
    KeyValue,
    LeaseId,
    LeaseNotFound,
    Op,
    Put,
    Range,
    Revision,
    TxnResult,
)


@dataclass(slots=True)
class Applied:
    """A transaction as it was applied: its result, and the events to make durable and deliver."""

    result: TxnResult
    events: list[Event] = field(default_factory=list)


class Mvcc:
    """`current`: the newest revision; `visible`: the newest that reads may see; `compacted`: history before is gone."""

    def __init__(self) -> None:
        self.current = 1
        self.visible = 1
        self.compacted = 0
        self.keys: list[bytes] = []
        self.history: dict[bytes, list[KeyValue]] = {}
        self.log: list[Event] = []
        self.leases: dict[LeaseId, set[bytes]] = {}

    # -- reading -------------------------------------------------------------------------------------------------------

    def span(self, start: bytes, end: bytes) -> Sequence[bytes]:
        first = bisect.bisect_left(self.keys, start)
        if end == b"\0":
            return self.keys[first:]
        return self.keys[first : bisect.bisect_left(self.keys, end)]

    def at(self, key: bytes, revision: int) -> KeyValue | None:
        """The key's live value as of `revision`."""
        for kv in reversed(self.history.get(key, ())):
            if kv.mod_revision <= revision:
                return kv if kv.version else None
        return None

    def latest(self, key: bytes) -> KeyValue | None:
        history = self.history.get(key)
        return history[-1] if history and history[-1].version else None

    def check(self, revision: int) -> None:
        if revision > self.visible:
            raise FutureRevision
        if revision < self.compacted:
            raise Compacted(self.compacted)

    def range(
        self, start: bytes, end: bytes, *, limit: int, revision: int, keys_only: bool, count_only: bool, seen: int
    ) -> Range:
        at = revision or seen
        found = [kv for kv in (self.at(key, at) for key in self.span(start, end)) if kv is not None]
        count = len(found)
        more = bool(limit) and count > limit
        if count_only:
            return Range((), count, Revision(seen))
        if more:
            found = found[:limit]
        if keys_only:
            found = [KeyValue(kv.key, b"", kv.create_revision, kv.mod_revision, kv.version, kv.lease) for kv in found]
        return Range(found, count, Revision(seen), more)

    def events(self, start: bytes, end: bytes, revision: int, until: int) -> list[Event]:
        """Changes of the range from `revision` to `until`, both included."""
        first = bisect.bisect_left(self.log, revision, key=lambda event: event.kv.mod_revision)
        out = []
        for event in self.log[first:]:
            if event.kv.mod_revision > until:
                break
            if start <= event.kv.key and (end == b"\0" or event.kv.key < end):
                out.append(event)
        return out

    # -- writing -------------------------------------------------------------------------------------------------------

    def txn(self, compare: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op]) -> Applied:
        """Check and apply. Raises ValueError, LeaseNotFound, with nothing applied."""
        succeeded = all(self.holds(item) for item in compare)
        ops = success if succeeded else failure
        self._admissible(ops)
        next_revision = self.current + 1
        events: list[Event] = []
        responses: list[Range | int | None] = []
        gets = False
        for op in ops:
            if isinstance(op, Put):
                events.append(self._put(op, next_revision))
                responses.append(None)
            elif isinstance(op, Delete):
                keys = [op.key] if op.end is None else list(self.span(op.key, op.end))
                gone = [event for event in (self._delete(key, next_revision) for key in keys) if event]
                events.extend(gone)
                responses.append(len(gone))
            else:
                responses.append(self._get(op, next_revision))
                gets = True
        if events:
            self.current = next_revision
            self.log.extend(events)
        if gets:
            # what was read is of the whole transaction
            responses = [self._stamp(item) if isinstance(item, Range) else item for item in responses]
        return Applied(TxnResult(succeeded, Revision(self.current), responses), events)

    def _stamp(self, response: Range) -> Range:
        return Range(response.kvs, response.count, Revision(self.current), response.more)

    def _get(self, op: Get, revision: int) -> Range:
        end = op.end if op.end is not None else op.key + b"\0"
        return self.range(op.key, end, limit=0, revision=revision, keys_only=False, count_only=False, seen=self.current)

    def holds(self, item: Compare) -> bool:
        kv = self.latest(item.key)
        actual: int | bytes
        if item.target == "value":
            if kv is None:
                return False
            actual = kv.value
        elif kv is None:
            actual = 0
        elif item.target == "mod":
            actual = kv.mod_revision
        else:
            actual = kv.create_revision if item.target == "create" else kv.version
        match item.op:
            case "=":
                return actual == item.operand
            case "!=":
                return actual != item.operand
            case "<":
                return actual < item.operand  # type: ignore[operator]
            case ">":
                return actual > item.operand  # type: ignore[operator]

    def _admissible(self, ops: Sequence[Op]) -> None:
        if len(ops) == 1 and (ops[0].__class__ is Delete or getattr(ops[0], "lease", NO_LEASE) == NO_LEASE):
            # nothing to disagree with
            return
        put: set[bytes] = set()
        for op in ops:
            if isinstance(op, Put):
                if op.key in put:
                    raise ValueError("etcdserver: duplicate key given in txn request")
                put.add(op.key)
                if op.lease != NO_LEASE and op.lease not in self.leases:
                    raise LeaseNotFound
        for op in ops:
            if isinstance(op, Delete):
                end = op.end if op.end is not None else op.key + b"\0"
                if any(op.key <= key and (end == b"\0" or key < end) for key in put):
                    raise ValueError("etcdserver: duplicate key given in txn request")

    def _put(self, op: Put, revision: int) -> Event:
        history = self.history.get(op.key)
        if history is None:
            history = self.history[op.key] = []
            bisect.insort(self.keys, op.key)
        old = history[-1] if history and history[-1].version else None
        if old is None:
            kv = KeyValue(op.key, op.value, Revision(revision), Revision(revision), 1, op.lease)
        else:
            kv = KeyValue(op.key, op.value, old.create_revision, Revision(revision), old.version + 1, op.lease)
            self._unlease(old)
        history.append(kv)
        if op.lease != NO_LEASE:
            self.leases[op.lease].add(op.key)
        return Event("put", kv, old)

    def _delete(self, key: bytes, revision: int) -> Event | None:
        old = self.latest(key)
        if old is None:
            return None
        kv = KeyValue(key, b"", Revision(0), Revision(revision), 0)
        self.history[key].append(kv)
        self._unlease(old)
        return Event("delete", kv, old)

    def _unlease(self, old: KeyValue) -> None:
        if old.lease != NO_LEASE and old.lease in self.leases:
            self.leases[old.lease].discard(old.key)

    def compact(self, revision: int) -> None:
        """Raises Compacted, FutureRevision."""
        if revision <= self.compacted:
            raise Compacted(self.compacted)
        if revision > self.visible:
            raise FutureRevision
        self.compacted = revision
        touched = {event.kv.key for event in self.log if event.kv.mod_revision <= revision}
        self.log = self.log[bisect.bisect_right(self.log, revision, key=lambda event: event.kv.mod_revision) :]
        for key in touched:
            history = self.history.get(key)
            if not history:
                continue
            keep = bisect.bisect_right(history, revision, key=lambda kv: kv.mod_revision)
            first = keep - 1 if keep and history[keep - 1].version else keep
            history[:] = history[max(first, 0) :]
            if not history:
                del self.history[key]
                del self.keys[bisect.bisect_left(self.keys, key)]

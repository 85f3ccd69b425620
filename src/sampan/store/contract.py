"""etcd's place: the contract that every backend keeps, and the values it speaks in.

One counter, the revision, numbers every write transaction. A key remembers the revision it was created at, the one it
was last changed at, and how often it was changed since (version). A watch from a revision delivers every later change
in order, with no gap. Compaction forgets history up to a revision; a lease deletes its keys when it runs out.

Keys and values are bytes. A *prefix* stands for all keys that start with it; a range is `[start, end)`.

What a backend must never do: acknowledge a write that a power cut can undo (the memory store excepted), deliver events
of a write before it is acknowledged durable, or deliver them out of order.

Source: https://etcd.io/docs/v3.4/learning/api/ and api_guarantees; etcd `mvcc/kvstore.go` for the edge cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NewType, Protocol

from sampan.api.frozen import frozen

Revision = NewType("Revision", int)
LeaseId = NewType("LeaseId", int)
NO_LEASE = LeaseId(0)


class StoreError(Exception):
    """Anything a store refuses or fails at."""


class Compacted(StoreError):
    """The asked revision was compacted away. `revision`: the oldest that can still be asked for."""

    def __init__(self, revision: int) -> None:
        super().__init__("etcdserver: mvcc: required revision has been compacted")
        self.revision = revision


class FutureRevision(StoreError):
    """The asked revision has not happened yet."""

    def __init__(self) -> None:
        super().__init__("etcdserver: mvcc: required revision is a future revision")


class LeaseNotFound(StoreError):
    def __init__(self) -> None:
        super().__init__("etcdserver: requested lease not found")


class Unavailable(StoreError):
    """The backend cannot be reached or cannot write (disk full); nothing was stored, or it is unknown whether."""


class WatcherTooSlow(StoreError):
    """This watcher's bounded buffer overflowed; it must start again from the last revision it saw."""


@frozen
class KeyValue:
    key: bytes
    value: bytes
    create_revision: Revision
    mod_revision: Revision
    version: int
    lease: LeaseId = NO_LEASE

    def __repr__(self) -> str:
        """Without the value, which may be a Secret."""
        return f"KeyValue({self.key!r}, {len(self.value)} bytes at {self.mod_revision})"


@frozen
class Event:
    """`kv` of a delete has an empty value, version 0, and the deleting revision as mod_revision; `previous` is what was
    there before (None for a creation, or where the backend has compacted it away)."""

    type: Literal["put", "delete"]
    kv: KeyValue
    previous: KeyValue | None


@frozen
class Range:
    """`revision`: the store's current revision when it was read (etcd's header), also when an old one was asked for.
    `count`: how many keys there are in the whole range, without the limit."""

    kvs: Sequence[KeyValue]
    count: int
    revision: Revision
    more: bool = False


@frozen
class Compare:
    """True when the key's `target` stands in relation `op` to `operand`. A missing key has 0 everywhere."""

    key: bytes
    target: Literal["mod", "create", "version", "value"]
    op: Literal["=", "!=", "<", ">"]
    operand: int | bytes


@frozen
class Put:
    key: bytes
    value: bytes
    lease: LeaseId = NO_LEASE

    def __repr__(self) -> str:
        return f"Put({self.key!r}, {len(self.value)} bytes)"


@frozen
class Delete:
    """One key, or the range `[key, end)`."""

    key: bytes
    end: bytes | None = None


@frozen
class Get:
    """One key, or the range `[key, end)`."""

    key: bytes
    end: bytes | None = None


Op = Put | Delete | Get


@frozen
class TxnResult:
    """`revision`: of this transaction if it wrote, else the current one. `responses`: one for each op of the branch
    taken: a Range for Get, the number of deleted keys for Delete, None for Put."""

    succeeded: bool
    revision: Revision
    responses: Sequence[Range | int | None]


class Watch(Protocol):
    """An open watch. Iterate over batches; each batch holds whole revisions, in order.

    Raises Compacted when it starts before the compacted revision, WatcherTooSlow, Unavailable.
    """

    def __aiter__(self) -> Watch: ...

    async def __anext__(self) -> Sequence[Event]: ...

    def close(self) -> None: ...


class Store(Protocol):
    """What a backend implements. Every method may raise `Unavailable`."""

    async def open(self) -> None:
        """Connect or load; afterwards `revision` and reads work."""

    async def close(self) -> None:
        """Flush and let go; open watches end with StopAsyncIteration."""

    async def revision(self) -> Revision:
        """The current revision, at least as new as any write acknowledged anywhere before the call."""

    async def get(self, key: bytes) -> KeyValue | None: ...

    async def range(
        self,
        start: bytes,
        end: bytes,
        *,
        limit: int = 0,
        revision: int = 0,
        keys_only: bool = False,
        count_only: bool = False,
    ) -> Range:
        """Keys of `[start, end)` in order, at `revision` (0: now). Raises Compacted, FutureRevision."""

    async def txn(self, compare: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()) -> TxnResult:
        """All or nothing. A transaction may not put the same key twice (ValueError). Raises LeaseNotFound."""

    def watch(self, start: bytes, end: bytes, revision: int = 0) -> Watch:
        """Events of `[start, end)` from `revision` on, that one included (0: from now)."""

    async def compact(self, revision: int) -> None:
        """Forget what is older than `revision`. Raises Compacted, FutureRevision."""

    async def grant(self, ttl: int) -> LeaseId:
        """A lease of `ttl` seconds."""

    async def revoke(self, lease: LeaseId) -> None:
        """End a lease; its keys are deleted in one transaction. Raises LeaseNotFound."""

    async def keep_alive(self, lease: LeaseId) -> int:
        """Start the lease's time again; returns its TTL in seconds. Raises LeaseNotFound."""


def prefix_end(prefix: bytes) -> bytes:
    """The end of the range that holds all keys starting with `prefix` (`b"\\0"`: no end, as in etcd)."""
    out = bytearray(prefix)
    while out:
        if out[-1] < 0xFF:
            out[-1] += 1
            return bytes(out)
        out.pop()
    return b"\0"

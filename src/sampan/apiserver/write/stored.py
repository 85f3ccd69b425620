"""An object as it is stored, and as those who wrote it see it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import orjson

from sampan.api.kind import Kind, Obj
from sampan.apiserver.cache import Record
from sampan.apiserver.call import Call
from sampan.apiserver.views import body_as
from sampan.apiserver.write.parts import Written
from sampan.store.contract import Compare, KeyValue, Op, Revision, TxnResult


async def transact(call: Call, operation: str, compare: Sequence[Compare], ops: Sequence[Op]) -> TxnResult:
    """A transaction of the store about the addressed resource, its time noted."""
    began = time.perf_counter()
    try:
        return await call.api.store.txn(compare, ops)
    finally:
        names = call.kind.names
        call.api.metrics.stored(operation, names.group, names.resource, time.perf_counter() - began)


async def served(kind: Kind, record: Record) -> Obj:
    """The object as `kind` serves it: the caller's own to change."""
    if not kind.converts:
        return record.obj()
    if kind.remote:
        await kind.fetch([record])
    out: Obj = orjson.loads(body_as(kind, record))
    return out


async def ready(kind: Kind, written: Written) -> Written:
    """What was written can be shown."""
    if kind.remote:
        await kind.fetch([written.record])
    return written


async def stored_form(kind: Kind, obj: Obj) -> Obj:
    return await kind.store(obj) if kind.remote else kind.to_storage(obj)


def preview(call: Call, key: str, value: bytes) -> Record:
    """A record of what a dry run would have stored; it shows no resourceVersion, or the current one."""
    current = call.resource.cache.get(key)
    revision = current.revision if current is not None else 0
    return Record(key, KeyValue(b"", value, Revision(0), Revision(revision), 0), call.resource.cache)


async def stored(call: Call, key: str, value: bytes, revision: int) -> Record:
    """The record of a write just acknowledged; the cache has it (local stores) or soon will."""
    await call.api.cache.reach(revision)
    record = call.resource.cache.get(key)
    if record is not None and record.revision == revision:
        return record
    return record_of(call, key, value, revision)


def record_of(call: Call, key: str, value: bytes, revision: int) -> Record:
    return Record(key, KeyValue(b"", value, Revision(revision), Revision(revision), 1), call.resource.cache)

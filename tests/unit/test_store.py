"""One contract for every store in this process, and what only the durable one promises."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sampan.store.backup import backup, restore
from sampan.store.contract import (
    Compacted,
    Compare,
    Delete,
    Event,
    FutureRevision,
    Get,
    LeaseNotFound,
    Put,
    Range,
    Store,
)
from sampan.store.memory import MemoryStore
from sampan.store.sqlite import SqliteStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "state.db")
    await made.open()
    yield made
    await made.close()


async def put(store: Store, key: bytes, value: bytes) -> int:
    return (await store.txn((), [Put(key, value)])).revision


async def test_revisions_and_versions(store: Store) -> None:
    first = await put(store, b"a", b"1")
    second = await put(store, b"a", b"2")
    kv = await store.get(b"a")
    assert kv is not None
    assert (kv.value, kv.create_revision, kv.mod_revision, kv.version) == (b"2", first, second, 2)
    await store.txn((), [Delete(b"a")])
    assert await store.get(b"a") is None
    third = await put(store, b"a", b"3")
    again = await store.get(b"a")
    assert again is not None and (again.create_revision, again.version) == (third, 1)


async def test_compare_and_swap(store: Store) -> None:
    revision = await put(store, b"a", b"1")
    lost = await store.txn([Compare(b"a", "mod", "=", revision - 1)], [Put(b"a", b"x")], [Get(b"a")])
    assert not lost.succeeded
    found = lost.responses[0]
    assert isinstance(found, Range) and found.kvs[0].value == b"1"
    won = await store.txn([Compare(b"a", "mod", "=", revision), Compare(b"b", "version", "=", 0)], [Put(b"b", b"y")])
    assert won.succeeded and won.revision == revision + 1


async def test_ranges_at_revisions(store: Store) -> None:
    for key in (b"k1", b"k2", b"k3"):
        await put(store, key, key)
    before = await store.revision()
    await store.txn((), [Delete(b"k2")])
    now = await store.range(b"k", b"l")
    assert [kv.key for kv in now.kvs] == [b"k1", b"k3"]
    then = await store.range(b"k", b"l", revision=before, limit=2)
    assert [kv.key for kv in then.kvs] == [b"k1", b"k2"] and then.more and then.count == 3
    with pytest.raises(FutureRevision):
        await store.range(b"k", b"l", revision=before + 100)


async def test_watch_has_no_gap(store: Store) -> None:
    start = await store.revision()
    await put(store, b"a", b"1")
    watch = store.watch(b"a", b"b", start + 1)
    await put(store, b"a", b"2")
    await put(store, b"z", b"elsewhere")
    await store.txn((), [Delete(b"a")])
    seen: list[Event] = []
    async for batch in watch:
        seen.extend(batch)
        if len(seen) == 3:
            break
    watch.close()
    assert [(e.type, e.kv.value) for e in seen] == [("put", b"1"), ("put", b"2"), ("delete", b"")]
    assert seen[2].previous is not None and seen[2].previous.value == b"2"


async def test_compaction(store: Store) -> None:
    await put(store, b"a", b"1")
    second = await put(store, b"a", b"2")
    await put(store, b"a", b"3")
    await store.compact(second)
    assert [kv.value for kv in (await store.range(b"a", b"b", revision=second)).kvs] == [b"2"]
    with pytest.raises(Compacted):
        await store.range(b"a", b"b", revision=second - 1)
    with pytest.raises(Compacted):
        await anext(store.watch(b"a", b"b", second - 1))


async def test_leases(store: Store) -> None:
    lease = await store.grant(100)
    await store.txn((), [Put(b"a", b"1", lease)])
    assert await store.keep_alive(lease) == 100
    await store.revoke(lease)
    assert await store.get(b"a") is None
    with pytest.raises(LeaseNotFound):
        await store.txn((), [Put(b"a", b"1", lease)])


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    await store.open()
    for number in range(20):
        await put(store, b"k%d" % (number % 5), b"%d" % number)
    await store.compact(10)
    await store.txn((), [Delete(b"k4")])
    revision, found = await store.revision(), await store.range(b"k", b"l")
    await store.close()
    again = SqliteStore(tmp_path / "state.db")
    await again.open()
    assert await again.revision() == revision
    assert (await again.range(b"k", b"l")).kvs == found.kvs
    await again.close()


async def test_backup_while_in_use_and_restore(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    await store.open()
    await put(store, b"a", b"kept")
    backup(tmp_path / "state.db", tmp_path / "copy")
    await put(store, b"a", b"later")
    await store.close()
    restore(tmp_path / "copy", tmp_path / "state.db")
    again = SqliteStore(tmp_path / "state.db")
    await again.open()
    kv = await again.get(b"a")
    assert kv is not None and kv.value == b"kept"
    await again.close()


WRITERS = """
import asyncio, sys
from pathlib import Path
from sampan.store.contract import Put
from sampan.store.sqlite import SqliteStore

async def writer(store, name):
    number = 0
    while True:
        number += 1
        result = await store.txn((), [Put(b"%d/a" % name, b"%d" % number), Put(b"%d/b" % name, b"%d" % number)])
        sys.stdout.write(f"{name} {number} {result.revision}\\n")
        sys.stdout.flush()

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    await asyncio.gather(*(writer(store, name) for name in range(8)))

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_killed_process_loses_no_acknowledged_write(tmp_path: Path) -> None:
    path, newest = tmp_path / "state.db", 0
    for round_ in range(12):
        process = subprocess.Popen([sys.executable, "-c", WRITERS, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        acknowledged: dict[int, int] = {}
        for _ in range(random.Random(round_).randint(1, 400)):
            name, number, revision = map(int, process.stdout.readline().split())
            acknowledged[name] = number
            newest = max(newest, revision)
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read()
        process.wait()
        for line in rest.splitlines():
            parts = line.split()
            if len(parts) == 3:
                acknowledged[int(parts[0])] = max(acknowledged.get(int(parts[0]), 0), int(parts[1]))
        newest = asyncio.run(_check(path, newest, acknowledged))


async def _check(path: Path, newest: int, acknowledged: dict[int, int]) -> int:
    store = SqliteStore(path)
    await store.open()
    revision = await store.revision()
    assert revision >= newest
    for name, number in acknowledged.items():
        pair = [await store.get(b"%d/%b" % (name, half)) for half in (b"a", b"b")]
        assert pair[0] is not None and pair[1] is not None
        assert int(pair[0].value) >= number, "an acknowledged write is gone"
        assert pair[0].value == pair[1].value, "half a transaction is there"
    await store.close()
    return revision

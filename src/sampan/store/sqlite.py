"""The default store: one SQLite file, every acknowledged write safe from `kill -9` and power cuts.

A transaction is checked against the index in memory, gets its revision, and is queued to a writer thread. The thread
commits whatever has gathered while the last commit ran (WAL, `synchronous=FULL`), so that many writers share one flush
and one writer waits for none. Only then do reads see it, watchers hear of it and its caller go on. When a commit fails
nothing of it, nor of what was queued behind it, has happened.

The file holds the log of changes since the last compaction and, of what is older, what still lives.

Source: https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sampan.store.contract import (
    Compare,
    Event,
    KeyValue,
    LeaseId,
    LeaseNotFound,
    Op,
    Revision,
    StoreError,
    TxnResult,
    Unavailable,
)
from sampan.store.memory import MemoryStore

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    revision INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
    created INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL,
    PRIMARY KEY (revision, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leases (id INTEGER PRIMARY KEY, ttl INTEGER NOT NULL, expires REAL NOT NULL);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
Row = tuple[int, bytes, bytes, int, int, int]
Statement = tuple[str, Sequence[tuple[object, ...]]]


@dataclass(slots=True)
class _Job:
    """What one caller wants committed."""

    statements: list[Statement]
    events: list[Event]
    done: asyncio.Future[None]
    #: counts roll-backs: jobs checked before one are void after it
    generation: int


@dataclass(slots=True)
class _Writer:
    """The thread that owns the connection for writing."""

    path: Path
    loop: asyncio.AbstractEventLoop
    finished: Callable[[list[_Job], str], None]
    jobs: queue.SimpleQueue[_Job | None] = field(default_factory=queue.SimpleQueue)
    thread: threading.Thread | None = None
    #: the generation whose commit failed last; its other jobs must not be committed either
    broken: int = -1

    def start(self) -> None:
        self.thread = threading.Thread(target=self._run, name="sampan-store", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        db = connect(self.path)
        stopping = False
        while not stopping:
            job = self.jobs.get()
            batch: list[_Job] = []
            while True:
                if job is None:
                    stopping = True
                    break
                batch.append(job)
                try:
                    job = self.jobs.get_nowait()
                except queue.Empty:
                    break
            if batch:
                self.loop.call_soon_threadsafe(self.finished, batch, self._commit(db, batch))
        db.close()

    def _commit(self, db: sqlite3.Connection, batch: list[_Job]) -> str:
        if any(job.generation <= self.broken for job in batch):
            batch[:] = [job for job in batch if job.generation > self.broken] or batch
            if batch[0].generation <= self.broken:
                return "an earlier write failed"
        try:
            db.execute("BEGIN IMMEDIATE")
            for job in batch:
                for sql, rows in job.statements:
                    db.executemany(sql, rows)
            db.execute("COMMIT")
        except sqlite3.Error as error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            self.broken = batch[-1].generation
            return str(error) or type(error).__name__
        return ""


def private(path: Path) -> None:
    """The file, new if need be, is for its owner alone: Secrets are in it. SQLite's other files follow it."""
    with contextlib.suppress(OSError):  # SQLite is about to say so itself
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def connect(path: Path) -> sqlite3.Connection:
    """A connection with the settings that durability rests on. Raises sqlite3.Error."""
    private(path)
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("PRAGMA wal_autocheckpoint=4000")
    return db


_INSERT = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)"


class SqliteStore(MemoryStore):
    """See `Store`. `path`: the database file; its directory exists."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._writer: _Writer | None = None
        self._pending: list[_Job] = []
        self._generation = 0
        self._wall = time.time

    async def open(self) -> None:
        """Raises Unavailable when the file cannot be used, StoreError when it is of a newer schema."""
        try:
            self._load()
        except sqlite3.Error as error:
            raise Unavailable(f"cannot use {self.path}: {error}") from None
        self._writer = _Writer(self.path, asyncio.get_running_loop(), self._finished)
        self._writer.start()

    def _load(self) -> None:
        db = connect(self.path)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise StoreError(f"{self.path} was written by a newer version of sampan (schema {version})")
            db.executescript(_SCHEMA)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            meta = dict(db.execute("SELECT name, value FROM meta"))
            mvcc = self.mvcc
            mvcc.compacted = meta.get("compacted", 0)
            for lease, ttl, expires in db.execute("SELECT id, ttl, expires FROM leases"):
                self.start_lease(LeaseId(lease), ttl, expires - self._wall())
            newest = max(1, meta.get("revision", 1))
            for row in db.execute(
                "SELECT revision, key, value, created, version, lease FROM log ORDER BY revision, key"
            ):
                newest = max(newest, row[0])
                self._restore(row)
            mvcc.keys = sorted(mvcc.history)
            mvcc.current = mvcc.visible = newest
        finally:
            db.close()

    def _restore(self, row: Row) -> None:
        revision, key, value, created, version, lease = row
        kv = KeyValue(key, value, Revision(created), Revision(revision), version, LeaseId(lease))
        history = self.mvcc.history.setdefault(key, [])
        old = history[-1] if history and history[-1].version else None
        if old is not None and old.lease in self.mvcc.leases:
            self.mvcc.leases[old.lease].discard(key)
        history.append(kv)
        if version and lease in self.mvcc.leases:
            self.mvcc.leases[LeaseId(lease)].add(key)
        if revision > self.mvcc.compacted:
            self.mvcc.log.append(Event("put" if version else "delete", kv, old))

    async def close(self) -> None:
        await super().close()
        writer, self._writer = self._writer, None
        if writer is not None and writer.thread is not None:
            writer.jobs.put(None)
            await asyncio.get_running_loop().run_in_executor(None, writer.thread.join)

    # -- writing -------------------------------------------------------------------------------------------------------

    async def txn(self, compare: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()) -> TxnResult:
        if self._writer is None:
            raise Unavailable("the store is closed")
        applied = self.mvcc.txn(compare, success, failure)
        if applied.events:
            rows = [
                (e.kv.mod_revision, e.kv.key, e.kv.value, e.kv.create_revision, e.kv.version, e.kv.lease)
                for e in applied.events
            ]
            await self._commit([(_INSERT, rows)], applied.events)
        elif self._pending:
            # what decided this answer is not durable yet: wait until it is
            await self._commit([], [])
        return applied.result

    async def _commit(self, statements: list[Statement], events: list[Event]) -> None:
        if self._writer is None:
            raise Unavailable("the store is closed")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        job = _Job(statements, events, done, self._generation)
        self._pending.append(job)
        self._writer.jobs.put(job)
        # the commit goes on when the caller is cancelled: it is under way
        await asyncio.shield(done)

    def _finished(self, batch: list[_Job], error: str) -> None:
        """A group is durable, or failed; in the loop."""
        # an earlier failure took these back already, and the writer refused them
        batch = [job for job in batch if job.generation == self._generation]
        if not batch:
            return
        if error:
            self._roll_back(error)
            return
        del self._pending[: len(batch)]
        for job in batch:
            self.show(job.events)
        for job in batch:
            if not job.done.done():
                job.done.set_result(None)

    def _roll_back(self, error: str) -> None:
        """Undo, newest first, everything that is not durable; later jobs of the queue were checked against it."""
        failed, self._pending = self._pending, []
        self._generation += 1
        mvcc = self.mvcc
        for job in reversed(failed):
            for event in reversed(job.events):
                key = event.kv.key
                history = mvcc.history[key]
                history.pop()
                if event.kv.lease in mvcc.leases:
                    mvcc.leases[event.kv.lease].discard(key)
                if event.previous is not None and event.previous.lease in mvcc.leases:
                    mvcc.leases[event.previous.lease].add(key)
                if not history:
                    del mvcc.history[key]
                    mvcc.keys.remove(key)
        undone = {event.kv.mod_revision for job in failed for event in job.events}
        mvcc.log = [event for event in mvcc.log if event.kv.mod_revision not in undone]
        mvcc.current = mvcc.visible
        for job in failed:
            if not job.done.done():
                job.done.set_exception(Unavailable(f"cannot write {self.path}: {error}"))
                job.done.exception()

    async def compact(self, revision: int) -> None:
        before = {key: {kv.mod_revision for kv in self.mvcc.history[key]} for key in self._touched(revision)}
        self.mvcc.compact(revision)
        gone: list[tuple[object, ...]] = []
        for key, revisions in before.items():
            left = {kv.mod_revision for kv in self.mvcc.history.get(key, ())}
            gone.extend((number, key) for number in sorted(revisions - left))
        meta = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
        await self._commit(
            [
                ("DELETE FROM log WHERE revision = ? AND key = ?", gone),
                (meta, [("compacted", revision), ("revision", self.mvcc.visible)]),
            ],
            [],
        )

    def _touched(self, revision: int) -> set[bytes]:
        return {event.kv.key for event in self.mvcc.log if event.kv.mod_revision <= revision}

    # -- leases --------------------------------------------------------------------------------------------------------

    async def grant(self, ttl: int) -> LeaseId:
        lease = await super().grant(ttl)
        await self._note_lease(lease, ttl)
        return lease

    async def _note_lease(self, lease: LeaseId, ttl: int) -> None:
        await self._commit([("INSERT OR REPLACE INTO leases VALUES (?, ?, ?)", [(lease, ttl, self._wall() + ttl)])], [])

    async def keep_alive(self, lease: LeaseId) -> int:
        ttl = await super().keep_alive(lease)
        await self._note_lease(lease, ttl)
        return ttl

    async def revoke(self, lease: LeaseId) -> None:
        if lease not in self.mvcc.leases:
            raise LeaseNotFound
        await super().revoke(lease)
        await self._commit([("DELETE FROM leases WHERE id = ?", [(lease,)])], [])

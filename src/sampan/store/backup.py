"""Backup and restore of the embedded store, while it is in use.

Source: https://www.sqlite.org/backup.html
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from sampan.store.contract import StoreError
from sampan.store.sqlite import SCHEMA_VERSION, private


def backup(database: Path, target: Path) -> int:
    """A consistent copy of `database` as one file; the bytes written. Raises StoreError."""
    if not database.exists():
        raise StoreError(f"there is no store at {database}")
    scratch = target.with_name(target.name + ".part")
    try:
        scratch.unlink(missing_ok=True)
        private(scratch)
        source = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        copy = sqlite3.connect(scratch)
        with source, copy:
            source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
        copy.close()
        source.close()
        _sync(scratch)
        os.replace(scratch, target)
    except (sqlite3.Error, OSError) as error:
        scratch.unlink(missing_ok=True)
        raise StoreError(f"cannot write the backup {target}: {error}") from None
    return target.stat().st_size


def restore(source: Path, database: Path) -> None:
    """Put a backup in the place of `database` (whose server must be down). Raises StoreError; then nothing changed."""
    check(source)
    database.parent.mkdir(parents=True, exist_ok=True)
    scratch = database.with_name(database.name + ".restore")
    try:
        scratch.unlink(missing_ok=True)
        private(scratch)
        scratch.write_bytes(source.read_bytes())
        _sync(scratch)
        for suffix in ("-wal", "-shm"):
            database.with_name(database.name + suffix).unlink(missing_ok=True)
        os.replace(scratch, database)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise StoreError(f"cannot restore to {database}: {error}") from None


def check(source: Path) -> None:
    """Raises StoreError unless `source` is a whole backup of a schema we know."""
    try:
        db = sqlite3.connect(f"file:{source}?mode=ro", uri=True)
        version = db.execute("PRAGMA user_version").fetchone()[0]
        sound = db.execute("PRAGMA integrity_check").fetchone()[0]
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        db.close()
    except sqlite3.Error as error:
        raise StoreError(f"{source} is not a backup: {error}") from None
    if not {"log", "leases", "meta"} <= tables:
        raise StoreError(f"{source} is not a backup of a sampan store")
    if version > SCHEMA_VERSION:
        raise StoreError(f"{source} was written by a newer version of sampan (schema {version})")
    if sound != "ok":
        raise StoreError(f"{source} is damaged: {sound}")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""From what the command line says to a store: `memory`, `sqlite`, or `etcd=URL,...`."""

from __future__ import annotations

from pathlib import Path

from sampan.api.frozen import frozen
from sampan.store.contract import Store
from sampan.store.memory import MemoryStore

DATABASE = "state.db"


@frozen
class EtcdTls:
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


def create(spec: str, directory: Path | None, tls: EtcdTls | None = None) -> Store:
    """The store, not opened yet. Raises ValueError for a spec that is none of the three."""
    if spec == "memory":
        return MemoryStore()
    if spec == "sqlite":
        from sampan.store.sqlite import SqliteStore

        if directory is None:
            raise ValueError("the sqlite store needs a data directory")
        return SqliteStore(directory / DATABASE)
    if spec.startswith("etcd="):
        from sampan.store.etcd import EtcdStore

        tls = tls or EtcdTls()
        endpoints = [url for url in spec.removeprefix("etcd=").split(",") if url]
        if not endpoints:
            raise ValueError("--store etcd= needs at least one URL, as in etcd=https://127.0.0.1:2379")
        return EtcdStore(endpoints, ca=tls.ca, cert=tls.cert, key=tls.key)
    raise ValueError(f"unknown store {spec!r}: it is memory, sqlite or etcd=URL,...")

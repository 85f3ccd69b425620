"""What an API server is told: addresses, files, ranges, where it keeps its state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sampan.store.open import EtcdTls


@dataclass(frozen=True, slots=True)
class ApiServerConfig:
    """`store`: `memory`, `sqlite` (in `data_dir`) or `etcd=URL,...`. Without `cert_file` it serves plain HTTP, and
    everyone is anonymous: for tests only. `port` 0: any free one."""

    bind_hosts: tuple[str, ...] = ("127.0.0.1",)
    port: int = 6443
    cert_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None
    store: str = "sqlite"
    data_dir: Path | None = None
    etcd_tls: EtcdTls | None = None
    service_cidr: str = "10.96.0.0/16"
    node_port_range: tuple[int, int] = (30000, 32767)
    advertise_address: str = "127.0.0.1"
    event_ttl: int = 3600

"""A real etcd for the tests, on loopback with client certificates."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sampan.cluster.certificates import Pki


@dataclass(frozen=True)
class Etcd:
    url: str
    pki: Pki


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(directory: Path, pki: Pki) -> Iterator[Etcd]:
    """etcd until the block ends; it is there once it says so."""
    url, peer = f"https://127.0.0.1:{_port()}", f"http://127.0.0.1:{_port()}"
    command = [
        "etcd", "--name", "test", "--data-dir", str(directory / "etcd"), "--listen-client-urls", url,
        "--advertise-client-urls", url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
        "--initial-cluster", f"test={peer}", "--client-cert-auth", "--trusted-ca-file", str(pki.path("ca.crt")),
        "--cert-file", str(pki.path("apiserver.crt")), "--key-file", str(pki.path("apiserver.key")),
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "ready to serve client requests" in line:
                break
        yield Etcd(url, pki)
    finally:
        process.kill()
        process.communicate()

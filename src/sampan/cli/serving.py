"""The flags of a component's own port, under upstream's names."""

from __future__ import annotations

import argparse
from pathlib import Path

from sampan.cluster.secure_port import ALWAYS, Serving


def add_serving(out: argparse.ArgumentParser, prefix: str = "", *, port: int) -> None:
    """`prefix`: where one process has several."""
    out.add_argument(f"--{prefix}secure-port", type=int, default=port, metavar="PORT",
                     help="HTTPS for health and metrics; 0: none (default: %(default)s)")  # fmt: skip
    if prefix:
        return
    out.add_argument("--bind-address", default="0.0.0.0", metavar="IP", help="(default: %(default)s)")
    out.add_argument("--tls-cert-file", type=Path, help="its certificate (default: one that it signs itself)")
    out.add_argument("--tls-private-key-file", type=Path, help="the certificate's key")
    out.add_argument("--client-ca-file", type=Path,
                     help="CA of clients' certificates (default: as the cluster's ConfigMap has it)")  # fmt: skip
    out.add_argument("--authorization-always-allow-paths", default=",".join(ALWAYS), metavar="PATH,...",
                     help="what everybody may ask (default: %(default)s)")  # fmt: skip


def serving(given: argparse.Namespace) -> Serving:
    paths = tuple(path for path in given.authorization_always_allow_paths.split(",") if path)
    return Serving(
        given.secure_port,
        given.bind_address,
        given.tls_cert_file,
        given.tls_private_key_file,
        given.client_ca_file,
        paths,
    )

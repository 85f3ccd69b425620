"""`sampan apiserver`: the API server in the foreground, with upstream's names for its flags.

Source: https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from pathlib import Path

from sampan.apiserver.config import ApiServerConfig, KubeletClientConfig
from sampan.cli import credentials, process
from sampan.cli.flags import listed
from sampan.store.open import EtcdTls


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(prog="sampan apiserver", description="Serve the Kubernetes API in the foreground.")
    out.add_argument("--bind-address", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    out.add_argument("--advertise-address", help="address that clients in the cluster use")
    out.add_argument("--secure-port", type=int, default=6443, help="port to listen on (default: %(default)s)")
    out.add_argument("--tls-cert-file", type=Path, help="the server's certificate")
    out.add_argument("--tls-private-key-file", type=Path, help="its key")
    out.add_argument("--client-ca-file", type=Path, help="CA whose client certificates are believed")
    credentials.add_flags(out)
    said = "who decides, asked in order: Node, RBAC, AlwaysAllow, AlwaysDeny (default: Node,RBAC)"
    out.add_argument("--authorization-mode", type=listed, default=("Node", "RBAC"), help=said)
    out.add_argument("--service-cluster-ip-range", default="10.96.0.0/16", help="CIDR of cluster IPs")
    out.add_argument("--service-node-port-range", default="30000-32767", help="range of node ports")
    out.add_argument("--storage", default="sqlite", help="memory, sqlite or etcd=URL,... (default: %(default)s)")
    out.add_argument("--etcd-servers", help="URLs of an etcd cluster, separated by commas")
    out.add_argument("--etcd-cafile", type=Path)
    out.add_argument("--etcd-certfile", type=Path)
    out.add_argument("--etcd-keyfile", type=Path)
    out.add_argument("--data-dir", type=Path, help="where the sqlite store keeps its file")
    out.add_argument("--event-ttl", type=int, default=3600, help="seconds that events are kept (default: %(default)s)")
    for switch in ("enable", "disable"):
        said = f"admission plugins that are {switch}d, besides what is so by default, separated by commas"
        out.add_argument(f"--{switch}-admission-plugins", type=listed, default=(), help=said)
    out.add_argument("--admission-control-config-file", type=Path, help="settings of admission plugins")
    out.add_argument("--kubelet-client-certificate", type=Path, help="client certificate to show to kubelets")
    out.add_argument("--kubelet-client-key", type=Path, help="its key")
    out.add_argument("--kubelet-certificate-authority", type=Path, help="CA of kubelets' certificates (default: any)")
    types = ",".join(KubeletClientConfig().address_types)
    said = f"addresses of a node to reach its kubelet by, the best first (default: {types})"
    out.add_argument("--kubelet-preferred-address-types", type=listed, default=listed(types), help=said)
    out.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)
    process.add_verbosity(out)
    return out


def main(arguments: list[str]) -> int:
    """The process's exit code."""
    gc.disable()  # until the server stands: imports leave little garbage
    options = parser().parse_args(arguments)
    process.begin_log(options.v)
    low, _, high = options.service_node_port_range.partition("-")
    try:
        believed = credentials.settings(options)
    except ValueError as error:
        return _tell(options.ready_fd, str(error))
    config = ApiServerConfig(
        bind_hosts=tuple(options.bind_address.split(",")),
        port=options.secure_port,
        cert_file=options.tls_cert_file,
        key_file=options.tls_private_key_file,
        client_ca_file=options.client_ca_file,
        store=f"etcd={options.etcd_servers}" if options.etcd_servers else options.storage,
        data_dir=options.data_dir or Path.cwd(),
        etcd_tls=EtcdTls(options.etcd_cafile, options.etcd_certfile, options.etcd_keyfile),
        service_cidr=options.service_cluster_ip_range,
        node_port_range=(int(low), int(high)),
        advertise_address=options.advertise_address or options.bind_address.split(",")[0],
        event_ttl=options.event_ttl,
        authorization_modes=options.authorization_mode,
        kubelets=KubeletClientConfig(
            options.kubelet_client_certificate,
            options.kubelet_client_key,
            options.kubelet_certificate_authority,
            options.kubelet_preferred_address_types,
        ),
        enable_admission_plugins=options.enable_admission_plugins,
        disable_admission_plugins=options.disable_admission_plugins,
        admission_control_config_file=options.admission_control_config_file,
        **believed,
    )
    return process.run(_serve(config, options.ready_fd))


async def _serve(config: ApiServerConfig, ready_fd: int | None) -> int:
    from sampan.apiserver.server import ApiServer
    from sampan.store.contract import StoreError

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        server = ApiServer(config)
        await server.start()
    except (StoreError, OSError, ValueError) as error:
        return _tell(ready_fd, str(error))
    # what a start leaves stays as long as the process: neither looked through now nor later
    gc.freeze()
    gc.enable()
    # a full collection over thousands of long-lived objects stops the world for a tenth of a second
    gc.set_threshold(50_000, 50, 100)
    logging.getLogger("sampan").info("serving on port %d", server.port)
    if ready_fd is not None:
        os.write(ready_fd, b"ready\n")
        os.close(ready_fd)
    await stop.wait()
    await server.stop()
    return 0


def _tell(ready_fd: int | None, why: str) -> int:
    if ready_fd is not None:
        os.write(ready_fd, why.encode()[:2000])
        os.close(ready_fd)
    print(f"sampan apiserver: {why}\ncheck the flags with `sampan apiserver --help`", file=sys.stderr)
    return 1

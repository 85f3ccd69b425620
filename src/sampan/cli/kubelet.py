"""`sampan kubelet`: a node's agent in the foreground, with upstream's names for its flags.

Source: https://kubernetes.io/docs/reference/command-line-tools-reference/kubelet/
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sampan.cli import process
from sampan.cli.flags import boolean, listed
from sampan.client import Client, ConfigError, HttpsTransport, from_kubeconfig
from sampan.kubelet.options import Options, from_file


def parser(*, exit_on_error: bool = True) -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(prog="sampan kubelet", description="Run the pods that a node is given.",
                                  exit_on_error=exit_on_error, allow_abbrev=exit_on_error)  # fmt: skip
    default = Options(name="")
    add = out.add_argument
    add("--config", type=Path, metavar="FILE", help="a KubeletConfiguration; flags go before what it says")
    add("--kubeconfig", type=Path, metavar="FILE", help="where the API server is, and who to be there")
    add("--bootstrap-kubeconfig", type=Path, metavar="FILE",
        help="used to ask for a client certificate where --kubeconfig is not there yet")  # fmt: skip
    add("--container-runtime-endpoint", metavar="SOCKET", help=f"(default: {default.runtime})")
    add("--hostname-override", metavar="NAME", help="the node's name (default: this machine's)")
    add("--node-ip", type=listed, metavar="IPS", help="(default: that of the way out)")
    add("--root-dir", type=Path, metavar="DIR", help=f"volumes and records (default: {default.root})")
    add("--pod-logs-dir", type=Path, metavar="DIR", help=f"what containers write (default: {default.logs})")
    add("--pod-manifest-path", type=Path, metavar="DIR", help="static pods, as files")
    add("--host-path-map", type=host_paths, metavar="NODE=MACHINE[:ro],...",
        help="where hostPath volumes find paths of the node that are elsewhere on the machine")  # fmt: skip
    add("--cluster-dns", type=listed, metavar="IPS", help="name servers of pods")
    add("--cluster-domain", metavar="NAME", help=f"(default: {default.cluster_domain})")
    add("--resolv-conf", type=Path, metavar="FILE", help=f"the node's (default: {default.resolver})")
    add("--address", metavar="IP", help=f"where the kubelet's own server listens (default: {default.address})")
    add("--port", type=int, help=f"(default: {default.port})")
    add("--healthz-port", type=int, help=f"for health alone, 0 for none (default: {default.healthz_port})")
    add("--healthz-bind-address", metavar="IP", help=f"(default: {default.healthz_address})")
    add("--max-pods", type=int, help=f"(default: {default.max_pods})")
    add("--pod-cidr", metavar="CIDR", help="range of the pods, where the Node does not say it")
    add("--cgroup-root", metavar="PATH", help="the control group that pods are in (default: the root)")
    add("--cgroup-driver", choices=("cgroupfs", "systemd"), help="(default: as the runtime says)")
    add("--cgroups-per-qos", type=boolean, nargs="?", const=True, metavar="BOOL", help="(default: true)")
    add("--node-labels", type=mapping, metavar="K=V,...", help="of the Node, when it is registered")
    add("--register-node", type=boolean, nargs="?", const=True, metavar="BOOL", help="(default: true)")
    add("--register-with-taints", type=taints, metavar="K=V:EFFECT,...", help="of the Node, when it is registered")
    add("--eviction-hard", type=thresholds, metavar="SIGNAL<AMOUNT,...", help="what is kept free by ending pods")
    add("--kube-reserved", type=mapping, metavar="K=V,...", help="kept for Kubernetes: cpu=100m,memory=100Mi")
    add("--system-reserved", type=mapping, metavar="K=V,...", help="kept for the system")
    add("--client-ca-file", type=Path, metavar="FILE", help="signs the certificates of the kubelet server's clients")
    add("--tls-cert-file", type=Path, metavar="FILE", help="the kubelet server's (default: made, signed by itself)")
    add("--tls-private-key-file", type=Path, metavar="FILE")
    add("--anonymous-auth", type=boolean, nargs="?", const=True, metavar="BOOL", help="(default: false)")
    add("--authorization-mode", choices=("Webhook", "AlwaysAllow"), help="(default: Webhook)")
    add("--rotate-certificates", type=boolean, nargs="?", const=True, metavar="BOOL",
        help="ask for a new client certificate before the old one ends")  # fmt: skip
    add("--serialize-image-pulls", type=boolean, nargs="?", const=True, metavar="BOOL", help="(default: false)")
    process.add_verbosity(out)
    return out


#: flags whose field in Options has another name
_FIELDS = {
    "container_runtime_endpoint": "runtime", "hostname_override": "name", "node_ip": "node_ips", "root_dir": "root",
    "pod_logs_dir": "logs", "pod_manifest_path": "static_pods", "resolv_conf": "resolver", "node_labels": "labels",
    "host_path_map": "host_paths",
    "register_node": "register", "register_with_taints": "taints", "client_ca_file": "client_ca", "tls_cert_file": "cert",
    "tls_private_key_file": "key", "anonymous_auth": "anonymous", "authorization_mode": "authorization",
    "serialize_image_pulls": "serialize_pulls", "bootstrap_kubeconfig": "bootstrap", "healthz_bind_address": "healthz_address",
}  # fmt: skip


def mapping(text: str) -> dict[str, str]:
    out = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not key.strip() or not (equals or part):
            raise argparse.ArgumentTypeError(f"{part!r} must be formatted as key=value")
        out[key.strip()] = value.strip()
    return out


def host_paths(text: str) -> tuple[tuple[str, str, bool], ...]:
    out = []
    for part in filter(None, text.split(",")):
        node, equals, machine = part.partition("=")
        if not equals or not node.startswith("/") or not machine.startswith("/"):
            raise argparse.ArgumentTypeError(f"{part!r} must be formatted as /node=/machine or /node=/machine:ro")
        out.append((node, machine.removesuffix(":ro"), machine.endswith(":ro")))
    return tuple(out)


def thresholds(text: str) -> dict[str, str]:
    out = {}
    for part in filter(None, text.split(",")):
        signal_name, less, amount = part.partition("<")
        if not less:
            raise argparse.ArgumentTypeError(
                f"invalid eviction threshold syntax {part}, expected <signal><operator><value>"
            )
        out[signal_name.strip()] = amount.strip()
    return out


def taints(text: str) -> tuple[dict[str, str], ...]:
    out = []
    for part in filter(None, text.split(",")):
        pair, colon, effect = part.rpartition(":")
        key, _, value = pair.partition("=")
        if not colon or effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
            raise argparse.ArgumentTypeError(f"invalid taint spec: {part}")
        out.append({"key": key, "effect": effect, **({"value": value} if value else {})})
    return tuple(out)


def settings(given: argparse.Namespace) -> Options:
    """Raises ConfigError, OSError."""
    base = from_file(given.config) if given.config else Options()
    changes: dict[str, Any] = {}
    for name, value in vars(given).items():
        if value is not None and name not in ("config", "v"):
            changes[_FIELDS.get(name, name)] = value
    return replace(base, **changes)


def main(arguments: list[str]) -> int:
    """The process's exit code."""
    given = parser().parse_args(arguments)
    process.begin_log(given.v)
    try:
        options = settings(given)
        if options.kubeconfig is None:
            raise ConfigError("--kubeconfig is missing: it says where the API server is")
    except (ConfigError, OSError) as error:
        print(f"sampan kubelet: {error}", file=sys.stderr)
        return 1
    from sampan.kubelet.certificates import CertificateError

    return process.run(process.until_told("kubelet", run(options), ConfigError, CertificateError, OSError))


async def run(options: Options) -> None:
    """Until cancelled. Raises ConfigError, OSError, CertificateError."""
    from sampan.kubelet.certificates import PAIR, Paths, Rotation, ensure_client
    from sampan.kubelet.kubelet import Kubelet

    assert options.kubeconfig is not None
    paths = Paths(options.root / "pki", options.kubeconfig, options.bootstrap)
    await ensure_client(paths, options.name, clock=time.time)
    access = from_kubeconfig(options.kubeconfig)
    async with (
        # a connection costs as much as ten calls: better wait for one that is there
        Client(HttpsTransport(access, max_connections=10), user_agent="kubelet") as client,
        Kubelet(options, client, clock=time.time) as kubelet,
        asyncio.TaskGroup() as group,
    ):
        if options.rotate_certificates:
            group.create_task(Rotation(paths.directory, PAIR, client, options.name, clock=time.time).run())
        await kubelet.run()

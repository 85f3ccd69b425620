"""`sampan proxy`: the service proxy of a node in the foreground, with kube-proxy's names for its flags.

Source: https://kubernetes.io/docs/reference/command-line-tools-reference/kube-proxy/
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sampan.cli import process
from sampan.cli.flags import boolean, listed
from sampan.client import Config, ConfigError, from_kubeconfig, load
from sampan.network.namespaces import enter
from sampan.network.nft import NftError
from sampan.network.overlay import MODES
from sampan.network.proxy import options as parsed
from sampan.network.proxy.options import Options, OptionsError
from sampan.network.proxy.proxy import clean_up, run


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(prog="sampan proxy", description="Lead what is sent to Services to their endpoints.")
    default = Options(node="")
    add = out.add_argument
    add("--config", type=Path, metavar="FILE", help="a KubeProxyConfiguration; flags go before what it says")
    add("--kubeconfig", metavar="FILE", help="who to be, and where the API server is (default: as in a pod)")
    add("--master", metavar="URL", help="the API server, instead of the kubeconfig's")
    add("--hostname-override", metavar="NAME", help="the node's name (default: this machine's)")
    add("--cluster-cidr", metavar="CIDR", help="range of all pods: what others send to cluster IPs is masqueraded")
    add("--proxy-mode", default="", metavar="MODE", help="nftables, which is the only one")
    add("--healthz-bind-address", metavar="HOST:PORT", help="(default: {}:{}; empty: none)".format(*default.health))
    add("--metrics-bind-address", metavar="HOST:PORT", help="(default: {}:{}; empty: none)".format(*default.metrics))
    add("--nodeport-addresses", type=listed, metavar="CIDRS", help="where node ports are served (default: everywhere)")
    add("--masquerade-all", type=boolean, nargs="?", const=True, metavar="BOOL", help="whatever goes to a Service")
    add("--nftables-min-sync-period", metavar="DURATION", help="rest between two changes (default: none)")
    add(
        "--nftables-sync-period",
        metavar="DURATION",
        help=f"between two looks at the rules (default: {default.sync_seconds:g}s)",
    )
    add("--pod-routes", type=boolean, nargs="?", const=True, metavar="BOOL",
        help="keep routes to the pods of other nodes too (default: true)")  # fmt: skip
    add("--overlay", choices=MODES, help="how other nodes' pods are reached: routes (nodes on the same wire), vxlan (any), "
        "auto: vxlan where they are on another wire (default: auto)")  # fmt: skip
    add("--network-policies", type=boolean, nargs="?", const=True, metavar="BOOL",
        help="enforce NetworkPolicies for the pods of this node (default: true)")  # fmt: skip
    add("--network-namespace", type=Path, metavar="FILE", help="of the node (default: where it is started)")
    add("--cleanup", action="store_true", help="take the rules away and exit")
    process.add_verbosity(out)
    return out


def main(arguments: list[str]) -> int:
    """The process's exit code."""
    given = parser().parse_args(arguments)
    process.begin_log(given.v)
    if os.geteuid() != 0:
        print("sampan proxy: it needs root: it changes the kernel's rules\nrun it with sudo", file=sys.stderr)
        return 1
    try:
        options = settings(given)
        if given.network_namespace is not None:
            enter(given.network_namespace)  # before there is any other thread
        if given.cleanup:
            clean_up(options.cluster_cidr)
            return 0
        access = _access(options, given.master)
    except (OptionsError, ConfigError, OSError, NftError) as error:
        print(f"sampan proxy: {error}", file=sys.stderr)
        return 1
    return process.run(process.until_told("proxy", run(access, options, clock=time.time), OSError))


def settings(given: argparse.Namespace) -> Options:
    """The configuration file, with the flags that were given. Raises OptionsError, OSError."""
    found: dict[str, Any] = {"node": socket.gethostname().lower()}
    if given.config is not None:
        found |= parsed.from_file(given.config)
    parsed.mode(given.proxy_mode)
    flags = {
        "node": given.hostname_override,
        "kubeconfig": given.kubeconfig,
        "cluster_cidr": parsed.cidr(given.cluster_cidr),
        "health": parsed.endpoint(given.healthz_bind_address, 10256),
        "metrics": parsed.endpoint(given.metrics_bind_address, 10249),
        "node_port_addresses": parsed.networks(given.nodeport_addresses),
        "masquerade_all": given.masquerade_all,
        "min_sync_seconds": parsed.seconds(given.nftables_min_sync_period),
        "sync_seconds": parsed.seconds(given.nftables_sync_period),
        "routes": given.pod_routes,
        "overlay": given.overlay,
        "policies": given.network_policies,
    }
    return Options(**{**found, **{name: value for name, value in flags.items() if value is not None}})


def _access(options: Options, master: str | None) -> Config:
    found = from_kubeconfig(Path(options.kubeconfig)) if options.kubeconfig else load()
    return replace(found, server=master) if master else found

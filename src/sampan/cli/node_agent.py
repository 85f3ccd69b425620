"""`sampan node-agent`, which `sampan up` starts in each node: kubelet and service proxy in one process."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from ipaddress import IPv4Network
from pathlib import Path

from sampan.cli import kubelet, process
from sampan.client import ConfigError, from_kubeconfig
from sampan.kubelet.options import Options
from sampan.network.overlay import MODES
from sampan.network.proxy.options import Options as ProxyOptions
from sampan.network.proxy.proxy import run as run_proxy


def parser() -> argparse.ArgumentParser:
    out = kubelet.parser()
    out.prog, out.description = "sampan node-agent", "Run a node: its kubelet and its service proxy."
    out.add_argument(
        "--proxy-kubeconfig", type=Path, metavar="FILE", help="who the service proxy is (default: no proxy)"
    )
    out.add_argument(
        "--cluster-cidr", default="10.244.0.0/16", metavar="CIDR", help="range of all pods (default: %(default)s)"
    )
    out.add_argument(
        "--overlay", choices=MODES, default="auto",
        help="how other nodes' pods are reached: routes, vxlan, or auto: vxlan where they are on another wire"
        " (default: %(default)s)",
    )  # fmt: skip
    return out


def main(arguments: list[str]) -> int:
    """The process's exit code."""
    given = parser().parse_args(arguments)
    process.begin_log(given.v)
    proxy, cidr, overlay = given.proxy_kubeconfig, given.cluster_cidr, given.overlay
    del given.proxy_kubeconfig, given.cluster_cidr, given.overlay
    try:
        options = kubelet.settings(given)
    except (ConfigError, OSError) as error:
        print(f"sampan node-agent: {error}", file=sys.stderr)
        return 1
    from sampan.kubelet.certificates import CertificateError

    work = _both(options, proxy, cidr, overlay)
    return process.run(process.until_told("node-agent", work, ConfigError, CertificateError, OSError))


async def _both(options: Options, proxy: Path | None, cidr: str, overlay: str) -> None:
    """Raises, in a group, ConfigError and OSError."""
    async with asyncio.TaskGroup() as group:
        group.create_task(kubelet.run(options))
        if proxy is not None:
            wanted = ProxyOptions(options.name, cluster_cidr=IPv4Network(cidr), overlay=overlay)
            group.create_task(run_proxy(from_kubeconfig(proxy), wanted, clock=time.time))

"""`sampan node-agent`, which `sampan up` starts in each node: kubelet and service proxy in one process."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import time
from ipaddress import IPv4Network
from pathlib import Path

from sampan.cli import kubelet
from sampan.client import ConfigError, from_kubeconfig
from sampan.kubelet.options import Options
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
    return out


def main(arguments: list[str]) -> int:
    """The process's exit code."""
    given = parser().parse_args(arguments)
    level = logging.DEBUG if given.v > 3 else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname).1s %(name)s %(message)s", stream=sys.stderr)
    try:
        import uvloop

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    except ImportError:
        runner = asyncio.Runner()
    with runner:
        return runner.run(_until_told(given))


async def _until_told(given: argparse.Namespace) -> int:
    proxy, cidr = given.proxy_kubeconfig, given.cluster_cidr
    del given.proxy_kubeconfig, given.cluster_cidr
    try:
        options = kubelet.settings(given)
    except (ConfigError, OSError) as error:
        print(f"sampan node-agent: {error}", file=sys.stderr)
        return 1
    task = asyncio.create_task(_both(options, proxy, cidr))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return 0
    except ExceptionGroup as errors:
        foreseen, others = errors.split((ConfigError, OSError))
        if others is not None or foreseen is None:
            raise
        print(f"sampan node-agent: {foreseen.exceptions[0]}", file=sys.stderr)
    return 1


async def _both(options: Options, proxy: Path | None, cidr: str) -> None:
    """Raises, in a group, ConfigError and OSError."""
    async with asyncio.TaskGroup() as group:
        group.create_task(kubelet.run(options))
        if proxy is not None:
            wanted = ProxyOptions(options.name, cluster_cidr=IPv4Network(cidr))
            group.create_task(run_proxy(from_kubeconfig(proxy), wanted, clock=time.time))

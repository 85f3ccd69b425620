"""`sampan runtime`: the container runtime in the foreground; a kubelet finds it by its socket."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import signal
import sys
import time
import warnings
from pathlib import Path

from sampan.cli import process
from sampan.cli.flags import boolean
from sampan.runtime.errors import CriError
from sampan.runtime.network import Loopback, Network
from sampan.runtime.pod_network import NetworkOptions, PodNetwork
from sampan.runtime.runtime import Options, Runtime


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(prog="sampan runtime", description="Run containers, for whoever speaks CRI v1.")
    out.add_argument("--listen", type=Path, default=Path("/run/sampan/runtime/cri.sock"), metavar="SOCKET",
                     help="(default: %(default)s)")  # fmt: skip
    out.add_argument("--root", type=Path, default=Path("/var/lib/sampan/runtime"),
                     help="images, and what containers write (default: %(default)s)")  # fmt: skip
    out.add_argument("--state", type=Path, default=Path("/run/sampan/runtime"),
                     help="what a reboot may take (default: %(default)s)")  # fmt: skip
    out.add_argument("--registry-config-dir", default="/etc/containerd/certs.d", metavar="DIR[:DIR...]",
                     help="registries and their mirrors, as hosts.toml files (default: %(default)s)")  # fmt: skip
    out.add_argument(
        "--oci-runtime", default="runc", help="runc, or what takes the same commands (default: %(default)s)"
    )
    out.add_argument("--cgroup-driver", choices=("auto", "cgroupfs", "systemd"), default="auto",
                     help="who makes control groups (default: systemd, where it runs on version 2 of them)")  # fmt: skip
    out.add_argument("--conmon", default="conmon", help="the container monitor (default: %(default)s)")
    out.add_argument("--network", choices=("cni", "loopback"), default="cni",
                     help="cni: pods get an address and a way out; loopback: neither (default: %(default)s)")  # fmt: skip
    out.add_argument("--pod-cidr", default="", metavar="CIDR",
                     help="range of this node's pods (default: what the kubelet says)")  # fmt: skip
    out.add_argument("--cluster-cidr", default="", metavar="CIDR",
                     help="range of all pods, which see each other's addresses (default: this node's pods)")  # fmt: skip
    out.add_argument("--masquerade", type=boolean, default=True, metavar="BOOL",
                     help="what pods send elsewhere has the node's address (default: true)")  # fmt: skip
    out.add_argument("--pod-mtu", type=int, default=0, metavar="BYTES", help="(default: as the node's way out)")
    process.add_verbosity(out)
    return out


def main(arguments: list[str]) -> int:
    """The process's exit code."""
    given = parser().parse_args(arguments)
    process.begin_log(given.v)
    if os.geteuid() != 0:
        print("sampan runtime: it needs root: containers are made of namespaces and mounts", file=sys.stderr)
        print("run it with sudo", file=sys.stderr)
        return 1
    for program, package in ((given.oci_runtime, "runc"), (given.conmon, "conmon")):
        if shutil.which(program) is None:
            print(f"sampan runtime: {program} is not installed", file=sys.stderr)
            print(f"apt-get install {package}, or name another one", file=sys.stderr)
            return 1
    options = Options(
        given.listen, given.root, given.state, tuple(map(Path, given.registry_config_dir.split(":"))), given.oci_runtime, given.conmon,
        None if given.cgroup_driver == "auto" else given.cgroup_driver == "systemd",
    )  # fmt: skip
    network: Network = Loopback()
    if given.network == "cni":
        kept = given.root.absolute() / "network"
        network = PodNetwork(NetworkOptions(kept, given.pod_cidr, given.cluster_cidr, given.masquerade, given.pod_mtu))
    if sys.version_info < (3, 12):  # else a thread for each child
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    try:
        with asyncio.Runner() as runner:
            runner.run(_until_told(options, network))
    except (CriError, OSError) as error:
        print(f"sampan runtime: {error}", file=sys.stderr)
        return 1
    return 0


async def _until_told(options: Options, network: Network) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    runtime = Runtime(options, clock=time.time, network=network)
    await runtime.start()
    logging.getLogger("runtime").info("serving on %s", options.socket)
    await told.wait()
    await runtime.stop()

"""`sampan cni`: the CNI plugin as containerd runs it, and its installation.

sampan cni install --pod-cidr 10.244.0.0/24      a conflist, and an executable named as it says
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from sampan.network.cni import command


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(prog="sampan cni install", description="Install the CNI plugin for containerd.")
    out.add_argument("--pod-cidr", required=True, metavar="CIDR", help="range of this node's pods")
    out.add_argument("--cluster-cidr", default="", metavar="CIDR", help="range of all pods (default: this node's)")
    out.add_argument("--no-masquerade", action="store_true", help="pods keep their addresses towards the world")
    out.add_argument("--mtu", type=int, default=0, help="of pods' links (default: as the node's way out)")
    out.add_argument("--state-dir", type=Path, default=Path(command.STATE), help="(default: %(default)s)")
    out.add_argument("--conf-dir", type=Path, default=Path("/etc/cni/net.d"), help="(default: %(default)s)")
    out.add_argument("--bin-dir", type=Path, default=Path("/opt/cni/bin"), help="(default: %(default)s)")
    return out


def main(arguments: list[str]) -> int:
    """The process's exit code."""
    if "CNI_COMMAND" in os.environ:
        code, said = command.run(os.environ, sys.stdin.read())
        print(said, end="")
        return code
    if arguments[:1] != ["install"]:
        print("sampan cni: CNI_COMMAND is not set: this is for container runtimes", file=sys.stderr)
        print("`sampan cni install --help` tells how to make one use it", file=sys.stderr)
        return 1
    given = parser().parse_args(arguments[1:])
    config: dict[str, Any] = {"podCIDR": given.pod_cidr, "stateDir": str(given.state_dir.absolute())}
    if given.cluster_cidr:
        config["clusterCIDR"] = given.cluster_cidr
    if given.no_masquerade:
        config["masquerade"] = False
    if given.mtu:
        config["mtu"] = given.mtu
    try:
        _install(given.conf_dir, given.bin_dir, command.conflist(config))
    except OSError as error:
        print(f"sampan cni: {error}", file=sys.stderr)
        return 1
    return 0


def _install(configurations: Path, programs: Path, conflist: str) -> None:
    """`loopback` only where the standard plugins are not."""
    programs.mkdir(parents=True, exist_ok=True)
    script = f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -m sampan.cli cni\n"
    for name in ("sampan", "loopback"):
        if name == "sampan" or not (programs / name).exists():
            _write(programs / name, script, 0o755)
    configurations.mkdir(parents=True, exist_ok=True)
    _write(configurations / "10-sampan.conflist", conflist, 0o644)


def _write(path: Path, text: str, mode: int) -> None:
    scratch = path.with_name(f".{path.name}.part")
    scratch.write_text(text)
    scratch.chmod(mode)
    os.replace(scratch, path)

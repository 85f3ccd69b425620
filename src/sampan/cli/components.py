"""`sampan controller-manager` in the foreground, and `sampan components`, which `sampan up` starts: controllers, scheduler
and simulated nodes in one process.

Source: https://kubernetes.io/docs/reference/command-line-tools-reference/kube-controller-manager/
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.cli import process
from sampan.cli.flags import boolean
from sampan.cli.serving import add_serving, serving
from sampan.cluster.components import Credentials, Parts, options_of, run
from sampan.cluster.secure_port import NO_PORT, NotServed
from sampan.controllers.manager import chosen

if TYPE_CHECKING:
    from sampan.network.nodes import ClusterNetwork


def parser(name: str) -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(
        prog=f"sampan {name}", description="Run what makes actual state follow desired state."
    )
    out.add_argument("--server", default="https://127.0.0.1:6443", help="the API server (default: %(default)s)")
    out.add_argument(
        "--pki-dir", type=Path, required=True, help="directory with ca.crt, ca.key and the clients' certificates"
    )
    out.add_argument("--controllers", default="*", help="controllers to run: *, name, -name; separated by commas")
    out.add_argument("--cluster-cidr", default="10.244.0.0/16", help="range of pods' addresses")
    out.add_argument("--service-cluster-ip-range", default="10.96.0.0/16", help="range of cluster IPs")
    out.add_argument("--node-monitor-grace-period", type=float, default=50.0, help="seconds without a sign of life")
    out.add_argument("--leader-elect", type=boolean, nargs="?", const=True, default=True, metavar="BOOL",
                     help="run only while holding the lease (default: true)")  # fmt: skip
    out.add_argument("--host-path-root", default="/tmp/hostpath-provisioner", help="where volumes are provisioned")
    add_serving(out, port=10257)
    process.add_verbosity(out)
    if name == "components":
        add_serving(out, "scheduler-", port=10259)
        out.add_argument("--hollow", type=int, default=0, help="simulated nodes")
        out.add_argument("--stages", type=Path, help="file with the life of simulated pods")
        out.add_argument("--node-network", default="", metavar="ID,NODES,PODS,SERVICES,BALANCERS",
                         help="the bridge of this machine's nodes and its ranges: keep the host's routes to them")  # fmt: skip
    return out


def main(name: str, arguments: list[str]) -> int:
    """The process's exit code."""
    given = parser(name).parse_args(arguments)
    process.begin_log(given.v)
    controllers = tuple(given.controllers.split(","))
    try:
        tuple(chosen(controllers))
    except ValueError as error:
        print(f"sampan {name}: {error}", file=sys.stderr)
        return 1
    try:
        options = options_of(
            given.pki_dir,
            controllers=controllers,
            cluster_cidr=given.cluster_cidr,
            service_cluster_ip_range=given.service_cluster_ip_range,
            node_monitor_grace_period=given.node_monitor_grace_period,
            host_path_root=given.host_path_root,
        )
    except OSError as error:
        print(f"sampan {name}: {error}\ncheck --pki-dir: it must hold the cluster's certificates", file=sys.stderr)
        return 1
    together = name == "components"
    life = None
    if together and given.stages is not None:
        from sampan.hollow.life import StagesError, pods_from

        try:
            life = pods_from(given.stages)
        except (OSError, StagesError) as error:
            print(f"sampan {name}: --stages: {error}", file=sys.stderr)
            return 1
    port = serving(given)
    if port.client_ca is None:
        port = replace(port, client_ca=given.pki_dir / "ca.crt")
    if together:
        # several clusters may be on this machine, and share its loopback
        port = replace(port, any_port=True)
    parts = Parts(
        controllers=True,
        scheduler=together,
        hollow=given.hollow if together else 0,
        life=life,
        leader_elect=given.leader_elect,
        manager_port=port,
        scheduler_port=replace(port, port=given.scheduler_secure_port) if together else NO_PORT,
        network=_network(given.node_network) if together and given.node_network else None,
        options=options,
    )
    return process.run(process.until_told(name, run(Credentials(given.server, given.pki_dir), parts), NotServed))


def _network(text: str) -> ClusterNetwork:
    from ipaddress import IPv4Network

    from sampan.network.nodes import ClusterNetwork
    from sampan.network.ranges import Ranges

    name, *ranges = text.split(",")
    return ClusterNetwork(name, Ranges(*map(IPv4Network, ranges)), run=Path("/run/sampan") / name / "net")

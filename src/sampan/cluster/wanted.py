"""From what was typed to what a cluster shall be."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sampan.cluster import doctor, kind_config, spec
from sampan.cluster.errors import ClusterError
from sampan.cluster.lifecycle import Wanted
from sampan.cluster.state import Cluster, all_clusters


def of_flags(
    cluster: Cluster, *, nodes: int | None, hollow: int | None, store: str | None, port: int | None,
    runtime: str | None = None,
) -> tuple[Wanted, str]:  # fmt: skip
    """And what the user should know about it. A new cluster has one node, unless simulated ones are asked for or this
    machine cannot run any. Raises ClusterError."""
    out = Wanted(store=store, port=port, hollow=hollow, runtime=runtime)
    known = cluster.settings()
    runs_on = runtime or (spec.runtime(known.nodes) if known is not None else "") or spec.SAMPAN
    said = ""
    if nodes is not None and (known is None or len(known.nodes) != nodes):
        out.nodes = spec.nodes(cluster.name, nodes, runs_on)
    elif known is None and not hollow and nodes is None:
        lacking = doctor.lacking(runs_on)
        if lacking and runtime is None:
            why = "; ".join(f"{finding.what}: {finding.said}" for finding in lacking)
            said = (
                f"No node can run containers here ({why}); `sampan doctor` says more. The control plane runs without."
            )
        else:
            out.nodes = spec.nodes(cluster.name, 1, runs_on)
    if known is None and runtime is not None and not out.nodes:
        raise ClusterError("--runtime is for nodes that run containers", "add --nodes 1, or leave it out")
    return out, said


def stages_of(path: Path) -> str:
    """A file with the life of simulated pods, where it is. Raises ClusterError."""
    from sampan.hollow.life import StagesError, pods_from

    try:
        pods_from(path)
    except OSError as error:
        raise ClusterError(f"--stages: {path}: {error.strerror}", "name a file of stages") from None
    except (StagesError, UnicodeDecodeError) as error:
        raise ClusterError(
            f"--stages: {error}", "the stages that come with Sampan show how: docs/simulated-nodes.md"
        ) from None
    return str(path.resolve())


def of_kind(
    cluster: Cluster, config: Path | None, prefix: str = "sampan", runtime: str = spec.SAMPAN
) -> tuple[kind_config.Wanted, Wanted]:
    """Of a kind configuration, or of none: one node. Raises ClusterError."""
    try:
        text = config.read_text() if config is not None else f"kind: Cluster\napiVersion: {kind_config.API_VERSION}\n"
    except (OSError, UnicodeDecodeError) as error:
        raise ClusterError(f"cannot read {config}: {error}", "name a file that is there") from None
    read = kind_config.read(text, cluster.name)
    out = Wanted(
        nodes=[replace(node, runtime=runtime) for node in read.nodes],
        ranges=read.ranges,
        listen=read.listen,
        port=read.port or None,
        context=f"{prefix}-{cluster.name}",
    )
    return read, out


_SOCKETS = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}


def published(nodes: Sequence[spec.Node]) -> tuple[list[spec.Node], list[str]]:
    """With ports of the host that nobody has, and what was chosen. Rules lead them on before a listener of the machine would
    see anything, so that none may be there. Raises ClusterError."""
    taken = {
        (port.host, port.protocol): cluster.name
        for cluster in all_clusters()
        if cluster.pid() is not None and (settings := cluster.settings()) is not None
        for node in settings.nodes
        for port in node.ports
    }
    out, said = [], []
    for node in nodes:
        ports = []
        for port in node.ports:
            if not port.host:
                port = replace(port, host=_bound(port))
                said.append(f"extraPortMappings: {node.name}'s port {port.node} is this machine's port {port.host}")
            elif owner := taken.get((port.host, port.protocol)):
                raise ClusterError(f"hostPort {port.host} is cluster {owner}'s", "choose another in extraPortMappings")
            else:
                _bound(port)
            ports.append(port)
        out.append(replace(node, ports=ports))
    return out, said


def _bound(port: spec.Port) -> int:
    """The port, or a free one for 0. Raises ClusterError."""
    if port.protocol not in _SOCKETS:
        return port.host
    with socket.socket(type=_SOCKETS[port.protocol]) as probe:
        if port.protocol == "TCP":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port.listen, port.host))
        except OSError as error:
            raise ClusterError(
                f"hostPort {port.host} at {port.listen} cannot be used: {error.strerror}",
                "stop what listens there, or choose another in extraPortMappings",
            ) from None
        found: int = probe.getsockname()[1]
        return found

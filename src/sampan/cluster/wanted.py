"""From what was typed to what a cluster shall be."""

from __future__ import annotations

from pathlib import Path

from sampan.cluster import doctor, kind_config, spec
from sampan.cluster.errors import ClusterError
from sampan.cluster.lifecycle import Wanted
from sampan.cluster.state import Cluster


def of_flags(
    cluster: Cluster, *, nodes: int | None, hollow: int | None, store: str | None, port: int | None
) -> tuple[Wanted, str]:
    """And what the user should know about it. A new cluster has one node, unless simulated ones are asked for or this
    machine cannot run any."""
    out = Wanted(store=store, port=port, hollow=hollow)
    known = cluster.settings()
    said = ""
    if nodes is not None and (known is None or len(known.nodes) != nodes):
        out.nodes = spec.nodes(cluster.name, nodes)
    elif known is None and not hollow and nodes is None:
        lacking = doctor.lacking()
        if lacking:
            why = "; ".join(f"{finding.what}: {finding.said}" for finding in lacking)
            said = (
                f"No node can run containers here ({why}); `sampan doctor` says more. The control plane runs without."
            )
        else:
            out.nodes = spec.nodes(cluster.name, 1)
    return out, said


def of_kind(cluster: Cluster, config: Path | None, prefix: str = "sampan") -> tuple[kind_config.Wanted, Wanted]:
    """Of a kind configuration, or of none: one node. Raises ClusterError."""
    try:
        text = config.read_text() if config is not None else f"kind: Cluster\napiVersion: {kind_config.API_VERSION}\n"
    except (OSError, UnicodeDecodeError) as error:
        raise ClusterError(f"cannot read {config}: {error}", "name a file that is there") from None
    read = kind_config.read(text, cluster.name)
    out = Wanted(
        nodes=read.nodes,
        ranges=read.ranges,
        listen=read.listen,
        port=read.port or None,
        context=f"{prefix}-{cluster.name}",
    )
    return read, out

"""Clusters as a whole and their nodes: create, delete, get, node, export."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import yaml

from sampan.cli.told import NAME, OUTPUT, Steps, node_names, told
from sampan.cluster import certificates, kubeconfig, lifecycle, spec, state
from sampan.cluster.errors import ClusterError
from sampan.cluster.spec import RUNTIMES, SAMPAN


@click.group()
def create() -> None:
    """Create a cluster.

    \b
    sampan create cluster --name shop --config kind.yaml
    """


@create.command("cluster")
@click.option("--name", help="Name of the cluster (default: the configuration's, or default).")
@click.option(
    "--config", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A kind configuration file."
)
@click.option("--runtime", type=click.Choice(RUNTIMES), default=SAMPAN, show_default=True,
              help="What nodes run containers on.")  # fmt: skip
@click.option("--wait", type=float, default=60.0, show_default=True, help="Seconds to wait for nodes to be ready.")
@OUTPUT
@told
def create_cluster(name: str | None, config: Path | None, runtime: str, wait: float, output: str) -> None:
    """From a configuration file as kind has them (kind.x-k8s.io/v1alpha4).

    \b
    sampan create cluster --name shop
    sampan create cluster --name shop --config kind.yaml
    """
    done = created(name, config, wait, Steps(output == "json"), output != "json", runtime=runtime)
    if output == "json":
        click.echo(json.dumps({"name": done.cluster.name, "server": done.server, "context": done.context}))
    else:
        click.echo(click.style(f"Cluster {done.cluster.name} is up", fg="green") + f" at {done.server}")
        click.echo(f"\n  kubectl cluster-info --context {done.context}")


def created(name: str | None, config: Path | None, wait: float, steps: Steps, notes: bool, prefix: str = "sampan",
            default: str = "default", runtime: str = SAMPAN) -> lifecycle.Up:  # fmt: skip
    """Raises ClusterError."""
    from sampan.cluster.wanted import of_kind, published

    read, _ = of_kind(state.find(name or default), config)
    cluster = state.find(name or read.name or default)
    if cluster.exists():
        raise ClusterError(
            f"cluster {cluster.name} exists", f"delete it first, or carry on with it: sampan up --name {cluster.name}"
        )
    read, wanted = of_kind(cluster, config, prefix, runtime)
    wanted.wait = wait
    wanted.nodes, chosen = published(wanted.nodes or ())
    wanted.nodes, unheard = kubelet_flags(wanted.nodes)
    for note in (*read.notes, *chosen, *unheard) if notes else ():
        click.echo(click.style("Note: ", fg="yellow") + note, err=True)
    done = lifecycle.up(cluster, wanted, steps)
    steps.done()
    return done


def kubelet_flags(nodes: Sequence[spec.Node]) -> tuple[list[spec.Node], list[str]]:
    """With those that our kubelet takes, and notes on those that it does not know. Raises ClusterError for bad values."""
    import argparse

    from sampan.cli.kubelet import parser

    reader = parser(exit_on_error=False)
    out, unheard = [], dict[str, None]()
    for node in nodes:
        taken = {}
        for flag, value in node.kubelet.items():
            try:
                _, rest = reader.parse_known_args([f"--{flag}={value}"])
            except argparse.ArgumentError as error:
                raise ClusterError(
                    f"kubeletExtraArgs: {flag}: {error.message}", "`sampan kubelet --help` says what it takes"
                ) from None
            if rest:
                unheard[f"kubeletExtraArgs: {flag} changes nothing here"] = None
            else:
                taken[flag] = value
        out.append(replace(node, kubelet=taken))
    return out, list(unheard)


@click.group()
def delete() -> None:
    """Delete a cluster and its state.

    \b
    sampan delete cluster --name shop
    """


@delete.command("cluster")
@NAME
@OUTPUT
@told
def delete_cluster(name: str, output: str) -> None:
    """Stop it and remove all that it kept."""
    lifecycle.delete(state.find(name))
    click.echo(json.dumps({"name": name, "deleted": True}) if output == "json" else f"Deleted cluster {name}")


@click.group()
def get() -> None:
    """Show clusters, nodes or a kubeconfig.

    \b
    sampan get clusters
    sampan get nodes --name shop
    sampan get kubeconfig --name shop > shop.kubeconfig
    """


@get.command("clusters")
@OUTPUT
@told
def get_clusters(output: str) -> None:
    """Their names."""
    names = [cluster.name for cluster in state.all_clusters()]
    if output == "json":
        click.echo(json.dumps(names))
    elif names:
        click.echo("\n".join(names))
    else:
        click.echo("No clusters found.", err=True)


@get.command("nodes")
@NAME
@OUTPUT
@told
def get_nodes(name: str, output: str) -> None:
    """The names of a cluster's nodes."""
    names = [node.name for node in state.find(name).known().nodes]
    click.echo(json.dumps(names) if output == "json" else "\n".join(names))


@get.command("kubeconfig")
@NAME
@OUTPUT
@told
def get_kubeconfig(name: str, output: str) -> None:
    """A kubeconfig of this cluster alone, as YAML."""
    cluster = state.find(name)
    settings = cluster.known()
    text = kubeconfig.standalone(certificates.Pki(cluster.pki), settings.context, lifecycle.url(settings.port))
    click.echo(json.dumps(yaml.safe_load(text)) + "\n" if output == "json" else text, nl=False)


@click.group()
def node() -> None:
    """Add, stop, start or remove a node of a running cluster.

    \b
    sampan node add
    sampan node stop default-worker     its machine lost power
    """


@node.command("add")
@NAME
@OUTPUT
@told
def node_add(name: str, output: str) -> None:
    """One more worker."""
    from sampan.cluster import nodes

    steps = Steps(output == "json")
    made = nodes.add(state.find(name), steps)
    steps.done()
    click.echo(json.dumps({"cluster": name, "added": made.name}) if output == "json" else f"Added {made.name}")


def _one(command: str, help_text: str, said: str) -> None:
    @node.command(command, help=help_text)
    @click.argument("which", metavar="NODE", shell_complete=node_names)
    @NAME
    @OUTPUT
    @told
    def run(which: str, name: str, output: str) -> None:
        from sampan.cluster import nodes

        getattr(nodes, f"{command}_one")(state.find(name), which)
        click.echo(json.dumps({"cluster": name, said.lower(): which}) if output == "json" else f"{said} {which}")


_one("stop", "As if its machine lost power: its pods end, and the cluster notices.", "Stopped")
_one("start", "A stopped node comes back.", "Started")
_one("remove", "Stop a node and take it out of the cluster.", "Removed")


@click.group()
def export() -> None:
    """Write logs into a directory.

    \b
    sampan export logs ./logs --name shop
    """


@export.command("logs")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), required=False)
@NAME
@OUTPUT
@told
def export_logs(directory: Path | None, name: str, output: str) -> None:
    """Of the control plane, of nodes and of pods."""
    from sampan.cluster.logs import export as write

    target = write(state.find(name), directory)
    if output == "json":
        click.echo(json.dumps({"name": name, "directory": str(target)}))
        return
    click.echo(f"Exported logs for cluster {name!r} to:", err=True)
    click.echo(str(target))


@click.command()
@click.option("--runtime", type=click.Choice(RUNTIMES), default=SAMPAN, show_default=True,
              help="What nodes shall run containers on.")  # fmt: skip
@click.option("--install", is_flag=True, help="Install missing system packages first (Debian and Ubuntu, as root).")
@OUTPUT
@told
def doctor(runtime: str, install: bool, output: str) -> None:
    """Say what this machine lacks, and how to get it.

    \b
    sampan doctor
    sudo sampan doctor --install
    """
    from dataclasses import asdict

    from sampan.cluster.doctor import findings
    from sampan.cluster.doctor import install as install_missing

    if install:
        install_missing(lambda text: click.echo(f" • {text}", err=True), runtime)

    found = list(findings(runtime))
    if output == "json":
        click.echo(json.dumps([asdict(finding) for finding in found]))
    else:
        for finding in found:
            mark = click.style("ok", fg="green") if finding.well else click.style("--", fg="red")
            click.echo(
                f" {mark}  {finding.what:<18} {finding.said}" + (f"\n      → {finding.hint}" if finding.hint else "")
            )
    sys.exit(0 if all(finding.well for finding in found if finding.needed) else 1)

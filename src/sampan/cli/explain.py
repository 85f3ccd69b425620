"""`sampan explain`: why a pod is where it is, or nowhere."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sampan.scheduler.explain import Explanation

MOST_SHOWN = 20


@click.group("explain")
def group() -> None:
    """Say why things are as they are.

    \b
    sampan explain pod web-0 -n shop
    """


@group.command("pod")
@click.argument("name")
@click.option("-n", "--namespace", help="Its namespace (default: the context's).")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Default: $KUBECONFIG or ~/.kube/config.")
@click.option("--context", default="", help="Context of the kubeconfig to use.")
@click.option(
    "--scheduler-config", type=click.Path(path_type=Path, exists=True), help="The scheduler's, if it has one."
)
@click.option("--all", "everything", is_flag=True, help=f"Show all nodes, not the first {MOST_SHOWN}.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="For people or programs.")
def pod(
    name: str,
    namespace: str | None,
    kubeconfig: Path | None,
    context: str,
    scheduler_config: Path | None,
    everything: bool,
    output: str,
) -> None:
    """Which nodes a pod may go to, which refuse it, and what would have to change."""
    from sampan.client import Client, ConfigError, HttpError, HttpsTransport, StatusError, from_kubeconfig
    from sampan.scheduler import config
    from sampan.scheduler.explain import CannotExplain, explain

    try:
        configuration = config.load(scheduler_config) if scheduler_config else None
        access = from_kubeconfig(kubeconfig, context=context)

        async def ask() -> Explanation:
            async with Client(HttpsTransport(access), user_agent="sampan-explain") as client:
                where = namespace or access.namespace or "default"
                return await explain(client, where, name, clock=time.time, configuration=configuration)

        found = asyncio.run(ask())
    except (CannotExplain, StatusError, ConfigError, HttpError, config.ConfigurationError) as error:
        click.echo(click.style("Error: ", fg="red") + str(error), err=True)
        hint = getattr(error, "hint", "") or "check the name, the namespace (-n) and the kubeconfig, then try again"
        click.echo(f"  {hint}", err=True)
        sys.exit(1)
    if output == "json":
        click.echo(json.dumps(found.as_dict(), indent=2))
    else:
        show(found, everything)


def show(found: Explanation, everything: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    where = f"is on [bold]{found.node}[/]" if found.node else "waits for a node"
    console.print(f"Pod [bold]{found.namespace}/{found.name}[/] {where} (scheduler {found.scheduler}).")
    if found.nominated and not found.node:
        console.print(f"Others are being removed from [bold]{found.nominated}[/] to make room for it.")
    if found.waits and not found.node:
        console.print(f"[yellow]It is not tried yet:[/] {found.waits}")
    if found.refusal:
        console.print(f"[red]It fits nowhere:[/] {found.refusal}")
        return
    fitting = [item for item in found.verdicts if item.fits]
    refused = [item for item in found.verdicts if not item.fits]
    console.print(
        f"{len(fitting)} of {len(found.verdicts)} nodes fit{', as if it were not there yet' if found.node else ''}."
    )
    if found.message:
        console.print(f"[dim]{found.message}[/]")
    most = None if everything else MOST_SHOWN
    if fitting:
        names = sorted({name for item in fitting for name in item.scores})
        table = Table("NODE", "SCORE", *names, box=None, pad_edge=False, header_style="bold")
        for item in fitting[:most]:
            table.add_row(item.node, f"[green]{item.score}[/]", *(str(item.scores.get(name, 0)) for name in names))
        console.print(table)
    if refused:
        table = Table("NODE", "REFUSED BY", "WHY", "WHAT WOULD HELP", box=None, pad_edge=False, header_style="bold")
        for item in refused[:most]:
            for index, refusal in enumerate(item.refusals):
                first = item.node if index == 0 else ""
                table.add_row(first, refusal.plugin, "\n".join(refusal.reasons), "\n".join(refusal.advice))
        console.print(table)
    hidden = sum(max(0, len(items) - MOST_SHOWN) for items in (fitting, refused)) if most else 0
    if hidden:
        console.print(f"[dim]{hidden} more nodes: --all shows them[/]")

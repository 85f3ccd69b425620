"""`sampan registry`: the machine's own registry of images, which all clusters' nodes know as localhost:PORT."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click

from sampan.cli.told import OUTPUT, told
from sampan.cluster import local_registry


def serve(arguments: list[str]) -> None:
    """The process itself: DIRECTORY PORT FD."""
    from sampan.registry.serving import serve as run

    directory, port, ready = arguments
    asyncio.run(run(Path(directory), int(port), int(ready)))


@click.group("registry")
def group() -> None:
    """A registry on this machine, to push to and to pull from.

    \b
    sampan registry up
    sampan image build -t localhost:5001/web:v1 . && sampan image push localhost:5001/web:v1
    kubectl create deployment web --image=localhost:5001/web:v1
    """


@group.command("up")
@click.option("--port", type=click.IntRange(1, 65535), help="Default: as before, or 5001, or a free one.")
@OUTPUT
@told
def up(port: int | None, output: str) -> None:
    """Start it; running clusters learn of it at once."""
    number, already = local_registry.up(port)
    if output == "json":
        click.echo(json.dumps({"host": f"localhost:{number}", "already": already}))
    else:
        click.echo(click.style("The registry is " + ("already running" if already else "up"), fg="green")
                   + f" at localhost:{number}")  # fmt: skip


@group.command("down")
@click.option("--delete", is_flag=True, help="Delete its images too.")
@OUTPUT
@told
def down(delete: bool, output: str) -> None:
    """Stop it. Its images are kept."""
    stopped = local_registry.down(delete=delete)
    if output == "json":
        click.echo(json.dumps({"stopped": stopped, "deleted": delete}))
    else:
        kept = "; its images are deleted" if delete else "; its images are kept"
        click.echo(("The registry is down" if stopped else "The registry was not running") + kept)


@group.command("status")
@OUTPUT
@told
def status(output: str) -> None:
    """Where it listens."""
    number = local_registry.port()
    host = f"localhost:{number}" if number else ""
    if output == "json":
        click.echo(json.dumps({"running": bool(number), "host": host}))
    else:
        click.echo(f"running at {host}" if number else "not running; `sampan registry up` starts it")

"""`sampan load`: images into a cluster's nodes, without a registry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click

from sampan.cli.told import NAME, OUTPUT, told
from sampan.cluster import images, state


@click.group("load")
def group() -> None:
    """Load images into all nodes of a cluster.

    \b
    docker save web:v1 -o web.tar && sampan load image-archive web.tar
    sampan load docker-image web:v1
    """


@group.command("image-archive")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True))
@NAME
@OUTPUT
@told
def archive(file: Path, name: str, output: str) -> None:
    """A file that `docker save` wrote, or an OCI archive."""
    _show(images.load_archive(state.find(name), file), output)


@group.command("docker-image")
@click.argument("image", nargs=-1, required=True)
@NAME
@OUTPUT
@told
def docker(image: tuple[str, ...], name: str, output: str) -> None:
    """Images of this machine's Docker or Podman."""
    _show(images.load_from_docker(state.find(name), image), output)


def _show(loading: Coroutine[Any, Any, dict[str, list[str]]], output: str) -> None:
    done = asyncio.run(loading)
    if output == "json":
        click.echo(json.dumps(done))
        return
    for node, names in done.items():
        for each in names:
            click.echo(f" • {node}: {each}")

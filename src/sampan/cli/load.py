"""`sampan load`: images into a cluster's nodes, without a registry."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from sampan.cluster import images, state
from sampan.cluster.errors import ClusterError

NAME = click.option("--name", default="default", show_default=True, help="Name of the cluster.")


@click.group("load")
def group() -> None:
    """Load images into all nodes of a cluster."""


@group.command("image-archive")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@NAME
def archive(file: Path, name: str) -> None:
    """A file that `docker save` wrote, or an OCI archive."""
    _told(name, lambda cluster: images.load_archive(cluster, file))


@group.command("docker-image")
@click.argument("image", nargs=-1, required=True)
@NAME
def docker(image: tuple[str, ...], name: str) -> None:
    """Images of this machine's Docker or Podman."""
    _told(name, lambda cluster: images.load_from_docker(cluster, image))


def _told(name: str, load: Callable[[state.Cluster], Coroutine[Any, Any, dict[str, list[str]]]]) -> None:
    try:
        found = asyncio.run(load(state.find(name)))
    except ClusterError as error:
        click.echo(click.style("Error: ", fg="red") + error.what, err=True)
        click.echo(f"  {error.hint}", err=True)
        sys.exit(1)
    for node, names in found.items():
        for each in names:
            click.echo(f" • {node}: {each}")

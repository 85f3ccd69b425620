"""`sampan image`: build, ls, rm, save, push."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from sampan.cli.told import NAME, OUTPUT, told
from sampan.cluster import building, state
from sampan.cluster.errors import ClusterError


@click.group("image")
def group() -> None:
    """Build images into a cluster, and see what its nodes have.

    \b
    sampan image build -t web:v1 .
    sampan image ls
    sampan image save web:v1 -o web.tar
    """


@group.command("build")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False), default=".")
@click.option("-t", "--tag", "tags", multiple=True, help="Name of the image, as web:v1; can be given several times.")
@click.option(
    "-f", "--file", "file", type=click.Path(path_type=Path, dir_okay=False), help="Default: DIRECTORY/Dockerfile."
)
@click.option("--build-arg", "arguments", multiple=True, metavar="NAME=VALUE", help="A value for an ARG.")
@click.option("--target", default="", help="Stage to stop at.")
@click.option("--no-cache", is_flag=True, help="Do every step anew.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but the image's ID.")
@NAME
@OUTPUT
@told
def build(
    directory: Path, tags: tuple[str, ...], file: Path | None, arguments: tuple[str, ...], target: str, no_cache: bool,
    quiet: bool, name: str, output: str,
) -> None:  # fmt: skip
    """Build DIRECTORY's Dockerfile, and load the image into all nodes.

    \b
    sampan image build -t web:v1 .
    kubectl create deployment web --image=web:v1
    """
    dockerfile = file or directory / "Dockerfile"
    if not dockerfile.is_file():
        raise ClusterError(f"{dockerfile} is not there", "write one, or name it with --file")
    given = dict(argument.partition("=")[::2] for argument in arguments)
    silent = quiet or output == "json"
    done = building.build(
        state.find(name), directory.resolve(), dockerfile, tags=tags, args=given, target=target, cache=not no_cache,
        say=(lambda text: None) if silent else click.echo,
        output=(lambda data: None) if silent else _through,
    )  # fmt: skip
    if output == "json":
        click.echo(json.dumps({"name": done.name, "id": done.id, "size": done.size, "nodes": done.nodes}))
    elif quiet:
        click.echo(done.id)
    else:
        where = f", loaded into {', '.join(done.nodes)}" if done.nodes else ""
        if tags and not done.nodes:
            where = f"; cluster {name} has no running nodes to load it into"
        said = f"Built {done.name or done.id}"
        click.echo(click.style(said, fg="green") + f" ({done.size / 1e6:.1f} MB{where})")


def _through(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


@group.command("ls")
@NAME
@OUTPUT
@told
def ls(name: str, output: str) -> None:
    """Images of the nodes."""
    found = building.listed(state.find(name))
    if output == "json":
        click.echo(json.dumps(found))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("IMAGE", "ID", "SIZE", box=None, pad_edge=False, header_style="bold")
    for each in found:
        for tag in each["tags"] or ["<none>"]:
            table.add_row(tag, each["id"].removeprefix("sha256:")[:12], f"{each['size'] / 1e6:.1f} MB")
    Console().print(table)


@group.command("rm")
@click.argument("images", nargs=-1, required=True)
@NAME
@OUTPUT
@told
def rm(images: tuple[str, ...], name: str, output: str) -> None:
    """Remove images from all nodes."""
    building.removed(state.find(name), images)
    if output == "json":
        click.echo(json.dumps({"removed": images}))
        return
    for image in images:
        click.echo(f"Removed {image}")


@group.command("save")
@click.argument("image")
@click.option(
    "-o", "--output", "target", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to write."
)
@NAME
@told
def save(image: str, target: Path, name: str) -> None:
    """Write an image to a file, as `docker save` does."""
    size = building.saved(state.find(name), image, target)
    click.echo(f"Wrote {target} ({size / 1e6:.1f} MB)")


@group.command("push")
@click.argument("image")
@NAME
@OUTPUT
@told
def push(image: str, name: str, output: str) -> None:
    """Push an image to the registry in its name, as localhost:5001/web:v1."""
    digest = building.pushed(state.find(name), image, (lambda text: None) if output == "json" else click.echo)
    if output == "json":
        click.echo(json.dumps({"name": image, "digest": digest}))
    else:
        click.echo(click.style(f"Pushed {image}", fg="green") + f" ({digest})")

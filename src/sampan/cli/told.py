"""What all commands share: errors as two lines and an exit code, progress as lines with times, options."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import click

from sampan.cluster import state
from sampan.cluster.errors import ClusterError
from sampan.store.contract import StoreError

P = ParamSpec("P")
R = TypeVar("R")


def cluster_names(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """What a shell completes."""
    return [each.name for each in state.all_clusters() if each.name.startswith(begun)]


def node_names(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Of the cluster that is named already."""
    settings = state.find(str(context.params.get("name") or "default")).settings()
    return [each.name for each in (settings.nodes if settings else ()) if each.name.startswith(begun)]


NAME = click.option(
    "--name", default="default", show_default=True, help="Name of the cluster.", shell_complete=cluster_names
)
OUTPUT = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", help="For people or programs."
)


def told(command: Callable[P, R]) -> Callable[P, R]:
    """Errors as two lines and an exit code, never as a traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ClusterError as error:
            fail(error.what, error.hint)
        except StoreError as error:
            fail(str(error), "check the file and its directory, then try again")
        except KeyboardInterrupt:
            fail("interrupted", "run the same command again to carry on, or `sampan down` to stop what runs")
        sys.exit(1)

    return run


def fail(what: str, hint: str) -> None:
    click.echo(click.style("Error: ", fg="red") + what, err=True)
    click.echo(f"  {hint}", err=True)


class Steps:
    """Says each step when it begins and, once the next one does, how long it took. `quiet`: nothing."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._text, self._began = "", 0.0

    def __call__(self, text: str) -> None:
        self.done()
        self._text, self._began = text, time.monotonic()
        if not self._quiet and sys.stdout.isatty():
            click.echo(f" • {text}", nl=False)

    def done(self) -> None:
        if self._text and not self._quiet:
            took = click.style(f"{time.monotonic() - self._began:6.1f} s", dim=True)
            start = "\r" if sys.stdout.isatty() else ""
            click.echo(f"{start} • {self._text:<40}{took}")
        self._text = ""

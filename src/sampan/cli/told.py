"""What all commands share: errors as two lines and an exit code, progress as lines with times, options."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import NoReturn, ParamSpec, TypeVar

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
        except BrokenPipeError:  # whoever read has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            fail(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""), _remedy(error))
        except KeyboardInterrupt:
            fail("interrupted", "run the same command again to carry on, or `sampan down` to stop what runs")
        sys.exit(1)

    return run


def _remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"make room (clusters are in {state.home()}), then run the same command again"
    return "check the file, its directory and your rights to them, then run the same command again"


def fail(what: str, hint: str) -> None:
    """Two lines, of what others said in many."""
    first = next((line for line in what.splitlines() if line.strip()), what).rstrip(" :")
    click.echo(click.style("Error: ", fg="red") + first, err=True)
    click.echo(f"  {hint}", err=True)


def run(command: click.Command, name: str) -> NoReturn:
    """As the process. What was typed wrongly is told as all else is; Ctrl-C until now ended us without a word."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        command.main(prog_name=name, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else name
        fail(error.format_message(), f"{path} --help says how it is used")
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    sys.exit(0)


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

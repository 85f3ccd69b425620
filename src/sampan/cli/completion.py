"""`sampan completion`: what makes a shell complete commands, options, and names of clusters and nodes."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script for SHELL to read.

    \b
    source <(sampan completion bash)               in ~/.bashrc; zsh: in ~/.zshrc
    sampan completion fish > ~/.config/fish/completions/sampan.fish
    """
    found = get_completion_class(shell)
    assert found is not None  # click knows all of the choices
    click.echo(found(context.find_root().command, {}, "sampan", "_SAMPAN_COMPLETE").source())

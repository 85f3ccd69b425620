"""What `sampan kubectl` leaves to kubectl."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from sampan.cli.passing import Passing


@click.command(cls=Passing)
@click.option("--name", default="default")
@click.option("--quiet", is_flag=True)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def program(name: str, quiet: bool, arguments: tuple[str, ...]) -> None:
    click.echo("|".join([name, str(quiet), *arguments]))


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ("get pods -A", "default|False|get|pods|-A"),
        ("-- get pods", "default|False|get|pods"),
        ("--name shop -- get pods -o json", "shop|False|get|pods|-o|json"),
        ("--quiet --name=shop get pods", "shop|True|get|pods"),
        ("create cronjob x --image=i -- date", "default|False|create|cronjob|x|--image=i|--|date"),
        ("-- exec x -- ls -l", "default|False|exec|x|--|ls|-l"),
        ("expose deploy x --name y", "default|False|expose|deploy|x|--name|y"),
        ("-n kube-system get pods", "default|False|-n|kube-system|get|pods"),
        ("get pods --help", "default|False|get|pods|--help"),
        ("", "default|False"),
    ],
)
def test_what_is_for_the_program_stays_as_it_is(given: str, passed: str) -> None:
    done = CliRunner().invoke(program, given.split())
    assert (done.exit_code, done.output) == (0, passed + "\n"), done.output


def test_help_of_its_own() -> None:
    assert "Usage:" in CliRunner().invoke(program, ["--help"]).output
    assert "No such option" not in CliRunner().invoke(program, ["--name"]).output

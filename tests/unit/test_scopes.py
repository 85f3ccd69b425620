"""Clusters outlive the login session."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sampan.cluster import scopes


@pytest.mark.parametrize(
    ("first", "root", "booted", "wanted"),
    [
        ("systemd", True, True, True),
        ("systemd", False, True, False),  # only root may ask
        ("systemd", True, False, False),  # it is there, and has not booted the machine
        ("init", True, True, False),
        ("", True, True, False),
    ],
)
def test_when_scopes_are_used(first: str, root: bool, booted: bool, wanted: bool) -> None:
    assert scopes.chosen(first, root=root, booted=booted) is wanted


def test_what_is_started() -> None:
    command = ["nsenter", "--net=/x", "--", "python", "-m", "sampan.cli"]
    assert scopes.scoped(command, runner="", description="d") == command
    found = scopes.scoped(command, runner="/usr/bin/systemd-run", description="d")
    assert found[0] == "/usr/bin/systemd-run" and found[-len(command) :] == command
    assert {"--scope", "--slice=sampan.slice"} <= set(found[1 : -len(command) - 1]) and found[-len(command) - 1] == "--"


def test_it_is_the_same_process(tmp_path: Path) -> None:
    """Any runner that becomes the program after its own options, as systemd-run does with --scope, keeps id and output."""
    runner = tmp_path / "runner"
    runner.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    runner.chmod(0o755)
    command = scopes.scoped(
        [sys.executable, "-c", "import os; print(os.getpid())"], runner=str(runner), description="two words"
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        out, _ = process.communicate(timeout=10)
    assert int(out) == process.pid

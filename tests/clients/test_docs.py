"""The commands in the documentation do what it says: every `sh` block of a page is run, in order, in one shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import kubectls

pytestmark = [pytest.mark.clients, pytest.mark.slow]
DOCS = Path(__file__).parent.parent.parent / "docs"
PAGES = ("control-plane.md", "administration.md", "simulated-nodes.md")
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)


def shell(script: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run in a new home, with sampan and kubectl on PATH."""
    tools = tmp_path / "bin"
    tools.mkdir(exist_ok=True)
    for program, target in (("kubectl", kubectls.kubectl("1.37")), ("sampan", Path(sys.executable).parent / "sampan")):
        link = tools / program
        if not link.exists():
            link.symlink_to(target)
    env = {
        **os.environ,
        "HOME": str(tmp_path),
        "SAMPAN_HOME": str(tmp_path / "sampan"),
        "SAMPAN_NODES": "0",
        "KUBECONFIG": str(tmp_path / "config"),
        "PATH": f"{tools}:{os.environ['PATH']}",
    }
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=110
    )


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page(page: str, tmp_path: Path) -> None:
    blocks = _BLOCK.findall((DOCS / page).read_text())
    assert blocks
    try:
        done = shell("\n".join(blocks), tmp_path)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    finally:
        # whatever went wrong, nothing of it goes on running
        for directory in (tmp_path / "sampan" / "clusters").glob("*"):
            shell(f"sampan down --name {directory.name}", tmp_path)


def test_the_examples_tests_pass(tmp_path: Path) -> None:
    """As a user would: a directory of their own, pytest, our plugin."""
    for file in (DOCS / "examples").glob("*.*"):
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    env = {**os.environ, "PATH": f"{kubectls.kubectl('1.37').parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr

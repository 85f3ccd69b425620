"""The tutorial and the readme, typed as they are written."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests import stand_ins
from tests.cluster.conftest import Typed
from tests.cluster.tutorial import PAGES, typed_week

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_first_week(tmp_path: Path) -> None:
    typed_week(tmp_path, runtime="sampan", requests=10_000)


def test_the_readme(tmp_path: Path) -> None:
    """What stands behind `$`, in order."""
    typed = Typed(tmp_path)
    text = (PAGES.parent.parent / "README.md").read_text()
    first, *rest = re.findall(r"^\$ (.*)$", text, re.MULTILINE)
    assert first.startswith("sampan up")
    python = stand_ins.python().docker_save(tmp_path / "python.tar", "python:3.12-slim")
    more = [f"sampan load image-archive {python}", *rest, "kubectl rollout status deployment/web --timeout=60s"]
    shell = ["bash", "-euo", "pipefail", "-c", "\n".join([first, *more])]
    try:
        done = subprocess.run(shell, cwd=PAGES / "web", env=typed.env, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    finally:
        typed.sampan("delete", "cluster")

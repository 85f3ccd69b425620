"""The tutorial, typed as it is written: every `sh` block of every page, in one shell, on a cluster of two nodes.

Images that it takes from a registry are loaded beforehand; nothing else is different.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import stand_ins
from tests.cluster.conftest import Typed, left

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.timeout(420)]
TUTORIAL = Path(__file__).parent.parent.parent / "docs" / "tutorial"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)


def test_the_first_week(tmp_path: Path) -> None:
    typed = Typed(tmp_path)
    work = tmp_path / "web"
    shutil.copytree(TUTORIAL / "web", work)
    python = stand_ins.python().docker_save(tmp_path / "python.tar", "python:3.12-slim")
    redis = stand_ins.redis().docker_save(tmp_path / "redis.tar", "redis:7")
    pages = [BLOCK.findall(page.read_text()) for page in sorted(TUTORIAL.glob("[0-9]-*.md"))]
    assert len(pages) == 6 and all(pages)
    loaded = f"sampan load image-archive {python}\nsampan load image-archive {redis}\n"
    first, *rest = pages[0]
    script = "\n".join([first, loaded, *rest, *(block for page in pages[1:] for block in page)])
    shell = ["bash", "-euo", "pipefail", "-c", script]
    env = {**typed.env, "REQUESTS": "3000"}
    try:
        # job control, as in the shell of a user
        shell.insert(1, "-m")
        done = subprocess.run(shell, cwd=work, env=env, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    finally:
        if "default" in typed.sampan("get", "clusters"):
            typed.sampan("delete", "cluster")
    assert "3000 requests, 0 failed" in done.stdout
    assert left(tmp_path, "default") == []


def test_the_readme(tmp_path: Path) -> None:
    """What stands behind `$`, in order."""
    typed = Typed(tmp_path)
    text = (TUTORIAL.parent.parent / "README.md").read_text()
    first, *rest = re.findall(r"^\$ (.*)$", text, re.MULTILINE)
    assert first.startswith("sampan up")
    python = stand_ins.python().docker_save(tmp_path / "python.tar", "python:3.12-slim")
    more = [f"sampan load image-archive {python}", *rest, "kubectl rollout status deployment/web --timeout=60s"]
    shell = ["bash", "-euo", "pipefail", "-c", "\n".join([first, *more])]
    try:
        done = subprocess.run(shell, cwd=TUTORIAL / "web", env=typed.env, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    finally:
        typed.sampan("delete", "cluster")

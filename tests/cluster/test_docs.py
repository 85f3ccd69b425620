"""docs/clusters.md does what it says: its `sh` blocks, in order, in one shell."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.cluster.conftest import Typed, left

pytestmark = [pytest.mark.clients, pytest.mark.slow]
PAGE = Path(__file__).parent.parent.parent / "docs" / "clusters.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.again
def test_the_commands_of_the_page(tmp_path: Path) -> None:
    typed, blocks = Typed(tmp_path), BLOCK.findall(PAGE.read_text())
    try:
        command = ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)]
        done = subprocess.run(command, cwd=tmp_path, env=typed.env, capture_output=True, text=True, timeout=170)
        assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-3000:]}"
    finally:
        for name in json.loads(typed.sampan("get", "clusters", "-o", "json")):
            typed.sampan("delete", "cluster", "--name", name)
        typed.sampan("registry", "down", "--delete")
    assert left(tmp_path, "shop") == left(tmp_path, "course") == []

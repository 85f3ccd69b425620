"""The tutorial as a script: every `sh` block of every page, in one shell, on a cluster of two nodes.

Images that it takes from a registry are loaded beforehand; nothing else is different.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sampan.network.proxy.table import TABLE
from tests import stand_ins
from tests.cluster.conftest import Typed, left

PAGES = Path(__file__).parent.parent.parent / "docs" / "tutorial"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
NODES = ("default-control-plane", "default-worker")
#: minutes where the machine is busy
SECONDS = 570


def _evidence(typed: Typed) -> str:
    """What a page needs that does not do what it says: who stands behind which Service, as the API and each node have it."""
    questions = [
        ["kubectl", "get", "pods,services,endpointslices", "--output", "wide"],
        ["kubectl", "get", "endpointslices", "--output", "yaml", "--show-managed-fields"],
        ["kubectl", "get", "events", "--field-selector", "type!=Normal"],
        *(["kubectl", "--namespace", "kube-system", "logs", "--tail", "20", f"kube-proxy-{node}"] for node in NODES),
    ]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_text()
            if "node-agent" in words and str(typed.home) in words:
                questions.append(["nsenter", f"--net={process / 'ns/net'}", "nft", "list", "table", "ip", TABLE])
    answers = (subprocess.run(each, env=typed.env, capture_output=True, text=True, timeout=60) for each in questions)
    return "\n".join(f"$ {' '.join(each.args)}\n{each.stdout}{each.stderr}" for each in answers)


def typed_week(home: Path, *, runtime: str, requests: int) -> None:
    """From nothing to nothing. `requests`: so many during the rolling update."""
    typed, work = Typed(home), home / "web"
    shutil.copytree(PAGES / "web", work)
    python = stand_ins.python().docker_save(home / "python.tar", "python:3.12-slim")
    redis = stand_ins.redis().docker_save(home / "redis.tar", "redis:7")
    pages = [BLOCK.findall(page.read_text()) for page in sorted(PAGES.glob("[0-9]-*.md"))]
    assert len(pages) == 6 and all(pages)
    first, *rest = (block for page in pages for block in page)
    assert first.startswith("sampan up")
    loaded = f"sampan load image-archive {python} & sampan load image-archive {redis} && wait $!\n"
    script = "\n".join([f"{first.strip()} --runtime {runtime}", loaded, *rest])
    # job control, as in the shell of a user
    shell = ["bash", "-m", "-euo", "pipefail", "-c", script]
    try:
        done = subprocess.run(
            shell, cwd=work, env={**typed.env, "REQUESTS": str(requests)}, capture_output=True, text=True, timeout=SECONDS
        )  # fmt: skip
        if done.returncode:
            pytest.fail(f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}\n{_evidence(typed)}", pytrace=False)
    finally:
        if "default" in typed.sampan("get", "clusters"):
            typed.sampan("delete", "cluster")
    assert re.search(
        rf"^{requests} requests, 0 failed, answers by version: {{'v1': \d+, 'v2': \d+}}$", done.stdout, re.M
    )
    assert f"{runtime}://" in done.stdout  # `get nodes -o wide` says it
    assert left(home, "default") == []

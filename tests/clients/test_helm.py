"""Real Helm, of three versions: a chart with a kind of its own and hooks is installed, upgraded, rolled back, removed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import kubectls
from tests.conftest import Up

pytestmark = [pytest.mark.clients, pytest.mark.slow]
CHART = Path(__file__).parent / "chart"


class Helm:
    def __init__(self, up: Up, version: str) -> None:
        self.up = up
        self.binary = kubectls.helm(version)
        self.namespace = "helm-" + version.replace(".", "-")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.binary), *arguments, "--namespace", self.namespace]
        env = {
            **self.up.env,
            "HELM_CACHE_HOME": str(self.up.home / "helm"),
            "HELM_CONFIG_HOME": str(self.up.home / "helm"),
        }
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=100)

    def __call__(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def get(self, *what: str) -> Any:
        command = [str(kubectls.kubectl("1.37")), "-n", self.namespace, "get", *what, "-o", "json"]
        return json.loads(subprocess.run(command, env=self.up.env, check=True, capture_output=True).stdout)


@pytest.fixture(params=kubectls.HELMS)
def helm(request: pytest.FixtureRequest, hollow_up: Up) -> Iterator[Helm]:
    yield Helm(hollow_up, request.param)


def test_the_life_of_a_release(helm: Helm) -> None:
    installed = helm("install", "boat", str(CHART), "--create-namespace", "--wait", "--timeout", "60s")
    assert "STATUS: deployed" in installed
    assert helm.get("boat", "boat")["spec"] == {"colour": "red"}
    assert helm.get("deployment", "boat")["status"]["readyReplicas"] == 1
    assert helm.get("configmap", "boat-before")["data"]["revision"] == "1"
    assert helm.get("jobs")["items"] == [], "the hook succeeded and was deleted"

    helm("upgrade", "boat", str(CHART), "--set", "replicas=2,colour=blue", "--wait", "--timeout", "60s")
    assert helm.get("deployment", "boat")["status"]["readyReplicas"] == 2
    assert helm.get("boat", "boat")["spec"] == {"colour": "blue"}

    refused = helm.run("upgrade", "boat", str(CHART), "--set", "colour=green")
    assert refused.returncode != 0 and 'Unsupported value: "green"' in refused.stderr

    helm("rollback", "boat", "1", "--wait", "--timeout", "60s")
    assert helm.get("boat", "boat")["spec"] == {"colour": "red"}
    assert helm.get("deployment", "boat")["spec"]["replicas"] == 1
    history = json.loads(helm("history", "boat", "-o", "json"))
    assert [item["status"] for item in history] == ["superseded", "superseded", "failed", "deployed"]

    assert "uninstalled" in helm("uninstall", "boat", "--wait")
    assert helm.get("deployments,services,boats")["items"] == []

"""A kopf operator with a kind of its own: status, finalizer, timer, and the Python client beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Up
from tests.unit.test_crd import crontab, definition, version

pytestmark = [pytest.mark.clients, pytest.mark.slow]
GROUP = "kopf.example.com"
OPERATOR = f"""
import kopf

@kopf.on.create("{GROUP}", "v1", "crontabs")
def created(spec, patch, **_):
    patch.status["phase"] = "Ready"
    return {{"seen": spec["replicas"]}}

@kopf.on.field("{GROUP}", "v1", "crontabs", field="spec.replicas")
def scaled(old, new, patch, **_):
    patch.status["replicas"] = new

@kopf.timer("{GROUP}", "v1", "crontabs", interval=0.5)
def ticks(status, patch, **_):
    patch.status["selector"] = "ticked"

@kopf.on.delete("{GROUP}", "v1", "crontabs")
def deleted(**_):
    return None
"""


def test_an_operator_runs_its_own_kind(up: Up, tmp_path: Path) -> None:
    from kubernetes import client, config, watch

    untyped: Any = config
    untyped.load_kube_config(str(up.kubeconfig))
    extensions, objects = client.ApiextensionsV1Api(), client.CustomObjectsApi()
    declared = version(subresources={"status": {}})
    schema = declared["schema"]["openAPIV3Schema"]["properties"]
    schema["status"]["x-kubernetes-preserve-unknown-fields"] = True
    crd: Any = definition(declared, group=GROUP)
    extensions.create_custom_resource_definition(crd)
    (tmp_path / "operator.py").write_text(OPERATOR)
    command = [
        sys.executable,
        "-m",
        "kopf",
        "run",
        "--standalone",
        "--namespace",
        "default",
        str(tmp_path / "operator.py"),
    ]
    log = (tmp_path / "log").open("w")
    operator = subprocess.Popen(command, env=up.env, stdout=log, stderr=log)
    try:
        body = crontab("op") | {"apiVersion": f"{GROUP}/v1"}
        objects.create_namespaced_custom_object(GROUP, "v1", "default", "crontabs", body)
        watcher: Any = watch
        stream = watcher.Watch().stream(
            objects.list_namespaced_custom_object, GROUP, "v1", "default", "crontabs", timeout_seconds=60
        )
        steps = []
        for event in stream:
            found = event["object"]
            status = found.get("status", {})
            if event["type"] == "DELETED":
                steps.append("gone")
                break
            if status.get("phase") == "Ready" and not steps:
                assert status["created"] == {"seen": 3}
                assert found["metadata"]["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]
                patch = {"spec": {"replicas": 5}}
                objects.patch_namespaced_custom_object(GROUP, "v1", "default", "crontabs", "op", patch)
                steps.append("ready")
            if steps == ["ready"] and status.get("replicas") == 5 and status.get("selector") == "ticked":
                steps.append("scaled")
                objects.delete_namespaced_custom_object(GROUP, "v1", "default", "crontabs", "op")
        assert steps == ["ready", "scaled", "gone"], (tmp_path / "log").read_text()[-3000:]
    finally:
        operator.terminate()
        operator.wait(30)
        log.close()
        extensions.delete_custom_resource_definition(f"crontabs.{GROUP}")

"""Custom resources as people use them: real kubectl, old and new."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator

import pytest
import yaml

from tests.conftest import Up
from tests.kubectls import kubectl
from tests.unit.test_crd import definition, version

pytestmark = [pytest.mark.clients, pytest.mark.slow]
Run = Callable[..., subprocess.CompletedProcess[str]]
SCALE = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
COLUMNS = [
    {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
    {"name": "Image", "type": "string", "jsonPath": ".spec.image", "priority": 1},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]


@pytest.fixture(params=["1.20", "1.37"])
def run(request: pytest.FixtureRequest, up: Up) -> Iterator[Run]:
    """kubectl of one version, with the definition established; both are gone afterwards."""
    binary = kubectl(request.param)
    group = f"k{request.param.replace('.', '')}.example.com"

    def call(*arguments: str, stdin: str = "", ok: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(binary), *arguments], env=up.env, input=stdin, capture_output=True, text=True, timeout=60
        )
        assert not ok or done.returncode == 0, done.stderr
        return done

    declared = version(subresources={"status": {}, "scale": SCALE}, additionalPrinterColumns=COLUMNS)
    crd = definition(declared, group=group, names={"shortNames": ["ct"], "categories": ["all"]})
    call("apply", "-f", "-", stdin=yaml.safe_dump(crd))
    call("wait", "--for=condition=established", "--timeout=20s", f"crd/crontabs.{group}")
    call.group = group  # type: ignore[attr-defined]  # the tests name it in manifests
    yield call
    call("delete", "crd", f"crontabs.{group}", "--timeout=20s")
    assert call("get", f"crontabs.{group}", ok=False).returncode == 1


def manifest(run: Run, name: str, **spec: object) -> str:
    group = run.group  # type: ignore[attr-defined]
    body = {"cronSpec": "x", **spec}
    return yaml.safe_dump({"apiVersion": f"{group}/v1", "kind": "CronTab", "metadata": {"name": name}, "spec": body})


def resource(run: Run) -> str:
    return f"crontabs.{run.group}"  # type: ignore[attr-defined]


def test_create_get_and_delete(run: Run) -> None:
    assert run("create", "-f", "-", stdin=manifest(run, "a")).stdout.startswith("crontab.")
    table = run("get", resource(run)).stdout.splitlines()
    assert table[0].split() == ["NAME", "SPEC", "REPLICAS", "AGE"] and table[1].split()[:3] == ["a", "x", "3"]
    assert "IMAGE" in run("get", resource(run), "-o", "wide").stdout
    assert json.loads(run("get", resource(run), "a", "-o", "json").stdout)["spec"] == {"cronSpec": "x", "replicas": 3}
    assert "Cron Spec:  x" in run("describe", resource(run), "a").stdout
    assert resource(run) in run("api-resources", "-o", "name").stdout
    assert "deleted" in run("delete", resource(run), "a").stdout


def test_refusals_reach_the_user(run: Run) -> None:
    refused = run("create", "-f", "-", "--validate=false", stdin=manifest(run, "a", replicas="many"), ok=False)
    assert (
        'spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"'
        in refused.stderr
    )
    unknown = run("create", "-f", "-", stdin=manifest(run, "a", nonsense=1), ok=False)
    assert unknown.returncode == 1 and "nonsense" in unknown.stderr


def test_apply_patch_scale_and_edit_labels(run: Run) -> None:
    run("apply", "-f", "-", stdin=manifest(run, "a", image="one", labels={"x": "1"}))
    assert "unchanged" in run("apply", "-f", "-", stdin=manifest(run, "a", image="one", labels={"x": "1"})).stdout
    assert "configured" in run("apply", "-f", "-", stdin=manifest(run, "a", image="two")).stdout
    spec = json.loads(run("get", resource(run), "a", "-o", "json").stdout)["spec"]
    assert spec == {"cronSpec": "x", "replicas": 3, "image": "two"}
    run("patch", resource(run), "a", "--type=merge", "-p", '{"spec":{"mode":"fast"}}')
    run("patch", resource(run), "a", "--type=json", "-p", '[{"op":"replace","path":"/spec/mode","value":"slow"}]')
    assert (
        "Unsupported value"
        in run("patch", resource(run), "a", "--type=merge", "-p", '{"spec":{"mode":"odd"}}', ok=False).stderr
    )
    assert "scaled" in run("scale", resource(run), "a", "--replicas=5").stdout
    run("label", resource(run), "a", "app=cron")
    run("annotate", resource(run), "a", "note=yes")
    found = run(
        "get", resource(run), "-l", "app=cron", "-o", "jsonpath={.items[0].spec.replicas} {.items[0].spec.mode}"
    )
    assert found.stdout == "5 slow"
    run("delete", resource(run), "--all")


def test_server_side_apply_and_conflict(run: Run) -> None:
    run("apply", "--server-side", "--field-manager=one", "-f", "-", stdin=manifest(run, "a", replicas=4))
    clash = run(
        "apply", "--server-side", "--field-manager=two", "-f", "-", stdin=manifest(run, "a", replicas=5), ok=False
    )
    assert "conflict" in clash.stderr and ".spec.replicas" in clash.stderr
    forced = ["apply", "--server-side", "--force-conflicts", "--field-manager=two", "-f", "-"]
    run(*forced, stdin=manifest(run, "a", replicas=5))
    run("delete", "-f", "-", stdin=manifest(run, "a"))


def test_explain(run: Run) -> None:
    # kubectl up to 1.26 takes the first dot for the end of the resource's name
    fields = ["crontabs.spec", f"--api-version={run.group}/v1"]  # type: ignore[attr-defined]
    shown = run("explain", *fields).stdout
    assert "cronSpec" in shown and "<string>" in shown and "nodes" in shown
    assert "replicas" in run("explain", *fields, "--recursive").stdout

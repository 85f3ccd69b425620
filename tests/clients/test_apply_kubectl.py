"""Applying with real kubectls: on the client's side, on the server's, and from one to the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import kubectls
from tests.clients.test_kubectl import Kubectl
from tests.conftest import Up

pytestmark = [pytest.mark.clients, pytest.mark.slow]

MAP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME, labels: {app: LABEL}}
data: DATA
"""


def config_map(name: str, data: str, label: str = "x") -> str:
    return MAP.replace("NAME", name).replace("LABEL", label).replace("DATA", data)


@pytest.fixture(scope="module", params=kubectls.VERSIONS)
def kubectl(request: pytest.FixtureRequest, up: Up) -> Kubectl:
    made = Kubectl(up, request.param)
    made.namespace = "apply-" + request.param.replace(".", "-")
    made("create", "namespace", made.namespace)
    return made


def owners(kubectl: Kubectl, name: str) -> list[tuple[str, str]]:
    shown = () if kubectl.minor == 20 else ("--show-managed-fields",)
    found = json.loads(kubectl("get", "cm", name, "-o", "json", *shown))
    return [(entry["manager"], entry["operation"]) for entry in found["metadata"].get("managedFields", [])]


def test_from_the_client_to_the_server_and_back(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=config_map("m", "{a: '1', b: '1'}"))
    assert owners(kubectl, "m") == [("kubectl-client-side-apply", "Update")]
    kubectl("apply", "--server-side", "-f", "-", stdin=config_map("m", "{a: '2', c: '1'}"))
    found = json.loads(kubectl("get", "cm", "m", "-o", "json"))
    if kubectl.minor >= 26:
        # kubectl makes its own earlier fields applied ones first, so that what is gone goes
        assert found["data"] == {"a": "2", "c": "1"}
        # whichever was made in an earlier second stands first
        assert sorted(owners(kubectl, "m")) == [("kubectl", "Apply"), ("kubectl-last-applied", "Apply")]
    else:
        assert found["data"] == {"a": "2", "b": "1", "c": "1"}
    remembered = json.loads(kubectl("apply", "view-last-applied", "cm/m", "-o", "json"))
    assert remembered["data"] == {"a": "2", "c": "1"}
    kubectl("apply", "-f", "-", stdin=config_map("m", "{a: '3'}"))
    found = json.loads(kubectl("get", "cm", "m", "-o", "json"))
    assert found["data"] == ({"a": "3"} if kubectl.minor >= 26 else {"a": "3", "b": "1"})
    again = kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=config_map("m", "{a: '3'}"))
    assert again == "configmap/m serverside-applied\n"


def test_conflicts_are_told(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", stdin=config_map("c", "{a: '1', b: '1'}"))
    code, _, said = kubectl.run(
        "apply", "--server-side", "--field-manager=two", "-f", "-", stdin=config_map("c", "{a: '2'}")
    )
    assert code == 1
    assert said.startswith('error: Apply failed with 1 conflict: conflict with "one": .data.a\n')
    assert "--force-conflicts" in said
    code, _, said = kubectl.run(
        "apply", "--server-side", "--field-manager=two", "-f", "-", stdin=config_map("c", "{a: '2', b: '2'}")
    )
    assert said.startswith('error: Apply failed with 2 conflicts: conflicts with "one":\n- .data.a\n- .data.b\n')
    kubectl(
        "apply",
        "--server-side",
        "--field-manager=two",
        "--force-conflicts",
        "-f",
        "-",
        stdin=config_map("c", "{a: '2'}"),
    )
    assert owners(kubectl, "c") == [("one", "Apply"), ("two", "Apply")]


def test_what_does_not_fit_is_told(kubectl: Kubectl) -> None:
    extra = config_map("bad", "{a: '1'}") + "nope: 1\n"
    code, _, said = kubectl.run("apply", "--server-side", "--validate=false", "-f", "-", stdin=extra)
    where = f"({kubectl.namespace}/bad; /v1, Kind=ConfigMap)"
    assert code == 1
    assert f"failed to create typed patch object {where}: .nope: field not declared in schema" in said


def test_diff(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "-f", "-", stdin=config_map("d", "{a: '1'}"))
    same, changed = config_map("d", "{a: '1'}"), config_map("d", "{a: '2'}")
    assert kubectl.run("diff", "--server-side", "-f", "-", stdin=same)[0] == 0
    code, shown, _ = kubectl.run("diff", "--server-side", "-f", "-", stdin=changed)
    assert code == 1 and '-  a: "1"' in shown and '+  a: "2"' in shown
    code, shown, _ = kubectl.run("diff", "--server-side", "-f", "-", stdin=config_map("new", "{a: '1'}"))
    assert code == 1 and "+  name: new" in shown
    assert json.loads(kubectl("get", "cm", "d", "-o", "json"))["data"] == {"a": "1"}


def test_prune(kubectl: Kubectl) -> None:
    both = config_map("p1", "{}", "prune") + "---" + config_map("p2", "{}", "prune")
    # 1.20 would look for kinds that are no more
    only = ("--prune-whitelist=core/v1/ConfigMap",) if kubectl.minor == 20 else ()
    prune = ("--prune", *only, "-l", "app=prune", "-f", "-")
    kubectl("apply", *prune, stdin=both)
    assert "configmap/p2 pruned" in kubectl("apply", *prune, stdin=config_map("p1", "{}", "prune"))
    assert kubectl.run("get", "cm", "p2")[0] == 1
    if kubectl.minor >= 32:
        env = {"KUBECTL_APPLYSET": "true"}
        prune = ("--server-side", "--prune", "--applyset=mine", "-f", "-")
        side = config_map("p3", "{}") + "---" + config_map("p4", "{}")
        kubectl("apply", *prune, stdin=side, env=env)
        assert "configmap/p4 pruned" in kubectl("apply", *prune, stdin=config_map("p3", "{}"), env=env)


def test_last_applied_is_set_and_edited(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl("create", "-f", "-", stdin=config_map("l", "{a: '1'}"))
    assert "data" not in kubectl.run("apply", "view-last-applied", "cm/l")[1]
    manifest = tmp_path / "l.yaml"
    manifest.write_text(config_map("l", "{a: '1'}"))
    kubectl("apply", "set-last-applied", "--create-annotation", "-f", str(manifest))
    assert "a: " in kubectl("apply", "view-last-applied", "cm/l")
    kubectl("apply", "edit-last-applied", "cm/l", env={"KUBE_EDITOR": "sed -i 's/app: x/app: edited/'"})
    assert "app: edited" in kubectl("apply", "view-last-applied", "cm/l")
    # what the annotation says decides what goes
    kubectl("apply", "-f", "-", stdin=config_map("l", "{b: '1'}"))
    assert json.loads(kubectl("get", "cm", "l", "-o", "json"))["data"] == {"b": "1"}


def test_the_kinds_of_patches(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", stdin=config_map("k", "{a: '1'}"))
    kubectl("patch", "cm", "k", "-p", '{"data":{"b":"2","a":null}}')
    kubectl("patch", "cm", "k", "--type", "merge", "-p", '{"data":{"c":"3"}}')
    kubectl("patch", "cm", "k", "--type", "json", "-p", '[{"op":"move","from":"/data/c","path":"/data/d"}]')
    assert json.loads(kubectl("get", "cm", "k", "-o", "json"))["data"] == {"b": "2", "d": "3"}
    code, _, said = kubectl.run("patch", "cm", "k", "--type", "json", "-p", '[{"op":"remove","path":"/data/x"}]')
    assert code == 1 and "Unable to remove nonexistent key: x" in said
    code, _, said = kubectl.run("patch", "cm", "k", "-p", '{"data":"x"}')
    assert code == 1 and 'Invalid value: "map[data:x]": cannot restore map from string' in said

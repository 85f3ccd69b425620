"""Real kubectl, from 1.20 to 1.37, through what people do with it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests import kubectls
from tests.conftest import Up

pytestmark = [pytest.mark.clients, pytest.mark.slow]

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: REPLICAS
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: c
        image: nginx:1
        ports: [{containerPort: 80}]
"""


class Kubectl:
    """One version against one cluster, in a namespace of its own."""

    def __init__(self, up: Up, version: str) -> None:
        self.up = up
        self.version = version
        self.minor = int(version.split(".")[1])
        self.binary = kubectls.kubectl(version)
        self.namespace = "kubectl-" + version.replace(".", "-")

    def run(self, *arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> tuple[int, str, str]:
        command = [str(self.binary), "-n", self.namespace, *arguments]
        done = subprocess.run(
            command, input=stdin, env={**self.up.env, **(env or {})}, capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stdout, done.stderr

    def __call__(self, *arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> str:
        code, out, problems = self.run(*arguments, stdin=stdin, env=env)
        assert code == 0, f"kubectl {self.version} {' '.join(arguments)}: {problems}"
        return out


@pytest.fixture(scope="module", params=kubectls.VERSIONS)
def kubectl(request: pytest.FixtureRequest, up: Up) -> Kubectl:
    made = Kubectl(up, request.param)
    made("create", "namespace", made.namespace)
    return made


def test_version(kubectl: Kubectl) -> None:
    assert json.loads(kubectl("version", "-o", "json"))["serverVersion"]["minor"] == "37"


def test_apply_scale_label_and_delete(kubectl: Kubectl) -> None:
    manifest = DEPLOYMENT.replace("REPLICAS", "2")
    assert kubectl("apply", "-f", "-", stdin=manifest) == "deployment.apps/web created\n"
    assert kubectl("apply", "-f", "-", stdin=manifest) == "deployment.apps/web unchanged\n"
    assert (
        kubectl("apply", "-f", "-", stdin=manifest.replace("nginx:1", "nginx:2")) == "deployment.apps/web configured\n"
    )
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}") == "nginx:2"
    kubectl("scale", "deployment", "web", "--replicas=5")
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "5"
    kubectl("label", "deployment", "web", "tier=front")
    kubectl("annotate", "deployment", "web", "note=x")
    assert "tier=front" in kubectl("get", "deploy", "--show-labels")
    kubectl("set", "image", "deployment/web", "c=nginx:3")
    wide = kubectl("get", "deploy", "web", "-o", "wide").splitlines()
    assert wide[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"]
    row = wide[1].split()
    # how far the controllers have come meanwhile nobody knows; without nodes nothing is available
    assert row[:2] == ["web", "0/5"] and row[3] == "0" and row[-2:] == ["nginx:3", "app=web"]
    assert "deleted" in kubectl("delete", "deployment", "web")


def test_outputs(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "out", "--from-literal=a=b")
    assert kubectl("get", "cm", "out", "-o", "name") == "configmap/out\n"
    assert json.loads(kubectl("get", "cm", "out", "-o", "json"))["data"] == {"a": "b"}
    assert "a: b" in kubectl("get", "cm", "out", "-o", "yaml")
    assert kubectl("get", "cm", "out", "-o", "go-template={{.data.a}}") == "b"
    assert kubectl("get", "cm", "out", "-o", "custom-columns=WHAT:.data.a") == "WHAT\nb\n"
    assert kubectl("get", "cm", "out", "--no-headers").split()[:2] == ["out", "1"]
    assert kubectl("get", "cm", "out", "-o", "wide").splitlines()[0].split() == ["NAME", "DATA", "AGE"]
    assert kubectl("get", "cm", "out").splitlines()[0].split() == ["NAME", "DATA", "AGE"]
    assert "a:" in kubectl("describe", "cm", "out")
    assert "kube-root-ca.crt" in kubectl("get", "cm", "--sort-by=.metadata.name")


@pytest.mark.parametrize(
    ("patch_type", "patch", "value"),
    [
        ("merge", '{"data":{"a":"1"}}', "1"),
        ("strategic", '{"data":{"a":"2"}}', "2"),
        ("json", '[{"op":"replace","path":"/data/a","value":"3"}]', "3"),
    ],
)
def test_patches(kubectl: Kubectl, patch_type: str, patch: str, value: str) -> None:
    name = f"patch-{patch_type}"
    kubectl("create", "configmap", name, "--from-literal=a=0")
    kubectl("patch", "configmap", name, "--type", patch_type, "-p", patch)
    assert kubectl("get", "cm", name, "-o", "jsonpath={.data.a}") == value


def test_server_side_apply_and_its_conflict(kubectl: Kubectl) -> None:
    one = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ssa}\ndata: {a: '1'}\n"
    assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", stdin=one)
    other = one.replace("'1'", "'2'")
    code, _, said = kubectl.run("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=other)
    assert code == 1
    assert 'Apply failed with 1 conflict: conflict with "kubectl": .data.a' in said
    kubectl("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", stdin=other)
    assert kubectl("get", "cm", "ssa", "-o", "jsonpath={.data.a}") == "2"


def test_diff_and_edit(kubectl: Kubectl, tmp_path: Path) -> None:
    manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: edited}\ndata: {a: before}\n"
    kubectl("apply", "-f", "-", stdin=manifest)
    code, out, _ = kubectl.run("diff", "-f", "-", stdin=manifest.replace("before", "after"))
    assert code == 1 and "-  a: before" in out and "+  a: after" in out
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/before/after/" "$1"\n')
    editor.chmod(0o755)
    assert "edited" in kubectl("edit", "configmap", "edited", env={"KUBE_EDITOR": str(editor)})
    assert kubectl("get", "cm", "edited", "-o", "jsonpath={.data.a}") == "after"


GENERATORS: list[tuple[str, ...]] = [
    ("configmap", "g", "--from-literal=a=b"),
    ("secret", "generic", "g", "--from-literal=a=b"),
    ("deployment", "g", "--image=x"),
    ("job", "g", "--image=x"),
    ("cronjob", "g", "--image=x", "--schedule=* * * * *"),
    ("service", "clusterip", "g", "--tcp=80:80"),
    ("service", "nodeport", "gn", "--tcp=80:80"),
    ("serviceaccount", "g"),
    ("role", "g", "--verb=get", "--resource=pods"),
    ("rolebinding", "g", "--role=g", "--user=u"),
    ("quota", "g", "--hard=pods=100"),
    ("poddisruptionbudget", "g", "--selector=a=b", "--min-available=1"),
    ("clusterrole", "g-VERSION", "--verb=get", "--resource=nodes"),
    ("clusterrolebinding", "g-VERSION", "--clusterrole=view", "--user=u"),
    ("ingress", "g", "--rule=example.com/a=g:80"),
    ("namespace", "g-VERSION"),
    ("priorityclass", "g-VERSION", "--value=5"),
    ("secret", "docker-registry", "gd", "--docker-server=r", "--docker-username=u", "--docker-password=p"),
    ("secret", "tls", "gt", "--cert=CERT", "--key=KEY"),
    ("service", "externalname", "ge", "--external-name=example.com"),
    ("service", "loadbalancer", "gl", "--tcp=80:80"),
]


@pytest.mark.parametrize("arguments", GENERATORS, ids=lambda arguments: "-".join(arguments[:2]))
def test_generators(kubectl: Kubectl, arguments: tuple[str, ...]) -> None:
    pki = kubectl.up.home / "clusters" / "default" / "pki"
    words = {"VERSION": str(kubectl.minor), "CERT": str(pki / "admin.crt"), "KEY": str(pki / "admin.key")}
    for word, value in words.items():
        arguments = tuple(item.replace(word, value) for item in arguments)
    if arguments[0] == "cronjob" and kubectl.minor < 21:
        code, _, said = kubectl.run("create", *arguments)
        assert code == 1 and "could not find the requested resource" in said, "1.20 knows only batch/v1beta1"
        return
    if arguments[0] == "poddisruptionbudget" and kubectl.minor < 21:
        code, _, said = kubectl.run("create", *arguments)
        assert (code == 1 and "policy/v1beta1" in said) or "could not find" in said
        return
    code, out, said = kubectl.run("create", *arguments)
    assert code == 0 and "created" in out, said
    if arguments[0] in ("clusterrole", "clusterrolebinding", "namespace", "priorityclass"):
        kubectl("delete", *arguments[:2], "--wait=false")


def test_explain_and_api_resources(kubectl: Kubectl) -> None:
    assert "Number of desired pods" in kubectl("explain", "deployment.spec.replicas")
    listed = kubectl("api-resources", "--namespaced=true")
    assert "deployments" in listed and "deploy" in listed
    assert "apps/v1" in kubectl("api-versions")


def test_deletions(kubectl: Kubectl) -> None:
    for cascade in ("background", "foreground", "orphan"):
        kubectl("create", "secret", "generic", f"d-{cascade}", "--from-literal=a=b")
        kubectl("delete", "secret", f"d-{cascade}", f"--cascade={cascade}", "--wait=false")
    kubectl("run", "alone", "--image=x")
    kubectl("delete", "pod", "alone", "--now")
    code, _, said = kubectl.run("get", "pod", "alone")
    assert code == 1 and said == 'Error from server (NotFound): pods "alone" not found\n'


def test_wait_sees_a_condition_come(kubectl: Kubectl) -> None:
    kubectl("run", "comes", "--image=x")
    waiting = subprocess.Popen(
        [str(kubectl.binary), "-n", kubectl.namespace, "wait", "--for=condition=Ready", "pod/comes", "--timeout=30s"],
        env=kubectl.up.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    status = kubectls.kubectl("1.37")
    command = [str(status), "-n", kubectl.namespace, "patch", "pod", "comes", "--subresource=status", "-p"]
    subprocess.run([*command, json.dumps(ready)], env=kubectl.up.env, check=True, capture_output=True)
    out, _ = waiting.communicate(timeout=30)
    assert out == "pod/comes condition met\n"
    kubectl("delete", "pod", "comes", "--now")


def test_debug_adds_a_container(kubectl: Kubectl) -> None:
    kubectl("run", "patient", "--image=x")
    code, _, said = kubectl.run("debug", "patient", "--image=tools", "-c", "doctor", "--attach=false")
    if kubectl.minor < 24:
        assert code == 1 and said, "1.20 uses a kind that is gone"
    else:
        assert code == 0, said
        shown = kubectl("get", "pod", "patient", "-o", "jsonpath={.spec.ephemeralContainers[*].name}")
        assert shown == "doctor"
    kubectl("delete", "pod", "patient", "--now")


def test_auth(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "create", "pods") == "yes\n"
    if kubectl.minor >= 28:
        assert "kubernetes-admin" in kubectl("auth", "whoami")


def test_errors_are_upstreams(kubectl: Kubectl) -> None:
    bad = DEPLOYMENT.replace("REPLICAS", "-1")
    code, _, said = kubectl.run("apply", "--validate=false", "-f", "-", stdin=bad)
    assert code == 1
    assert "spec.replicas: Invalid value: -1: must be greater than or equal to 0" in said


def test_a_day_with_a_deployment(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("REPLICAS", "1"))
    assert "restarted" in kubectl("rollout", "restart", "deployment/web")
    kubectl("rollout", "pause", "deployment/web")
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.paused}") == "true"
    assert "exposed" in kubectl("expose", "deployment", "web", "--port=80")
    assert "Endpoints:" in kubectl("describe", "service", "web")
    assert "autoscaled" in kubectl("autoscale", "deployment", "web", "--min=1", "--max=3")
    shown = kubectl("get", "hpa", "web").splitlines()[1]
    assert "Deployment/web" in shown and "<unknown>/80%" in shown
    assert "deployment.apps/web" in kubectl("get", "all")
    if kubectl.minor >= 24:
        assert kubectl("get", "deploy", "web", "--subresource=scale").splitlines()[0].split()[1] == "DESIRED"
    kubectl("delete", "deployment,service,hpa", "web")


def test_pods_nodes_and_what_needs_them(kubectl: Kubectl) -> None:
    kubectl("run", "waits", "--image=x")
    if kubectl.minor >= 24:
        kubectl("wait", "--for=jsonpath={.status.phase}=Pending", "pod/waits", "--timeout=10s")
    # upstream has nobody to ask, and answers with nothing
    assert kubectl.run("logs", "waits")[:2] == (0, "")
    node = f"node-{kubectl.minor}"
    kubectl("apply", "-f", "-", stdin=f"apiVersion: v1\nkind: Node\nmetadata: {{name: {node}}}\n")
    kubectl("taint", "nodes", node, "a=b:NoSchedule")
    kubectl("drain", node)
    assert "SchedulingDisabled" in kubectl("get", "node", node)
    described = kubectl("describe", "node", node)
    assert "a=b:NoSchedule" in described and "Unschedulable:      true" in described
    kubectl("delete", "node", node)
    kubectl("delete", "pod", "waits")
    code, _, said = kubectl.run("wait", "--for=delete", "pod/waits", "--timeout=10s")
    assert code == 0 or (kubectl.minor == 20 and "no matching resources found" in said)


def test_events_are_selected_by_what_they_are_about(kubectl: Kubectl) -> None:
    event = (
        "apiVersion: v1\nkind: Event\nmetadata: {name: told}\ntype: Warning\nreason: Because\nmessage: it was so\n"
        f"involvedObject: {{apiVersion: v1, kind: Pod, name: about, namespace: {kubectl.namespace}}}\n"
    )
    kubectl("create", "-f", "-", stdin=event)
    assert "Because" in kubectl("get", "events", "--field-selector=involvedObject.name=about,type!=Normal")
    assert "Because" not in kubectl("get", "events", "--field-selector=involvedObject.name=other")
    if kubectl.minor >= 26:
        assert "it was so" in kubectl("events", "--for=pod/about")

"""Rights as people meet them: real kubectl, as an administrator and as users with certificates of their own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sampan.cluster import certificates
from tests import kubectls
from tests.conftest import Up

pytestmark = [pytest.mark.clients, pytest.mark.slow]
VERSIONS = ("1.20", "1.32", "1.37")
#: code, standard output, standard error
Said = tuple[int, str, str]

RBAC = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: NAMESPACE}
rules:
- {apiGroups: [""], resources: [pods], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: readers, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: ada}
"""


class Kubectl:
    def __init__(self, up: Up, version: str, scratch: Path) -> None:
        self.up, self.scratch = up, scratch
        self.minor = int(version.split(".")[1])
        self.binary = kubectls.kubectl(version)
        self.namespace = "rights-" + version.replace(".", "-")

    def run(self, *arguments: str, stdin: str = "", config: Path | None = None) -> Said:
        command = [str(self.binary), "-n", self.namespace, *arguments]
        env = {**self.up.env, "KUBECONFIG": str(config or self.up.kubeconfig)}
        done = subprocess.run(command, input=stdin, env=env, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        code, out, problems = self.run(*arguments, stdin=stdin)
        assert code == 0, f"kubectl {' '.join(arguments)}: {problems}"
        return out

    def user(self, name: str, *groups: str) -> Callable[..., Said]:
        """kubectl as a user with a certificate of the cluster's CA."""
        pki = certificates.Pki(self.up.home / "clusters" / "default" / "pki")
        certificate, key = certificates.issue(pki, name, groups)
        config = json.loads(self("config", "view", "--raw", "-o", "json"))
        crt, secret = self.scratch / f"{name}.crt", self.scratch / f"{name}.key"
        crt.write_bytes(certificate)
        secret.write_bytes(key)
        config["users"][0]["user"] = {"client-certificate": str(crt), "client-key": str(secret)}
        target = self.scratch / f"{name}.json"
        target.write_text(json.dumps(config))
        return lambda *arguments, stdin="": self.run(*arguments, stdin=stdin, config=target)


@pytest.fixture(scope="module", params=VERSIONS)
def kubectl(request: pytest.FixtureRequest, up: Up, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    made = Kubectl(up, request.param, tmp_path_factory.mktemp("rights"))
    made("create", "namespace", made.namespace)
    return made


def test_a_user_sees_what_the_roles_say(kubectl: Kubectl) -> None:
    ada = kubectl.user("ada", "crew")
    code, _, said = ada("get", "pods")
    assert (code, said) == (
        1,
        f'Error from server (Forbidden): pods is forbidden: User "ada" cannot list resource "pods" in API group "" in '
        f'the namespace "{kubectl.namespace}"\n',
    )
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    kubectl("create", "rolebinding", "readers", "--role=reader", "--user=ada")
    kubectl("run", "one", "--image=x")
    code, out, said = ada("get", "pods", "-o", "name")
    assert (code, out) == (0, "pod/one\n"), said
    for refused in (("delete", "pod", "one"), ("get", "pods", "-A"), ("get", "secrets"), ("create", "namespace", "n")):
        code, _, said = ada(*refused)
        assert code == 1
        assert "Error from server (Forbidden)" in said
    kubectl("delete", "pod", "one", "--now")
    kubectl("delete", "role,rolebinding", "--all")


def test_an_account_with_a_token(kubectl: Kubectl) -> None:
    if kubectl.minor < 24:
        pytest.skip("`create token` came with 1.24")
    kubectl("create", "serviceaccount", "bot")
    kubectl("create", "rolebinding", "bot", "--clusterrole=view", f"--serviceaccount={kubectl.namespace}:bot")
    config = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
    config["users"][0]["user"] = {"token": kubectl("create", "token", "bot").strip()}
    target = kubectl.scratch / "bot.json"
    target.write_text(json.dumps(config))
    assert kubectl.run("get", "configmaps", "-o", "name", config=target)[1] == "configmap/kube-root-ca.crt\n"
    code, _, said = kubectl.run("get", "secrets", config=target)
    assert code == 1
    assert f'User "system:serviceaccount:{kubectl.namespace}:bot" cannot list resource "secrets"' in said
    kubectl("delete", "rolebinding,serviceaccount", "bot")


def test_can_i(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "delete", "nodes").strip() == "yes"
    bob = kubectl.user("bob")
    code, out, _ = bob("auth", "can-i", "get", "pods")
    assert (code, out.strip()) == (1, "no")
    kubectl("create", "rolebinding", "views", "--clusterrole=view", "--user=bob")
    code, out, _ = bob("auth", "can-i", "get", "pods/log")
    assert (code, out.strip()) == (0, "yes")
    assert bob("auth", "can-i", "get", "secrets")[0] == 1
    assert bob("auth", "can-i", "get", "/version")[0] == 0
    assert bob("auth", "can-i", "get", "/metrics")[0] == 1
    assert bob("auth", "can-i", "get", "pods", "-q", "--all-namespaces")[0] == 1
    kubectl("delete", "rolebinding", "views")


def test_can_i_list(kubectl: Kubectl) -> None:
    lines = kubectl("auth", "can-i", "--list").splitlines()
    assert lines[0].split() == ["Resources", "Non-Resource", "URLs", "Resource", "Names", "Verbs"]
    assert any(line.split()[:1] == ["*.*"] for line in lines)
    carol = kubectl.user("carol")
    kubectl("create", "role", "one", "--verb=get", "--resource=configmaps", "--resource-name=the-one")
    kubectl("create", "rolebinding", "one", "--role=one", "--user=carol")
    code, out, said = carol("auth", "can-i", "--list")
    assert code == 0, said
    rows = [line.split() for line in out.splitlines()]
    assert ["configmaps", "[]", "[the-one]", "[get]"] in rows
    assert ["selfsubjectaccessreviews.authorization.k8s.io", "[]", "[]", "[create]"] in rows
    assert ["[/version]", "[]", "[get]"] in rows
    kubectl("delete", "role,rolebinding", "--all")


def test_whoami(kubectl: Kubectl) -> None:
    if kubectl.minor < 28:
        pytest.skip("came with 1.28")
    code, out, said = kubectl.user("dora", "crew", "cooks")("auth", "whoami", "-o", "json")
    assert code == 0, said
    info = json.loads(out)["status"]["userInfo"]
    assert (info["username"], info["groups"]) == ("dora", ["crew", "cooks", "system:authenticated"])


def test_reconcile(kubectl: Kubectl) -> None:
    manifest = RBAC.replace("NAMESPACE", kubectl.namespace)

    def reconcile(*more: str) -> str:
        code, out, told = kubectl.run("auth", "reconcile", "-f", "-", *more, stdin=manifest)
        assert code == 0, told
        assert out.splitlines() == [
            "role.rbac.authorization.k8s.io/reader reconciled",
            "rolebinding.rbac.authorization.k8s.io/readers reconciled",
        ]
        return told

    told = reconcile()
    assert told.count("reconciliation required create") == 2
    assert "{Verbs:[get list] APIGroups:[] Resources:[pods] ResourceNames:[] NonResourceURLs:[]}" in told
    assert "{Kind:User APIGroup:rbac.authorization.k8s.io Name:ada Namespace:}" in told
    assert reconcile() == ""
    extra = (
        '[{"op": "add", "path": "/rules/-", "value": {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}}]'
    )
    kubectl("patch", "role", "reader", "--type=json", "-p", extra)
    assert reconcile() == ""
    assert len(json.loads(kubectl("get", "role", "reader", "-o", "json"))["rules"]) == 2
    told = reconcile("--remove-extra-permissions", "--remove-extra-subjects")
    assert "extra rules removed" in told
    assert len(json.loads(kubectl("get", "role", "reader", "-o", "json"))["rules"]) == 1
    kubectl("delete", "role,rolebinding", "--all")


def test_nobody_gives_away_what_they_do_not_hold(kubectl: Kubectl) -> None:
    kubectl("create", "rolebinding", "admins", "--clusterrole=admin", "--user=eve")
    eve = kubectl.user("eve", "crew")
    assert eve("create", "role", "fine", "--verb=get", "--resource=pods")[0] == 0
    code, _, said = eve("create", "role", "strong", "--verb=get,list", "--resource=nodes")
    assert (code, said) == (
        1,
        'Error from server (Forbidden): roles.rbac.authorization.k8s.io "strong" is forbidden: user "eve" '
        '(groups=["crew" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n'
        '{APIGroups:[""], Resources:["nodes"], Verbs:["get" "list"]}\n',
    )
    code, _, said = eve("create", "rolebinding", "b", "--clusterrole=cluster-admin", "--user=eve")
    assert code == 1
    assert 'APIGroups:["*"], Resources:["*"], Verbs:["*"]' in said
    kubectl("delete", "role,rolebinding", "--all")


def test_roles_are_shown_as_upstream_shows_them(kubectl: Kubectl) -> None:
    assert kubectl("get", "clusterrolebinding", "cluster-admin").splitlines()[1].split()[:2] == [
        "cluster-admin",
        "ClusterRole/cluster-admin",
    ]
    shown = kubectl("describe", "clusterrole", "system:basic-user")
    assert "selfsubjectreviews.authentication.k8s.io" in shown
    assert "system:controller:job-controller" in kubectl("get", "clusterroles", "-o", "name")

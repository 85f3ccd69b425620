"""The cluster's DNS as pods have it: Deployment coredns from the built-in image, behind Service kube-dns; broken and healed
through its ConfigMap, as upstream's is."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.conftest import Typed

pytestmark = [pytest.mark.clients, pytest.mark.slow]
PODS = """
apiVersion: v1
kind: Pod
metadata: {name: asker}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: "busybox:1.36", command: [sleep, "1000"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: named, labels: {app: db}}
spec:
  hostname: boss
  subdomain: db
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: "busybox:1.36", command: [sleep, "1000"]}]
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: api}
spec: {type: ExternalName, externalName: kubernetes.default.svc.cluster.local}
"""
NAMESPACE = "names"
SYSTEM = ("-n", "kube-system")


class Asker:
    """Asks from a pod."""

    def __init__(self, typed: Typed) -> None:
        self.typed = typed

    def __call__(self, name: str) -> list[str]:
        """Addresses, or the pointer of one; nothing where there is none."""
        shell = f"nslookup {name} 2>&1; true"
        out = self.typed.kubectl("-n", NAMESPACE, "exec", "asker", "--", "sh", "-c", shell)
        _, _, answers = out.partition("\n\n")
        lines = [line.split() for line in answers.splitlines()]
        return [words[-1] for words in lines if words[:1] == ["Address:"] or words[1:3] == ["name", "="]]

    def until(self, name: str, right: Callable[[list[str]], bool], seconds: float = 30) -> list[str]:
        end = time.monotonic() + seconds
        while not right(found := self(name)) and time.monotonic() < end:
            continue
        return found


@pytest.fixture(scope="module")
def ask(two: Typed) -> Iterator[Asker]:
    two.kubectl(*SYSTEM, "rollout", "status", "deployment/coredns", "--timeout=60s")
    two.kubectl("create", "namespace", NAMESPACE)
    two.kubectl("-n", NAMESPACE, "apply", "-f", "-", input=PODS)
    two.kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s")
    yield Asker(two)
    two.kubectl("delete", "namespace", NAMESPACE)


def address_of(two: Typed, what: str, path: str, *where: str) -> str:
    return two.kubectl(*where, "get", *what.split(), "-o", f"jsonpath={{{path}}}")


def test_it_looks_as_kubeadms_does(two: Typed) -> None:
    two.kubectl(*SYSTEM, "rollout", "status", "deployment/coredns", "--timeout=60s")
    (pod,) = json.loads(two.kubectl(*SYSTEM, "get", "pods", "-l", "k8s-app=kube-dns", "-o", "json"))["items"]
    assert pod["status"]["qosClass"] == "Burstable" and pod["spec"]["priorityClassName"] == "system-cluster-critical"
    logged = two.kubectl(*SYSTEM, "logs", pod["metadata"]["name"]).splitlines()
    assert ".:53" in logged and any("plugin/reload: Running configuration SHA512 = " in line for line in logged)
    # what it came from is in no registry, and stays
    images = [name for node in json.loads(two.kubectl("get", "nodes", "-o", "json"))["items"]
              for image in node["status"]["images"] for name in image["names"]]  # fmt: skip
    assert pod["spec"]["containers"][0]["image"] in images


def test_pods_find_names(two: Typed, ask: Asker) -> None:
    server = address_of(two, "service kube-dns", ".spec.clusterIP", *SYSTEM)
    resolver = two.kubectl("-n", NAMESPACE, "exec", "asker", "--", "cat", "/etc/resolv.conf").splitlines()
    assert resolver == [
        f"search {NAMESPACE}.svc.cluster.local svc.cluster.local cluster.local",
        f"nameserver {server}",
        "options ndots:5",
    ]
    kubernetes = address_of(two, "service kubernetes", ".spec.clusterIP")
    named = address_of(two, "pod named", ".status.podIP", "-n", NAMESPACE)
    assert ask("kube-dns.kube-system.svc.cluster.local") == [server]
    assert (
        ask.until(f"db.{NAMESPACE}.svc.cluster.local", bool) == ask(f"boss.db.{NAMESPACE}.svc.cluster.local") == [named]
    )
    assert ask(f"api.{NAMESPACE}.svc.cluster.local") == [kubernetes]
    assert ask(kubernetes) == ["kubernetes.default.svc.cluster.local"]
    assert ask(f"nobody.{NAMESPACE}.svc.cluster.local") == []
    # by the search path, as programs look names up
    for name, address in (("db", named), ("kubernetes.default", kubernetes), ("boss.db", named)):
        shell = f"ping -c 1 -W 1 {name} | head -1"
        said = two.kubectl("-n", NAMESPACE, "exec", "asker", "--", "sh", "-c", shell)
        assert said.startswith(f"PING {name} ({address})")
    assert two.kubectl("-n", NAMESPACE, "exec", "named", "--", "hostname", "-f").strip() == (
        f"boss.db.{NAMESPACE}.svc.cluster.local"
    )


def test_it_breaks_and_heals(two: Typed, ask: Asker) -> None:
    config = json.loads(two.kubectl(*SYSTEM, "get", "configmap", "coredns", "-o", "json"))
    good = config["data"]["Corefile"]

    def write(corefile: str) -> None:
        patch = json.dumps({"data": {"Corefile": corefile}})
        two.kubectl(*SYSTEM, "patch", "configmap", "coredns", "--patch", patch)

    def restart() -> None:
        two.kubectl(*SYSTEM, "delete", "pod", "-l", "k8s-app=kube-dns", "--grace-period=0", "--force")

    quick = good.replace("    reload\n", "    reload 2s 1s\n")
    try:
        # a name of one's own, while it runs: no pod is restarted for that
        write(quick)
        restart()
        two.kubectl(*SYSTEM, "rollout", "status", "deployment/coredns", "--timeout=60s")
        mine = "    hosts {\n       192.0.2.77 mine.example\n       fallthrough\n    }\n    loop\n"
        write(quick.replace("    loop\n", mine))
        assert ask.until("mine.example", lambda found: found == ["192.0.2.77"], 60) == ["192.0.2.77"]
        # a mistake while it runs costs nothing ...
        write(quick.replace("    loop\n", mine + "    lop\n"))
        logs = ("logs", "-l", "k8s-app=kube-dns", "--tail=-1")
        end = time.monotonic() + 60
        while "reload failed" not in two.kubectl(*SYSTEM, *logs) and time.monotonic() < end:
            continue
        assert "Unknown directive 'lop'" in two.kubectl(*SYSTEM, *logs)
        assert ask("mine.example") == ["192.0.2.77"]
        # ... and when it starts, everything
        restart()
        two.kubectl(*SYSTEM, "wait", "pod", "-l", "k8s-app=kube-dns", "--timeout=60s",
                    "--for=jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff")  # fmt: skip
        said = two.kubectl(*SYSTEM, "logs", "-l", "k8s-app=kube-dns", "--previous")
        assert said.startswith("/etc/coredns/Corefile:") and said.endswith(
            " - Error during parsing: Unknown directive 'lop'\n"
        )
        assert ask("kubernetes.default.svc.cluster.local") == []
    finally:
        write(good)
        restart()
        two.kubectl(*SYSTEM, "rollout", "status", "deployment/coredns", "--timeout=60s")
    assert ask.until("kubernetes.default.svc.cluster.local", bool) == [
        address_of(two, "service kubernetes", ".spec.clusterIP")
    ]
    # what a user changed is the user's
    write(good + "\nexample.org:53 {\n    hosts {\n        192.0.2.9 www.example.org\n    }\n}\n")
    two.sampan("up", "--name", "two")
    assert "example.org:53" in two.kubectl(*SYSTEM, "get", "configmap", "coredns", "-o", "yaml")
    write(good)

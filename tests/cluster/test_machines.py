"""docs/network.md, "Nodes on other machines": its `sh` blocks on two machines, which are namespaces with a router between."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sampan.cluster import groups
from sampan.cluster.addons import coredns
from sampan.cluster.mounts import detach_below
from sampan.network import namespaces
from sampan.network.namespaces import inside
from tests import kubectls
from tests.network.lab import Lab, missing, traces

pytestmark = [pytest.mark.clients, pytest.mark.slow, pytest.mark.again]
PAGE = Path(__file__).parent.parent.parent / "docs" / "network.md"
SECTION = re.compile(r"^## Nodes on other machines\n(.*?)^## ", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
ADDRESSES = {"one": "192.0.2.10", "two": "198.51.100.10"}
SERVER = "import http.server,os; h=http.server.BaseHTTPRequestHandler; h.do_GET=lambda s:(s.send_response(200),s.end_headers(),s.wfile.write(os.environ['NODE'].encode()),None)[3]; http.server.HTTPServer(('',80),h).serve_forever()"  # noqa: E501
ASK = "import urllib.request as u; print([u.urlopen('http://web', timeout=5).read().decode() for _ in range(20)])"


@dataclass
class Farm:
    lab: Lab
    home: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        tools = f"{kubectls.kubectl('1.37').parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**os.environ, "HOME": str(self.home), "SAMPAN_HOME": str(self.home / "sampan"),
                "KUBECONFIG": str(self.home / "config"), "PATH": tools}  # fmt: skip

    def at(self, machine: str, script: str) -> str:
        command = ["nsenter", f"--net={self.lab.run / machine}", "bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(command, cwd=self.home, env=self.env, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def node(self, name: str, block: str) -> None:
        """The page's commands, with directories of its own: in truth this is one machine."""
        place = self.home / name
        runtime = f"sampan runtime --listen {place}/cri.sock --root {place}/images --state {place}/state"
        agent = (
            f"sampan node-agent --root-dir {place}/kubelet --pod-logs-dir {place}/logs --cgroup-root /{self.lab.name}/{name}"
            f" --container-runtime-endpoint unix://{place}/cri.sock"
        )
        block = block.replace("NODE=one", f"NODE={name}").replace("sudo ", "")
        block = block.replace("sampan runtime", runtime).replace("sampan node-agent", agent) + "\nwait\n"
        command = ["nsenter", f"--net={self.lab.run / name}", "bash", "-euo", "pipefail", "-c", block]
        with (self.home / f"{name}.log").open("wb") as log:
            self.running.append(subprocess.Popen(command, cwd=self.home, env=self.env, stdout=log, stderr=log, start_new_session=True))  # fmt: skip


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    if why := missing():
        pytest.skip(why)
    lab = Lab()
    router = lab.namespace("router")
    with inside(router):
        namespaces.sysctl("net.ipv4.ip_forward", "1")
    for number, (name, address) in enumerate(ADDRESSES.items()):
        gateway = f"{address.removesuffix('0')}/24"
        lab.wire(lab.namespace(name), f"{address}/24", router, gateway, names=("eth0", f"up{number}"))
    made = Farm(lab, tmp_path)
    try:
        yield made
    finally:
        for process in made.running:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
        end_containers(lab.name)
        if (tmp_path / "sampan").exists():
            made.at("one", "sampan delete cluster --name farm")
        detach_below(tmp_path)
        lab.close()
        shutil.rmtree(tmp_path, ignore_errors=True)
    assert traces(lab.name) == []


def end_containers(group: str) -> None:
    """Those of a test that failed."""
    pids = {int(pid) for file in groups.ROOT.glob(f"**/{group}/**/cgroup.procs") for pid in file.read_text().split()}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [], 5)
            os.close(handle)
    groups.remove(group)


def test_two_machines_join_by_hand(farm: Farm) -> None:
    found = SECTION.search(PAGE.read_text())
    assert found is not None
    up, credentials, node = BLOCK.findall(found[1])
    farm.at("one", up)
    farm.at("one", credentials)
    for name in ADDRESSES:
        farm.node(name, node)
    for name in ADDRESSES:
        farm.at("one", f"kubectl wait --for=create node/{name} --timeout=30s")
    farm.at("one", "kubectl wait --for=condition=Ready node --all --timeout=60s")
    shown = farm.at("one", "kubectl get nodes -o wide")
    assert all(address in shown for address in ADDRESSES.values())
    image = coredns.built_in()
    command = f'["{sys.executable}", "-c", "{SERVER}"]'
    farm.at(
        "one",
        f"""
kubectl apply -f - <<'END'
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: {image}
        command: {command}
        env: [{{name: NODE, valueFrom: {{fieldRef: {{fieldPath: spec.nodeName}}}}}}]
        readinessProbe: {{httpGet: {{port: 80}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{type: NodePort, selector: {{app: web}}, ports: [{{port: 80, nodePort: 30080}}]}}
END
kubectl rollout status daemonset/web --timeout=60s
kubectl -n kube-system rollout status deployment/coredns --timeout=60s
""",
    )
    # by name (DNS is on one of the two), by node port, and by the API server
    for name in farm.at("one", "kubectl get pods -l app=web -o name").split():
        answers = farm.at("one", f'kubectl exec {name} -- {sys.executable} -c "{ASK}"')
        assert "'one'" in answers
        assert "'two'" in answers
    for host in ADDRESSES.values():
        assert set(farm.at("router", f"for i in $(seq 20); do curl -sf -m 5 {host}:30080; echo; done").split()) == {
            "one",
            "two",
        }
    assert farm.at("one", "kubectl get --raw /api/v1/namespaces/default/services/web:80/proxy/") in ("one", "two")
    assert "sampan-vxlan" in farm.at("two", "ip -o link")
    farm.at("one", "kubectl delete daemonset web; kubectl -n kube-system scale deployment coredns --replicas=0")
    farm.at("one", "kubectl wait --for=delete pod --all -A --timeout=60s")

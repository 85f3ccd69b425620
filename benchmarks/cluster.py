"""Clusters as a whole: how long until one is there, what it costs when idle, how long until it is gone.

sudo python -m benchmarks.cluster
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from tests.images import busybox

from benchmarks.report import QUICK, Figure, few, tell
from sampan.cluster.state import Cluster

RUNS = 1 if QUICK else 5
IDLE_SECONDS = 10 if QUICK else 60
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: web, image: "busybox:bench", command: [httpd, -f, -p, "80", -h, /www], readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: "", selector: {app: web}, ports: [{port: 80}]}
"""


class Machine:
    """A user's home, and what is typed in it."""

    def __init__(self, home: Path) -> None:
        self.cluster = Cluster("default", home / "clusters" / "default")
        self.env = {**os.environ, "SAMPAN_HOME": str(home), "KUBECONFIG": str(home / "config")}
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)

    def __call__(self, *arguments: str, given: str = "") -> float:
        """Seconds that a command of ours took."""
        start = time.perf_counter()
        command = [sys.executable, "-m", "sampan.cli", *arguments]
        subprocess.run(command, env=self.env, check=True, capture_output=True, text=True, input=given)
        return time.perf_counter() - start

    def said(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "sampan.cli", "kubectl", "--", *arguments]
        return subprocess.run(command, env=self.env, check=True, capture_output=True, text=True).stdout

    def groups(self) -> list[Path]:
        return [Path(f"/proc/{pid}") for pid in self._pids()]

    def _pids(self) -> list[int]:
        """Of every process: those with names, and whatever runs in the nodes' control groups."""
        known = {int(file.read_text().split()[0]) for file in self.cluster.directory.glob("**/*.pid")}
        for base in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")):
            found = base / "sampan" / self.cluster.id
            if found.is_dir():
                known |= {int(pid) for file in found.glob("**/cgroup.procs") for pid in file.read_text().split()}
                break
        return sorted(known)

    def memory(self) -> float:
        """MB, shared pages counted once."""
        total = 0
        for process in self.groups():
            lines = (process / "smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return total / 1024

    def cpu(self) -> float:
        """Seconds of a processor, all of them together."""
        ticks = 0
        for process in self.groups():
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def answered(machine: Machine, archive: Path) -> float:
    """Seconds from `up` to an answer through the Service's address."""
    start = time.perf_counter()
    machine("up", "--nodes", "1")
    machine("load", "image-archive", str(archive))
    machine("kubectl", "--", "apply", "-f", "-", given=WEB)
    address = machine.said("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    while True:
        try:
            with urllib.request.urlopen(f"http://{address}/", timeout=1) as reply:
                reply.read()
                return time.perf_counter() - start
        except OSError:
            time.sleep(0.01)


def measure() -> list[Figure]:
    out: list[Figure] = []
    with tempfile.TemporaryDirectory() as directory:
        machine = Machine(Path(directory))
        archive = busybox().docker_save(Path(directory) / "busybox.tar", "busybox:bench")
        first = machine("up", "--nodes", "1")
        try:
            out.append(("sampan up (1 node), first run", first, "s", "<= 5"))
            machine("delete", "cluster")
            ups, downs = [], []
            for _ in range(RUNS):
                ups.append(machine("up", "--nodes", "1"))
                downs.append(machine("down"))
                machine("delete", "cluster")
            out.append(("sampan up (1 node), second run", statistics.median(ups), "s", "<= 3"))
            out.append(("sampan down", statistics.median(downs), "s", "<= 2"))
            out.append(("sampan up --nodes 3", machine("up", "--nodes", "3"), "s", "<= 6"))
            machine("delete", "cluster")
            out.append(
                ("sampan up to an answer through a Service, 2 replicas", answered(machine, archive), "s", "<= 6")
            )
            machine("delete", "cluster")
            machine("up", "--nodes", "1")
            machine.said("-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=60s")
            time.sleep(few(20))
            before = machine.cpu()
            time.sleep(IDLE_SECONDS)
            out.append(("1 node with DNS, idle: processor", (machine.cpu() - before) / IDLE_SECONDS * 100, "%", "<= 3"))
            out.append(("1 node with DNS, idle: memory of everything", machine.memory(), "MB", "<= 350"))
        finally:
            machine("delete", "cluster")
    return out


if __name__ == "__main__":
    for figure in measure():
        tell(figure)

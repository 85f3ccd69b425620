"""`sampan dns` as a process: dig and host ask it about a cluster with controllers and pods, and about the world beyond."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.test_hollow_kubectl import Kubectl
from tests.conftest import Up

pytestmark = [pytest.mark.clients, pytest.mark.slow]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Dns:
    """One process; its Corefile lies in a directory as a ConfigMap's volume lays it out."""

    def __init__(self, directory: Path, corefile: str) -> None:
        self.directory = directory
        self.port = free_port()
        self.pages = [free_port() for _ in range(3)]
        directory.mkdir()
        (directory / "Corefile").symlink_to("..data/Corefile")
        self.write(corefile)

    def write(self, corefile: str) -> None:
        """As the kubelet changes a ConfigMap: by another directory, put in place at once."""
        text = corefile
        for name, port in zip(("PORT", "HEALTH", "READY", "METRICS"), (self.port, *self.pages), strict=True):
            text = text.replace(name, str(port))
        made = self.directory / f"..{time.monotonic_ns()}"
        made.mkdir()
        (made / "Corefile").write_text(text)
        link = self.directory / "..data_tmp"
        link.symlink_to(made.name)
        os.replace(link, self.directory / "..data")

    def start(self) -> None:
        command = [sys.executable, "-m", "sampan.cli", "dns", "-conf", str(self.directory / "Corefile")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def until(self, words: str) -> list[str]:
        """The lines up to the one with these words."""
        assert self.process.stdout is not None
        out: list[str] = []
        for line in self.process.stdout:
            out.append(line.rstrip())
            if words in line:
                return out
        raise AssertionError(f"it ended without {words!r}: {out}")

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err

    def reload(self, corefile: str, words: str) -> list[str]:
        self.write(corefile)
        self.process.send_signal(signal.SIGUSR1)
        return self.until(words)

    def dig(self, *arguments: str) -> str:
        command = ["dig", "@127.0.0.1", "-p", str(self.port), "+time=6", "+tries=1", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def short(self, *arguments: str) -> list[str]:
        return sorted(self.dig("+short", *arguments).splitlines())

    def status(self, *arguments: str) -> str:
        return self.dig(*arguments).partition("status: ")[2].partition(",")[0]

    def page(self, number: int, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.pages[number]}{path}", timeout=5) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture
def dns(tmp_path: Path) -> Iterator[Callable[[str], Dns]]:
    started: list[Dns] = []

    def start(corefile: str) -> Dns:
        made = Dns(tmp_path / f"dns-{len(started)}", corefile)
        started.append(made)
        made.start()
        return made

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()


CLUSTER = """
.:PORT {
    bind 127.0.0.1
    errors
    health 127.0.0.1:HEALTH {
       lameduck 50ms
    }
    ready 127.0.0.1:READY
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       kubeconfig KUBECONFIG
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus 127.0.0.1:METRICS
    forward . UPSTREAM
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
"""
WORKLOADS = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: dns, port: 53, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {selector: {app: db}, clusterIP: None, ports: [{name: pg, port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: away}
spec: {type: ExternalName, externalName: www.example.test}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: c, image: x}]}
---
apiVersion: v1
kind: Pod
metadata: {name: named, labels: {app: db}}
spec: {hostname: boss, subdomain: db, containers: [{name: c, image: x}]}
"""
UPSTREAM = """
.:PORT {
    bind 127.0.0.1
    hosts /dev/null {
        192.0.2.1 www.example.test
        192.0.2.2 www.example.test
        192.0.2.53 reverse.example.test
        fallthrough
    }
    template IN TXT big.example.test {
        LINES
    }
    template ANY ANY nobody.example.test tcp.example.test {
        rcode NXDOMAIN
        authority "example.test. 60 IN SOA ns.example.test. m.example.test. (1 2 3 4 60)"
    }
}
""".replace("LINES", "\n".join(f'answer "big.example.test. 60 IN TXT {number}{"x" * 100}"' for number in range(40)))


def test_a_cluster(hollow_up: Up, dns: Callable[[str], Dns]) -> None:
    upstream = dns(UPSTREAM)
    upstream.until("python3")
    text = CLUSTER.replace("KUBECONFIG", str(hollow_up.kubeconfig)).replace("UPSTREAM", f"127.0.0.1:{upstream.port}")
    server = dns(text)
    kubectl = Kubectl(hollow_up, "dns")
    kubectl("apply", "-f", "-", stdin=WORKLOADS)
    kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
    kubectl("wait", "--for=condition=Ready", "pod/named", "--timeout=60s")
    pods = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in kubectl.json("pods")["items"]}
    address = kubectl.json("service", "web")["spec"]["clusterIP"]
    kubectl("wait", "--for=jsonpath={.endpoints[2]}", "endpointslice", "-l", "kubernetes.io/service-name=db")
    started = server.until("python3")
    assert f".:{server.port}" in started and any("Running configuration SHA512 = " in line for line in started)

    zone = "dns.svc.cluster.local"
    # a change is heard of within a moment: here, that of the last endpoint
    deadline = time.monotonic() + 10
    while len(server.short(f"db.{zone}")) < 3 and time.monotonic() < deadline:
        continue
    assert server.short(f"web.{zone}") == [address] and server.short("+tcp", f"WEB.{zone}") == [address]
    assert server.short(f"db.{zone}") == sorted(pods.values())
    assert server.short(f"db-0.db.{zone}") == [pods["db-0"]] and server.short(f"boss.db.{zone}") == [pods["named"]]
    assert server.short("SRV", f"_http._tcp.web.{zone}") == [f"0 100 80 web.{zone}."]
    assert server.short("SRV", f"_dns._udp.web.{zone}") == [f"0 100 53 web.{zone}."]
    assert server.short("SRV", f"_pg._tcp.db.{zone}") == [
        f"0 33 5432 {name}.db.{zone}." for name in ("boss", "db-0", "db-1")
    ]
    assert server.short("-x", address) == [f"web.{zone}."] and server.short("-x", pods["db-1"]) == [f"db-1.db.{zone}."]
    dashed = pods["db-0"].replace(".", "-")
    assert server.short(f"{dashed}.dns.pod.cluster.local") == [pods["db-0"]]
    assert server.short("TXT", "dns-version.cluster.local") == ['"1.1.0"']
    assert server.short("kubernetes.default.svc.cluster.local") == ["10.96.0.1"]
    # a pod's resolver, and another program's way to ask
    assert server.short("+search", f"+domain={zone}", "web") == [address]
    asked = subprocess.run(
        ["host", "-p", str(server.port), "-t", "SRV", f"_pg._tcp.db.{zone}", "127.0.0.1"],
        capture_output=True,
        text=True,
    )
    assert f"has SRV record 0 33 5432 boss.db.{zone}." in asked.stdout

    # no such name, or nothing of the kind: with the zone's SOA, which bounds how long that is kept
    for name, kind, status in ((f"no.{zone}", "A", "NXDOMAIN"), (f"web.{zone}", "AAAA", "NOERROR")):
        found = server.dig(name, kind)
        assert f"status: {status}" in found and "flags: qr aa rd;" in found
        assert "cluster.local.\t\t30\tIN\tSOA\tns.dns.cluster.local. hostmaster.cluster.local." in found
    assert "; Transfer failed." in server.dig("AXFR", "cluster.local")

    # beyond the cluster: answers are kept, and so are denials; a Service may be a name out there
    assert server.short("www.example.test") == ["192.0.2.1", "192.0.2.2"]
    assert server.short(f"away.{zone}") == ["192.0.2.1", "192.0.2.2", "www.example.test."]
    assert server.short("-x", "192.0.2.53") == ["reverse.example.test."]
    assert server.status("nobody.example.test") == server.status("nobody.example.test") == "NXDOMAIN"
    # four kilobytes: cut for a small buffer, whole over TCP, to which dig goes by itself
    assert "flags: qr aa tc rd" in server.dig("+ignore", "+bufsize=512", "TXT", "big.example.test")
    assert len(server.short("TXT", "big.example.test")) == 40

    assert server.page(0, "/health") == (200, "OK") and server.page(1, "/ready") == (200, "OK")
    code, page = server.page(2, "/metrics")
    assert code == 200 and 'coredns_cache_hits_total{server="dns://127.0.0.1:' in page
    assert "coredns_dns_responses_total{" in page and 'plugin="kubernetes"' in page and 'plugin="forward"' in page

    # the cluster changes
    kubectl("delete", "service", "web")
    deadline = time.monotonic() + 10
    while server.status(f"web.{zone}") != "NXDOMAIN" and time.monotonic() < deadline:
        continue
    assert server.status(f"web.{zone}") == "NXDOMAIN"

    # a bad Corefile breaks nothing, and the next good one heals
    line = text[: text.index("    loop")].count("\n") + 1
    broken = server.reload(text.replace("loop", "lop"), "plugin/reload: Corefile changed but reload failed")
    assert (
        f"[ERROR] Restart failed: {server.directory}/Corefile:{line} - Error during parsing: Unknown directive 'lop'"
        in broken
    )
    assert server.short("kubernetes.default.svc.cluster.local") == ["10.96.0.1"]
    server.reload(text.replace("ttl 30", "ttl 7"), "Reloading complete")
    answer = server.dig("+noall", "+answer", "kubernetes.default.svc.cluster.local")
    assert answer.split()[1:] == ["7", "IN", "A", "10.96.0.1"]
    assert server.page(1, "/ready") == (200, "OK")

    # nobody is there
    upstream.end()
    server.reload(text.replace("cache 30", "cache 1 other.test"), "Reloading complete")
    assert server.status("www.example.test") == "SERVFAIL"
    told = server.until("plugin/errors")[-1]
    assert (
        told.startswith("[ERROR] plugin/errors: 2 www.example.test. A: read udp 127.0.0.1:")
        and "connection refused" in told
    )
    code, out, _ = server.end()
    assert code == 0 and "[INFO] plugin/health: Going into lameduck mode for 50ms" in out


def test_several_upstreams_of_which_one_is_dead(dns: Callable[[str], Dns]) -> None:
    upstream = dns(UPSTREAM)
    dead = free_port()
    server = dns(
        f".:PORT {{\n bind 127.0.0.1\n errors\n forward . 127.0.0.1:{dead} 127.0.0.1:{upstream.port} {{\n policy sequential\n }}\n}}"
        f"\ntcp.example.test:PORT {{\n bind 127.0.0.1\n forward . 127.0.0.1:{upstream.port} {{\n force_tcp\n }}\n}}"
    )
    upstream.until("python3")
    server.until("python3")
    for _ in range(5):
        assert server.short("www.example.test") == ["192.0.2.1", "192.0.2.2"]
    assert server.status("x.tcp.example.test") == "NXDOMAIN"


def test_a_loop_is_found(dns: Callable[[str], Dns]) -> None:
    server = dns(".:PORT {\n bind 127.0.0.1\n errors\n loop\n forward . 127.0.0.1:PORT\n}")
    line = server.until("plugin/loop")[-1]
    assert (
        line.startswith("[FATAL] plugin/loop: Loop (127.0.0.1:")
        and (
            f'-> 127.0.0.1:{server.port}) detected for zone ".", see https://coredns.io/plugins/loop#troubleshooting. Query: "HINFO '
        )
        in line
    )
    assert server.process.wait(20) == 1


@pytest.mark.parametrize(
    ("corefile", "message"),
    [
        (".:PORT {\n  errors\n  forwrd . 1.1.1.1\n}", "{file}:3 - Error during parsing: Unknown directive 'forwrd'"),
        (".:PORT {\n  kubernetes cluster.local\n}", "plugin/kubernetes: unable to load in-cluster configuration, "
         "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined"),
    ],
)  # fmt: skip
def test_one_that_cannot_start(dns: Callable[[str], Dns], corefile: str, message: str) -> None:
    server = dns(corefile)
    out, err = server.process.communicate(timeout=20)
    assert server.process.returncode == 1 and not out
    assert err == message.format(file=server.directory / "Corefile") + "\n"


def test_a_port_that_is_taken(dns: Callable[[str], Dns]) -> None:
    first = dns(".:PORT {\n bind 127.0.0.1\n hosts\n}")
    first.until("python3")
    second = dns(f".:{first.port} {{\n bind 127.0.0.1\n hosts\n}}")
    _, err = second.process.communicate(timeout=20)
    assert second.process.returncode == 1
    assert err == f"listen tcp 127.0.0.1:{first.port}: bind: address already in use\n"


def test_without_an_api_server_it_answers_but_is_not_ready(dns: Callable[[str], Dns], tmp_path: Path) -> None:
    nowhere = {"cluster": {"server": f"https://127.0.0.1:{free_port()}"}, "name": "x"}
    context = {"context": {"cluster": "x", "user": ""}, "name": "x"}
    config = {"clusters": [nowhere], "contexts": [context], "current-context": "x"}
    (tmp_path / "config").write_text(json.dumps(config))
    server = dns(
        ".:PORT {\n bind 127.0.0.1\n ready 127.0.0.1:READY\n kubernetes cluster.local {\n"
        f"  kubeconfig {tmp_path}/config\n  startup_timeout 200ms\n }}\n}}"
    )
    assert "[WARNING] plugin/kubernetes: starting server with unsynced Kubernetes API" in server.until("python3")
    assert server.page(1, "/ready") == (503, "kubernetes")
    assert server.status("kubernetes.default.svc.cluster.local") == "SERVFAIL"
    assert server.end()[0] == 0

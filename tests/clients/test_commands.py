"""The `sampan` command, as the README shows it, and where it cannot do what it is told."""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sampan.cluster.state import Cluster, Settings
from tests.conftest import Up

pytestmark = [pytest.mark.clients, pytest.mark.slow]


@pytest.fixture
def fresh(tmp_path: Path) -> Up:
    return Up(tmp_path / "config", tmp_path / "home", "")


def test_up_kill_up_down(fresh: Up) -> None:
    other = {
        "apiVersion": "v1",
        "kind": "Config",
        "contexts": [{"name": "mine", "context": {}}],
        "current-context": "mine",
    }
    fresh.kubeconfig.write_text(yaml.safe_dump(other))
    first = json.loads(fresh.sampan("up", "--name", "one", "-o", "json").stdout)
    assert first["context"] == "sampan-one" and not first["already"]
    made = fresh.sampan("kubectl", "--name", "one", "--", "create", "configmap", "kept", "--from-literal=a=b")
    assert made.returncode == 0, made.stderr
    assert json.loads(fresh.sampan("up", "--name", "one", "-o", "json").stdout)["already"]
    status = json.loads(fresh.sampan("status", "-o", "json").stdout)
    assert [(row["name"], row["state"]) for row in status] == [("one", "ready")]
    os.kill(status[0]["pid"], signal.SIGKILL)
    again = fresh.sampan("up", "--name", "one")
    assert again.returncode == 0, again.stderr
    found = fresh.sampan("kubectl", "--name", "one", "--", "get", "cm", "kept", "-o", "jsonpath={.data.a}")
    assert found.stdout == "b"
    backup = fresh.home / "copy"
    assert fresh.sampan("backup", "--name", "one", str(backup)).returncode == 0
    fresh.sampan("kubectl", "--name", "one", "--", "delete", "cm", "kept")
    assert fresh.sampan("restore", "--name", "one", str(backup)).returncode == 1
    assert fresh.sampan("down", "--name", "one").returncode == 0
    assert fresh.sampan("restore", "--name", "one", str(backup)).returncode == 0
    assert fresh.sampan("up", "--name", "one").returncode == 0
    found = fresh.sampan("kubectl", "--name", "one", "--", "get", "cm", "kept", "-o", "jsonpath={.data.a}")
    assert found.stdout == "b"
    assert fresh.sampan("down", "--name", "one").returncode == 0
    left = yaml.safe_load(fresh.kubeconfig.read_text())
    assert [item["name"] for item in left["contexts"]] == ["mine"]


def test_a_port_in_use(fresh: Up) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = fresh.sampan("up", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "is in use" in done.stderr and "--port" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("down", "--name", "nobody"), "there is no cluster nobody"),
        (("up", "--name", "Bad_Name"), "cannot be the name of a cluster"),
        (("up", "--store", "nonsense"), "unknown store"),
        (("backup", "--name", "nobody", "x"), "there is no cluster nobody"),
        (("restore", "--name", "nobody", __file__), "is not a backup"),
        (("node", "add", "--name", "nobody"), "there is no cluster nobody"),
        (("image", "ls", "--name", "nobody"), "there is no cluster nobody"),
        (("load", "docker-image", "x", "--name", "nobody"), "there is no cluster nobody"),
        (("load", "image-archive", "/nothing"), "does not exist"),
        (("up", "--nodes", "many"), "not a valid integer"),
        (("dowm",), "No such command"),
    ],
)
def test_two_lines_and_an_exit_code(fresh: Up, arguments: tuple[str, ...], said: str) -> None:
    done = fresh.sampan(*arguments)
    assert done.returncode != 0 and said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2
    assert not list((fresh.home / "clusters").glob("*/*"))


def test_what_does_not_come_to_stand_leaves_nothing(fresh: Up) -> None:
    wrong = fresh.sampan("up", "--store", "etcd=http://127.0.0.1:9")
    assert wrong.returncode == 1 and len(wrong.stderr.strip().splitlines()) == 2
    assert not list(fresh.home.glob("clusters/*"))


def test_a_command_is_interrupted_before_it_has_begun(fresh: Up) -> None:
    """While it is still being read it ends without a word."""
    code = "import os, signal, sys, sampan.cli as c; sys.argv = ['sampan', 'up'];" \
           "sys.meta_path.insert(0, type('F', (), {'find_spec': lambda s, n, *a: n == 'sampan.cli.commands' and " \
           "os.kill(os.getpid(), signal.SIGINT) or None})()); c.main()"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], env=fresh.env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_a_broken_kubeconfig_is_left_alone(fresh: Up) -> None:
    fresh.kubeconfig.write_text("][ nonsense")
    done = fresh.sampan("up", "--name", "two")
    assert done.returncode == 1 and "nothing was changed" in done.stderr
    assert fresh.kubeconfig.read_text() == "][ nonsense"
    assert fresh.sampan("down", "--name", "two").returncode == 1
    fresh.kubeconfig.unlink()
    assert fresh.sampan("down", "--name", "two").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root calls for others")
def test_under_sudo_the_kubeconfig_is_the_callers(fresh: Up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sampan kubectl` reads what `sampan up` wrote, though HOME is root's."""
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho $KUBECONFIG\n")
    program.chmod(0o755)
    monkeypatch.setenv("SUDO_USER", "nobody")
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    Cluster("mine", fresh.home / "clusters" / "mine").directory.mkdir(parents=True)
    Cluster("mine", fresh.home / "clusters" / "mine").save(Settings(1, "memory"))
    env = {name: value for name, value in fresh.env.items() if name != "KUBECONFIG"}
    command = [sys.executable, "-m", "sampan.cli", "kubectl", "--name", "mine", "--", "get", "ns"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout == f"{pwd.getpwnam('nobody').pw_dir}/.kube/config\n", done.stderr

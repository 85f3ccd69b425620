"""What nodes are told of the machine's registry, and what shells complete."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sampan.cli.commands import cli
from sampan.cluster.local_registry import write_hosts
from sampan.runtime.hosts import Hosts


def test_nodes_find_it_by_its_name(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for name, url in (("docker.io", "http://mirror:5000"), ("localhost:5001", "http://elsewhere")):
        (theirs / name).mkdir(parents=True)
        (theirs / name / "hosts.toml").write_text(f'server = "{url}"\n')
    (ours / "mine").mkdir(parents=True)
    (ours / "mine" / "hosts.toml").write_text('server = "http://mine"\n')
    write_hosts(ours, 5001, "172.29.0.1")
    hosts = Hosts(ours, theirs)
    assert [each.base for each in hosts.of("localhost:5001")] == ["http://172.29.0.1:5001/v2"]
    assert [each.base for each in hosts.of("docker.io")] == ["http://mirror:5000/v2"]
    write_hosts(ours, 0, "172.29.0.1")
    assert [file.parent.name for file in ours.glob("*/hosts.toml")] == ["mine"]


def test_names_of_clusters_and_nodes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"name": "red-worker", "role": "worker", "labels": {}, "kubelet": {}, "ports": [], "mounts": [], "stopped": False, "index": 1}  # fmt: skip
    directory = tmp_path / "clusters" / "red"
    directory.mkdir(parents=True)
    (directory / "cluster.json").write_text(json.dumps({"port": 1, "store": "sqlite", "nodes": [node]}))

    def completed(*words: str) -> str:
        env = {"SAMPAN_HOME": str(tmp_path), "COMP_WORDS": " ".join(("sampan", *words)), "COMP_CWORD": str(len(words)),
               "_SAMPAN_COMPLETE": "bash_complete"}  # fmt: skip
        return CliRunner().invoke(cli, prog_name="sampan", env=env).output

    assert completed("down", "--name", "re") == "plain,red\n"
    assert completed("node", "stop", "--name", "red", "red-w") == "plain,red-worker\n"
    assert "plain,registry" in completed("reg")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    assert (
        f"_SAMPAN_COMPLETE={shell}_complete"
        in CliRunner().invoke(cli, ["completion", shell], prog_name="sampan").output
    )

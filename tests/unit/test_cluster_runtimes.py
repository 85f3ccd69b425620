"""What a cluster's nodes run on: chosen once, kept, and set up apart from everything else on the machine."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from sampan.cluster import containerd, doctor, lifecycle, spec
from sampan.cluster.errors import ClusterError
from sampan.cluster.state import Cluster, Settings
from sampan.cluster.wanted import of_flags


def asked(cluster: Cluster, nodes: int, runtime: str | None = None) -> Sequence[spec.Node]:
    wanted, _ = of_flags(cluster, nodes=nodes, runtime=runtime, hollow=None, store=None, port=None)
    assert wanted.nodes is not None
    return wanted.nodes


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster("one", tmp_path)


def test_nodes_get_it_and_keep_it(cluster: Cluster) -> None:
    nodes = asked(cluster, 2, "containerd")
    assert {node.runtime for node in nodes} == {"containerd"}
    cluster.save(Settings(1, "memory", nodes=list(nodes)))
    known = cluster.settings()
    assert known is not None and spec.runtime(known.nodes) == "containerd"
    assert {node.runtime for node in asked(cluster, 3)} == {"containerd"}


def test_what_was_kept_before_there_was_a_choice() -> None:
    raw = spec.dumped(spec.Node("a"))
    del raw["runtime"]
    assert spec.loaded(raw).runtime == "sampan"


def test_a_known_cluster_does_not_change_it(cluster: Cluster) -> None:
    cluster.save(Settings(1, "memory", nodes=spec.nodes("one", 1)))
    with pytest.raises(ClusterError, match="the nodes of this cluster run on sampan"):
        lifecycle.up(cluster, lifecycle.Wanted(runtime="containerd"), print)


def test_without_nodes_there_is_none_to_choose(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="--runtime is for nodes"):
        asked(cluster, 0, "containerd")


def test_the_doctor_asks_for_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ours, theirs = ({each.what: each for each in doctor.findings(runtime)} for runtime in spec.RUNTIMES)
    assert "containerd" not in ours and "conmon" not in theirs
    missing = theirs["containerd"]
    assert not missing.well and missing.needed and missing.hint.endswith("containerd")


def test_a_containerd_of_the_nodes_own(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cluster, "run", property(lambda self: self.directory / "run"))
    settings = Settings(1, "memory", nodes=spec.nodes("one", 1, "containerd"))
    program, _, file = containerd.command(cluster, settings, "n", [Path("/a"), Path("/b")])
    config = tomllib.loads(Path(file).read_text())
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert program == "containerd" and config["grpc"]["address"] == str(cluster.socket("n"))
    assert cri["registry"]["config_path"] == "/a:/b" and cri["sandbox_image"] == containerd.SANDBOX_IMAGE
    mine = [config["root"], cri["cni"]["bin_dir"], cri["cni"]["conf_dir"], cri["cni"]["conf_template"]]
    assert all(Path(each).is_relative_to(cluster.node("n")) for each in mine)
    assert Path(config["state"]).is_relative_to(cluster.run)
    (plugin,) = json.loads(Path(cri["cni"]["conf_template"]).read_text())["plugins"]
    assert (plugin["podCIDR"], plugin["clusterCIDR"]) == ("{{.PodCIDR}}", settings.ranges.pods)
    assert {each.name for each in Path(cri["cni"]["bin_dir"]).iterdir()} == {"sampan", "loopback"}

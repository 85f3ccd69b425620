"""kind's configuration files."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sampan.cli.clusters import kubelet_flags
from sampan.cluster import kind_config, spec
from sampan.cluster.errors import ClusterError
from sampan.cluster.wanted import published

HEAD = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n"


def test_an_empty_one_is_one_node() -> None:
    wanted = kind_config.read(HEAD, "class")
    assert wanted.nodes == [spec.Node("class-control-plane", "control-plane", {}, [], [], {})]
    assert wanted.ranges == spec.Ranges() and wanted.notes == []


def test_nodes_are_named_as_kind_names_them() -> None:
    wanted = kind_config.read(HEAD + "name: c\nnodes: [{role: worker}, {role: control-plane}, {role: worker}]\n", "x")
    assert [(node.name, node.role, node.index) for node in wanted.nodes] == [
        ("c-control-plane", "control-plane", 0), ("c-worker", "worker", 1), ("c-worker2", "worker", 2)]  # fmt: skip


def test_everything_that_says_something_about_our_nodes() -> None:
    text = (
        HEAD
        + """
networking: {podSubnet: 10.10.0.0/16, serviceSubnet: 10.11.0.0/16, apiServerPort: 7443, apiServerAddress: 0.0.0.0}
nodes:
- role: control-plane
  image: kindest/node:v1.31.0
  labels: {tier: front}
  extraPortMappings: [{containerPort: 30080, hostPort: 8080, protocol: tcp}]
  extraMounts: [{hostPath: /srv, containerPath: /data, readOnly: true}]
  kubeadmConfigPatches:
  - |
    kind: InitConfiguration
    nodeRegistration:
      kubeletExtraArgs:
        node-labels: "ingress-ready=true"
  - |
    kind: ClusterConfiguration
    apiServer: {}
"""
    )
    wanted = kind_config.read(text, "k")
    node = wanted.nodes[0]
    assert node.labels == {"tier": "front"} and node.kubelet == {"node-labels": "ingress-ready=true"}
    assert node.ports == [spec.Port(8080, 30080, "0.0.0.0", "TCP")]
    assert node.mounts == [spec.Mount("/srv", "/data", True, "None")]
    assert (wanted.listen, wanted.port) == ("0.0.0.0", 7443)
    assert wanted.ranges == spec.Ranges("10.10.0.0/16", "10.11.0.0/16") and wanted.ranges.dns == "10.11.0.10"
    assert [note.partition(":")[0] for note in wanted.notes] == ["image"]
    assert spec.loaded(spec.dumped(node)) == node


def test_arguments_of_the_newer_form() -> None:
    patch = "{kind: JoinConfiguration, nodeRegistration: {kubeletExtraArgs: [{name: max-pods, value: '7'}]}}"
    text = HEAD + f'kubeadmConfigPatches: ["{patch}"]\nnodes: [{{role: control-plane}}, {{role: worker}}]\n'
    assert [dict(node.kubelet) for node in kind_config.read(text, "k").nodes] == [{}, {"max-pods": "7"}]


@pytest.mark.parametrize(
    "text, said",
    [
        ("a: [", "is not YAML"),
        ("kind: Pod", "is not a Cluster"),
        (HEAD + "nodse: []", "unknown field 'nodse'"),
        (HEAD + "nodes: [{role: boss}]", "'boss' is not a role"),
        (HEAD + "nodes: [{role: worker}]", "no control-plane"),
        (HEAD + "networking: {podSubnet: pods}", "is not a CIDR"),
        (HEAD + "networking: {ipFamily: dual}", "is not there yet"),
        (HEAD + "nodes: [{role: control-plane, extraPortMappings: [{hostPort: 1}]}]", "no containerPort"),
        (HEAD + "nodes: [{role: control-plane, extraMounts: [{hostPath: /x}]}]", "containerPath"),
        (HEAD + "nodes: hello", "nodes is not a list: 'hello'"),
        (HEAD + "nodes: [hello]", r"nodes\[0\] is not a mapping"),
        (HEAD + "nodes: [{rolle: worker}]", r"unknown field 'nodes\[0\].rolle'"),
        (HEAD + "nodes: [{labels: [a]}]", r"nodes\[0\].labels is not a mapping"),
        (HEAD + "networking: 5", "networking is not a mapping"),
        (HEAD + "networking: {bogus: 1}", "unknown field 'networking.bogus'"),
        (HEAD + "networking: {apiServerPort: 99999}", "networking.apiServerPort is not a port: 99999"),
        (HEAD + "networking: {apiServerAddress: host}", "networking.apiServerAddress is not an IPv4 address"),
        (HEAD + "networking: {podSubnet: 10.0.0.0/30}", "is too small"),
        (HEAD + "networking: {podSubnet: 10.96.0.0/16}", "overlap"),
        (HEAD + "nodes: [{extraPortMappings: [{containerPort: 1, hostPort: http}]}]", "hostPort is not a port: 'http'"),
        (HEAD + "nodes: [{extraPortMappings: [{containerPort: 1, listenAddress: x}]}]", "listenAddress is not an IPv4"),
        (
            HEAD + "nodes: [{extraPortMappings: [{containerPort: 1, hostPort: 2}, {containerPort: 3, hostPort: 2}]}]",
            "twice",
        ),
        (HEAD + "nodes: [{extraMounts: [{hostPath: /x, containerPath: y}]}]", "containerPath is not absolute: 'y'"),
        (HEAD + "kubeadmConfigPatches: 7", "kubeadmConfigPatches is not a list"),
        (HEAD + "kubeadmConfigPatches: ['nodeRegistration: 3']", "nodeRegistration has no kubeletExtraArgs"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(ClusterError, match=said) as raised:
        kind_config.read(text, "k")
    assert "\n" not in raised.value.what + raised.value.hint


def test_ports_of_the_machine_are_free_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPAN_HOME", str(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = spec.Port(taken.getsockname()[1], 80, "127.0.0.1")
        with pytest.raises(ClusterError, match=f"hostPort {port.host} at 127.0.0.1 cannot be used"):
            published([spec.Node("n", ports=[port])])
    nodes, said = published([spec.Node("n", ports=[spec.Port(0, 80, "127.0.0.1")])])
    assert nodes[0].ports[0].host > 1023 and str(nodes[0].ports[0].host) in said[0]


def test_arguments_that_our_kubelet_does_not_know_are_told() -> None:
    nodes, said = kubelet_flags([spec.Node("n", kubelet={"max-pods": "7", "fail-swap-on": "false"})])
    assert nodes[0].kubelet == {"max-pods": "7"} and said == ["kubeletExtraArgs: fail-swap-on changes nothing here"]
    with pytest.raises(ClusterError, match="max-pods: invalid int value: 'many'"):
        kubelet_flags([spec.Node("n", kubelet={"max-pods": "many"})])

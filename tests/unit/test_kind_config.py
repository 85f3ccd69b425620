"""kind's configuration files."""

from __future__ import annotations

import pytest

from sampan.cluster import kind_config, spec
from sampan.cluster.errors import ClusterError

HEAD = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n"


def test_an_empty_one_is_one_node() -> None:
    wanted = kind_config.read(HEAD, "class")
    assert wanted.nodes == [spec.Node("class-control-plane", "control-plane", {}, [], [], {})]
    assert wanted.ranges == spec.Ranges() and wanted.notes == []


def test_nodes_are_named_as_kind_names_them() -> None:
    wanted = kind_config.read(HEAD + "name: c\nnodes: [{role: worker}, {role: control-plane}, {role: worker}]\n", "x")
    assert [(node.name, node.role) for node in wanted.nodes] == [
        ("c-control-plane", "control-plane"), ("c-worker", "worker"), ("c-worker2", "worker")]  # fmt: skip


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
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(ClusterError, match=said):
        kind_config.read(text, "k")

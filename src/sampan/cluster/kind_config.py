"""kind's configuration files, as far as they say something about nodes that are no Docker containers.

Node images, containerd patches and feature gates are about kind's own nodes: `notes` tells the user what was left out.

Source: https://kind.sigs.k8s.io/docs/user/configuration/; kind pkg/apis/config/v1alpha4/types.go, default.go
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from sampan.cluster import spec
from sampan.cluster.errors import ClusterError

API_VERSION = "kind.x-k8s.io/v1alpha4"
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_PROPAGATION = {"": "None", "None": "None", "HostToContainer": "HostToContainer", "Bidirectional": "Bidirectional"}
#: what a file may say that changes nothing here, and why
_LEFT_OUT = {
    "featureGates": "feature gates are as by default",
    "runtimeConfig": "every API that is on by default is served",
    "containerdConfigPatches": "nodes run another runtime than containerd",
    "containerdConfigPatchesJSON6902": "nodes run another runtime than containerd",
    "kubeadmConfigPatchesJSON6902": "only kubeadmConfigPatches are read",
}


@dataclass(slots=True)
class Wanted:
    """What a file asks for. `port` 0: as by default."""

    name: str = ""
    nodes: list[spec.Node] = field(default_factory=list)
    ranges: spec.Ranges = field(default_factory=spec.Ranges)
    listen: str = "127.0.0.1"
    port: int = 0
    notes: list[str] = field(default_factory=list)


def read(text: str, cluster: str) -> Wanted:
    """`cluster` names the nodes unless the file has a name of its own. Raises ClusterError."""
    try:
        raw = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ClusterError(f"the configuration is not YAML: {error}", "mend it, or leave --config out") from None
    if not isinstance(raw, dict) or raw.get("kind") != "Cluster" or raw.get("apiVersion") != API_VERSION:
        raise ClusterError(f"the configuration is not a Cluster of {API_VERSION}", "begin it with kind and apiVersion")
    unknown = sorted(
        set(raw) - {"kind", "apiVersion", "name", "nodes", "networking", "kubeadmConfigPatches", *_LEFT_OUT}
    )
    if unknown:
        raise ClusterError(
            f"unknown field {unknown[0]!r} in the configuration", "see kind's documentation for its fields"
        )
    out = Wanted(name=str(raw.get("name") or ""))
    out.notes = [f"{name}: {why}" for name, why in _LEFT_OUT.items() if raw.get(name)]
    _networking(raw.get("networking") or {}, out)
    given: Sequence[Mapping[str, Any]] = raw.get("nodes") or [{"role": spec.CONTROL_PLANE}]
    common = raw.get("kubeadmConfigPatches") or ()
    out.nodes = list(_nodes(given, out.name or cluster, common, out))
    return out


def _networking(raw: Mapping[str, Any], out: Wanted) -> None:
    pods, services = (str(raw.get(name) or "") for name in ("podSubnet", "serviceSubnet"))
    default = spec.Ranges()
    out.ranges = spec.Ranges(
        _cidr(pods, "podSubnet") or default.pods, _cidr(services, "serviceSubnet") or default.services
    )
    out.listen = str(raw.get("apiServerAddress") or out.listen)
    out.port = int(raw.get("apiServerPort") or 0)
    if raw.get("ipFamily", "ipv4") != "ipv4":
        raise ClusterError(f"networking.ipFamily {raw['ipFamily']!r} is not there yet", "use ipv4")
    if raw.get("disableDefaultCNI"):
        out.notes.append("networking.disableDefaultCNI: pods are attached by the built-in network all the same")
    if raw.get("kubeProxyMode") not in (None, "", "iptables", "nftables", "ipvs"):
        out.notes.append("networking.kubeProxyMode: the built-in service proxy is always there")


def _cidr(text: str, field_name: str) -> str:
    if not text:
        return ""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ClusterError(f"networking.{field_name} {text!r} is not a CIDR", "write it like 10.244.0.0/16") from None
    if network.version != 4:
        raise ClusterError(f"networking.{field_name} {text!r}: IPv6 is not there yet", "write it like 10.244.0.0/16")
    return str(network)


def _nodes(given: Sequence[Mapping[str, Any]], cluster: str, common: Sequence[str], out: Wanted) -> list[spec.Node]:
    planes = [raw for raw in given if (raw.get("role") or spec.CONTROL_PLANE) == spec.CONTROL_PLANE]
    workers = [raw for raw in given if raw.get("role") == spec.WORKER]
    if len(planes) + len(workers) != len(given):
        strange = next(raw["role"] for raw in given if raw.get("role") not in (None, spec.CONTROL_PLANE, spec.WORKER))
        raise ClusterError(f"{strange!r} is not a role of a node", "use control-plane or worker")
    if not planes:
        raise ClusterError("the configuration has no control-plane node", "add one")
    if len(planes) > 1:
        out.notes.append(f"there is one control plane; {len(planes) - 1} of its nodes became workers")
        workers = [*planes[1:], *workers]
    named = zip(spec.names(cluster, len(workers)), [planes[0], *workers], strict=True)
    return [_node(name, raw, spec.WORKER if index else spec.CONTROL_PLANE, common, out)
            for index, (name, raw) in enumerate(named)]  # fmt: skip


def _node(name: str, raw: Mapping[str, Any], role: str, common: Sequence[str], out: Wanted) -> spec.Node:
    labels = {str(key): str(value) for key, value in (raw.get("labels") or {}).items()}
    kubelet: dict[str, str] = {}
    for patch in (*common, *(raw.get("kubeadmConfigPatches") or ())):
        kubelet |= _kubelet_flags(patch, role)
    if raw.get("image") and not any(note.startswith("image:") for note in out.notes):
        out.notes.append("image: nodes are not containers; this is Kubernetes 1.37")
    ports = [_port(item) for item in raw.get("extraPortMappings") or ()]
    mounts = [_mount(item) for item in raw.get("extraMounts") or ()]
    return spec.Node(name, role, labels, ports, mounts, kubelet)


def _port(raw: Mapping[str, Any]) -> spec.Port:
    protocol = str(raw.get("protocol") or "TCP").upper()
    if not isinstance(raw.get("containerPort"), int) or protocol not in _PROTOCOLS:
        raise ClusterError(
            f"extraPortMappings: {dict(raw)} has no containerPort, or an odd protocol", "see kind's documentation"
        )
    return spec.Port(
        int(raw.get("hostPort") or 0), raw["containerPort"], str(raw.get("listenAddress") or "0.0.0.0"), protocol
    )


def _mount(raw: Mapping[str, Any]) -> spec.Mount:
    if not raw.get("hostPath") or not raw.get("containerPath"):
        raise ClusterError(f"extraMounts: {dict(raw)} needs hostPath and containerPath", "add what is missing")
    propagation = _PROPAGATION.get(str(raw.get("propagation") or ""))
    if propagation is None:
        raise ClusterError(
            f"extraMounts: {raw['propagation']!r} is no propagation", f"use one of {', '.join(_PROPAGATION)}"
        )
    return spec.Mount(
        os.path.abspath(str(raw["hostPath"])), str(raw["containerPath"]), bool(raw.get("readOnly")), propagation
    )


def _kubelet_flags(patch: str, role: str) -> dict[str, str]:
    """Of an InitConfiguration for control planes, of a JoinConfiguration for workers; a map in v1beta3, a list in v1beta4."""
    try:
        raw = yaml.safe_load(patch) or {}
    except yaml.YAMLError as error:
        raise ClusterError(f"a kubeadmConfigPatch is not YAML: {error}", "mend it") from None
    wanted = "InitConfiguration" if role == spec.CONTROL_PLANE else "JoinConfiguration"
    if not isinstance(raw, dict) or raw.get("kind") not in (wanted, None):
        return {}
    given = (raw.get("nodeRegistration") or {}).get("kubeletExtraArgs") or {}
    if isinstance(given, list):
        return {str(item["name"]): str(item.get("value", "")) for item in given}
    return {str(key): str(value) for key, value in given.items()}

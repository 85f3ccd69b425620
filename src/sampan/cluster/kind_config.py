"""kind's configuration files, as far as they say something about nodes that are no Docker containers.

A field that kind does not know, or a value of another sort than it takes, is refused by its path in the file.

Node images, containerd patches and feature gates are about kind's own nodes: `notes` tells the user what was left out.

Source: https://kind.sigs.k8s.io/docs/user/configuration/; kind pkg/apis/config/v1alpha4/types.go, default.go
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from sampan.cluster import spec
from sampan.cluster.errors import ClusterError

API_VERSION = "kind.x-k8s.io/v1alpha4"
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_NETWORKING = (
    "ipFamily", "apiServerPort", "apiServerAddress", "podSubnet", "serviceSubnet", "disableDefaultCNI", "kubeProxyMode",
    "dnsSearch",
)  # fmt: skip
_NODE = (
    "role", "image", "labels", "extraMounts", "extraPortMappings", "kubeadmConfigPatches", "kubeadmConfigPatchesJSON6902",
)  # fmt: skip
_PORT = ("containerPort", "hostPort", "listenAddress", "protocol")
_MOUNT = ("hostPath", "containerPath", "readOnly", "selinuxRelabel", "propagation")
_PROPAGATION = {"": "None", "None": "None", "HostToContainer": "HostToContainer", "Bidirectional": "Bidirectional"}
#: what a file may say that changes nothing here, and why
_LEFT_OUT = {
    "featureGates": "feature gates are as by default",
    "runtimeConfig": "every API that is on by default is served",
    "containerdConfigPatches": "registries are set up by hosts.toml files in /etc/containerd/certs.d",
    "containerdConfigPatchesJSON6902": "registries are set up by hosts.toml files in /etc/containerd/certs.d",
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


@dataclass(frozen=True, slots=True)
class _At:
    """A mapping of the file, and where it is. All that is taken from it is of the kind asked for, or ClusterError."""

    raw: dict[str, Any]
    path: str = ""

    @classmethod
    def of(cls, raw: Any, path: str, fields: Sequence[str]) -> _At:
        if not isinstance(raw, dict):
            raise _wrong(path, raw, "is not a mapping", "write it as fields: `name: value`")
        out = cls(raw, path)
        if strange := sorted(str(name) for name in raw if name not in fields):
            raise ClusterError(f"unknown field {out.name(strange[0])!r} in the configuration",
                               f"known there: {', '.join(fields)}")  # fmt: skip
        return out

    def name(self, field_name: str) -> str:
        return f"{self.path}.{field_name}".lstrip(".")

    def text(self, field_name: str, default: str = "") -> str:
        found = self.raw.get(field_name)
        if found is not None and (not isinstance(found, str | int) or isinstance(found, bool)):
            raise _wrong(self.name(field_name), found, "is not a text", "write one word or one line")
        return default if found in (None, "") else str(found)

    def port(self, field_name: str, low: int = 0) -> int:
        found = self.raw.get(field_name)
        if found is None:
            return 0
        if not isinstance(found, int) or isinstance(found, bool) or not low <= found <= 65535:
            raise _wrong(self.name(field_name), found, "is not a port", "give a number from 1 to 65535")
        return max(0, found)

    def yes(self, field_name: str) -> bool:
        found = self.raw.get(field_name)
        if found not in (None, True, False):
            raise _wrong(self.name(field_name), found, "is neither true nor false", "write true or false")
        return bool(found)

    def items(self, field_name: str) -> list[Any]:
        found = self.raw.get(field_name)
        if found is not None and not isinstance(found, list):
            raise _wrong(self.name(field_name), found, "is not a list", "write each item in a line that begins with -")
        return found or []

    def each(self, field_name: str, fields: Sequence[str]) -> list[_At]:
        named = self.name(field_name)
        return [_At.of(item, f"{named}[{index}]", fields) for index, item in enumerate(self.items(field_name))]

    def texts(self, field_name: str) -> list[str]:
        out = self.items(field_name)
        for index, item in enumerate(out):
            if not isinstance(item, str):
                raise _wrong(f"{self.name(field_name)}[{index}]", item, "is not a text", "write it as a block after |")
        return out

    def address(self, field_name: str, default: str) -> str:
        found = self.text(field_name, default)
        try:
            return str(ipaddress.IPv4Address(found))
        except ValueError:
            raise _wrong(self.name(field_name), found, "is not an IPv4 address", f"write it like {default}") from None


def _wrong(path: str, found: object, what: str, hint: str) -> ClusterError:
    return ClusterError(f"{path or 'the configuration'} {what}: {found!r}", hint)


def read(text: str, cluster: str) -> Wanted:
    """`cluster` names the nodes unless the file has a name of its own. Raises ClusterError."""
    raw = _yaml(text, "the configuration", "mend it, or leave --config out")
    if not isinstance(raw, dict) or raw.get("kind") != "Cluster" or raw.get("apiVersion") != API_VERSION:
        raise ClusterError(f"the configuration is not a Cluster of {API_VERSION}", "begin it with kind and apiVersion")
    top = _At.of(raw, "", ("kind", "apiVersion", "name", "nodes", "networking", "kubeadmConfigPatches", *_LEFT_OUT))
    out = Wanted(name=top.text("name"))
    out.notes = [f"{name}: {why}" for name, why in _LEFT_OUT.items() if raw.get(name)]
    _networking(_At.of(raw.get("networking") or {}, "networking", _NETWORKING), out)
    given = top.each("nodes", _NODE) or [_At({}, "nodes[0]")]
    out.nodes = list(_nodes(given, out.name or cluster, top.texts("kubeadmConfigPatches"), out))
    _twice(out.nodes)
    return out


def _yaml(text: str, what: str, hint: str) -> Any:
    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        why = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ClusterError(f"{what} is not YAML: {why}{f' (line {mark.line + 1})' if mark else ''}", hint) from None


def _twice(nodes: Sequence[spec.Node]) -> None:
    """No port of the host leads to two places."""
    seen: set[tuple[int, str]] = set()
    for port in (port for node in nodes for port in node.ports if port.host):
        if (port.host, port.protocol) in seen:
            raise ClusterError(f"extraPortMappings: hostPort {port.host} is there twice", "give each its own hostPort")
        seen.add((port.host, port.protocol))


def _networking(raw: _At, out: Wanted) -> None:
    default = spec.Ranges()
    pods, services = _cidr(raw, "podSubnet", default.pods, 24), _cidr(raw, "serviceSubnet", default.services, 27)
    if ipaddress.ip_network(pods).overlaps(ipaddress.ip_network(services)):
        raise ClusterError(f"networking: podSubnet {pods} and serviceSubnet {services} overlap", "keep them apart")
    out.ranges = spec.Ranges(pods, services)
    out.listen, out.port = raw.address("apiServerAddress", out.listen), raw.port("apiServerPort", -1)
    if (family := raw.text("ipFamily", "ipv4")) != "ipv4":
        raise ClusterError(f"networking.ipFamily {family!r} is not there yet", "use ipv4")
    if raw.yes("disableDefaultCNI"):
        out.notes.append("networking.disableDefaultCNI: pods are attached by the built-in network all the same")
    if raw.text("kubeProxyMode") not in ("", "iptables", "nftables", "ipvs"):
        out.notes.append("networking.kubeProxyMode: the built-in service proxy is always there")
    if raw.items("dnsSearch"):
        out.notes.append("networking.dnsSearch: nodes search where this machine does")


def _cidr(raw: _At, field_name: str, default: str, longest: int) -> str:
    """`longest`: its prefix may be no longer, or there is no room."""
    text, name = raw.text(field_name, default), raw.name(field_name)
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ClusterError(f"{name} {text!r} is not a CIDR", f"write it like {default}") from None
    if network.version != 4:
        raise ClusterError(f"{name} {text!r}: IPv6 is not there yet", f"write it like {default}")
    if network.prefixlen > longest:
        raise ClusterError(f"{name} {text!r} is too small", f"a /{longest} is the least, {default} is usual")
    return str(network)


def _nodes(given: Sequence[_At], cluster: str, common: Sequence[str], out: Wanted) -> list[spec.Node]:
    roles = [raw.text("role", spec.CONTROL_PLANE) for raw in given]
    if strange := next((role for role in roles if role not in (spec.CONTROL_PLANE, spec.WORKER)), ""):
        raise ClusterError(f"{strange!r} is not a role of a node", "use control-plane or worker")
    planes = [raw for raw, role in zip(given, roles, strict=True) if role == spec.CONTROL_PLANE]
    workers = [raw for raw, role in zip(given, roles, strict=True) if role == spec.WORKER]
    if not planes:
        raise ClusterError("the configuration has no control-plane node", "add one")
    if len(planes) > 1:
        out.notes.append(f"there is one control plane; {len(planes) - 1} of its nodes became workers")
        workers = [*planes[1:], *workers]
    named = zip(spec.names(cluster, len(workers)), [planes[0], *workers], strict=True)
    return [_node(name, raw, spec.WORKER if index else spec.CONTROL_PLANE, index, common, out)
            for index, (name, raw) in enumerate(named)]  # fmt: skip


def _node(name: str, raw: _At, role: str, index: int, common: Sequence[str], out: Wanted) -> spec.Node:
    labels = raw.raw.get("labels") or {}
    if not isinstance(labels, dict):
        raise _wrong(raw.name("labels"), labels, "is not a mapping", "write labels as `name: value`")
    kubelet: dict[str, str] = {}
    for patch in (*common, *raw.texts("kubeadmConfigPatches")):
        kubelet |= _kubelet_flags(patch, role)
    if raw.text("image") and not any(note.startswith("image:") for note in out.notes):
        out.notes.append("image: nodes are not containers; this is Kubernetes 1.37")
    ports = [_port(item) for item in raw.each("extraPortMappings", _PORT)]
    mounts = [_mount(item) for item in raw.each("extraMounts", _MOUNT)]
    texts = {str(key): str(value) for key, value in labels.items()}
    return spec.Node(name, role, texts, ports, mounts, kubelet, index=index)


def _port(raw: _At) -> spec.Port:
    protocol, inside = raw.text("protocol", "TCP").upper(), raw.port("containerPort")
    if protocol not in _PROTOCOLS:
        raise _wrong(raw.name("protocol"), protocol, "is no protocol", f"use one of {', '.join(_PROTOCOLS)}")
    if not inside:
        raise ClusterError(f"{raw.path} has no containerPort", "say which port of the node it leads to")
    return spec.Port(raw.port("hostPort", -1), inside, raw.address("listenAddress", "0.0.0.0"), protocol)


def _mount(raw: _At) -> spec.Mount:
    host, inside = raw.text("hostPath"), raw.text("containerPath")
    if not host or not inside:
        raise ClusterError(f"{raw.path} needs hostPath and containerPath", "add what is missing")
    if not inside.startswith("/"):
        raise _wrong(raw.name("containerPath"), inside, "is not absolute", "begin it with /")
    if any(letter in path for path in (host, inside) for letter in ",=:"):
        raise ClusterError(f"{raw.path} has a path with ',', '=' or ':'", "use paths without them")
    propagation = _PROPAGATION.get(raw.text("propagation"))
    if propagation is None:
        raise _wrong(raw.name("propagation"), raw.text("propagation"), "is no propagation",
                     f"use one of {', '.join(filter(None, _PROPAGATION))}")  # fmt: skip
    return spec.Mount(os.path.abspath(host), inside, raw.yes("readOnly"), propagation)


def _kubelet_flags(patch: str, role: str) -> dict[str, str]:
    """Of an InitConfiguration for control planes, of a JoinConfiguration for workers; a map in v1beta3, a list in v1beta4."""
    raw = _yaml(patch, "a kubeadmConfigPatch", "mend it")
    wanted = "InitConfiguration" if role == spec.CONTROL_PLANE else "JoinConfiguration"
    if not isinstance(raw, dict) or raw.get("kind") not in (wanted, None):
        return {}
    registration = raw.get("nodeRegistration") or {}
    given = registration.get("kubeletExtraArgs") or {} if isinstance(registration, dict) else registration
    if isinstance(given, list) and all(isinstance(item, dict) and "name" in item for item in given):
        return {str(item["name"]): str(item.get("value", "")) for item in given}
    if not isinstance(given, dict):
        raise _wrong("kubeadmConfigPatches: nodeRegistration", given, "has no kubeletExtraArgs",
                     'write `kubeletExtraArgs: {max-pods: "50"}` below it')  # fmt: skip
    return {str(key): str(value) for key, value in given.items()}

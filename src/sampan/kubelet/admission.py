"""Which pods the node takes: what the scheduler decided is looked at once more, for it may not have known all.

A pod that is refused fails for good, with the reason that upstream gives; its owner makes another one.

Source: kubernetes pkg/kubelet/lifecycle/predicate.go, pkg/kubelet/eviction/eviction_manager.go Admit, kubelet.go rejectPod
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sampan.api import quantity
from sampan.api.core_v1 import pod_resources
from sampan.kubelet import names, resources

Obj = dict[str, Any]
CRITICAL = 2_000_000_000
#: sysctls of the pod's own namespaces that harm nobody else
SAFE_SYSCTLS = frozenset((
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: str
    message: str


def critical(pod: Obj) -> bool:
    return names.is_static(pod) or int(pod["spec"].get("priority") or 0) >= CRITICAL


def admit(
    pod: Obj,
    others: Iterable[Obj],
    node: Obj,
    allocatable: Mapping[str, str],
    pressures: Collection[str] = (),
    unsafe_sysctls: Collection[str] = (),
    *,
    room: bool = True,
) -> Refusal | None:
    """`others`: the pods that are on the node and not over. `pressures`: the node's, MemoryPressure and the like. `unsafe_sysctls`: those
    that are allowed nevertheless, `kernel.msg*` for all that begin so. `room`: whether there must be enough left for it."""
    for refused in (_under_pressure(pod, pressures), _sysctls(pod, unsafe_sysctls)):
        if refused is not None:
            return refused
    spec = pod["spec"]
    if (spec.get("os") or {}).get("name") not in (None, "", "linux"):
        return Refusal("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")
    selector = spec.get("nodeSelector") or {}
    labels = node["metadata"].get("labels") or {}
    if (value := selector.get("kubernetes.io/os")) and value != labels.get("kubernetes.io/os", value):
        return Refusal(
            "PodOSSelectorNodeLabelDoesNotMatch",
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
        )
    static = names.is_static(pod)
    for found in (
        _resources(pod, others, allocatable) if room else None,
        None if static else _affinity(pod, node),
        _ports(pod, others),
        _taints(pod, node),
    ):
        if found is not None:
            return found
    return None


def _under_pressure(pod: Obj, pressures: Collection[str]) -> Refusal | None:
    held = sorted(pressures)
    if not held or critical(pod):
        return None
    if held == ["MemoryPressure"]:
        if resources.qos(pod) != "BestEffort":
            return None
        taint = {"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"}
        if any(_tolerates(each, taint) for each in pod["spec"].get("tolerations") or ()):
            return None
    return Refusal("Evicted", f"The node had condition: [{' '.join(held)}]. ")


def _sysctls(pod: Obj, unsafe: Collection[str]) -> Refusal | None:
    spec = pod["spec"]
    for each in (spec.get("securityContext") or {}).get("sysctls") or ():
        name = each["name"].replace("/", ".")
        allowed = name in SAFE_SYSCTLS or any(
            name.startswith(one[:-1]) if one.endswith("*") else name == one for one in unsafe
        )
        if not allowed:
            return Refusal("SysctlForbidden", f'forbidden sysctl: "{name}" not allowlisted')
        if name.startswith("net.") and spec.get("hostNetwork"):
            return Refusal("SysctlForbidden", f'forbidden sysctl: "{name}" not allowed with host net enabled')
        if not name.startswith("net.") and spec.get("hostIPC"):
            return Refusal("SysctlForbidden", f'forbidden sysctl: "{name}" not allowed with host ipc enabled')
    return None


def _resources(pod: Obj, others: Iterable[Obj], allocatable: Mapping[str, str]) -> Refusal | None:
    asked = dict(pod_resources.requests(pod))
    used: dict[str, Any] = {}
    count = 0
    for each in others:
        count += 1
        for name, amount in pod_resources.requests(each).items():
            used[name] = used.get(name, 0) + quantity.parse(amount)
    most = quantity.parse(allocatable.get("pods", "110"))
    if count + 1 > most:
        return Refusal("OutOfpods", _short("pods", 1, count, int(most)))
    for name, amount in asked.items():
        want, have = quantity.parse(amount), used.get(name, 0)
        if name not in allocatable:
            continue  # resources that the node does not know are the scheduler's business alone
        there = quantity.parse(allocatable[name])
        if want > 0 and want + have > there:
            scale = 1000 if name == "cpu" else 1
            return Refusal(f"OutOf{name}", _short(name, int(want * scale), int(have * scale), int(there * scale)))
    return None


def _short(name: str, asked: int, used: int, capacity: int) -> str:
    return f"Node didn't have enough resource: {name}, requested: {asked}, used: {used}, capacity: {capacity}"


def _affinity(pod: Obj, node: Obj) -> Refusal | None:
    spec = pod["spec"]
    labels = node["metadata"].get("labels") or {}
    wanted = spec.get("nodeSelector") or {}
    matches = all(labels.get(name) == value for name, value in wanted.items())
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if matches and required is not None:
        matches = any(term_matches(each, labels, node["metadata"]["name"]) for each in required["nodeSelectorTerms"])
    if matches:
        return None
    return Refusal("NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector")


def term_matches(term: Obj, labels: Mapping[str, str], name: str) -> bool:
    """An empty term matches nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    return bool(expressions or fields) and all(
        _holds(each, found)
        for wanted, found in ((expressions, labels), (fields, {"metadata.name": name}))
        for each in wanted
    )


def _holds(wanted: Obj, found: Mapping[str, str]) -> bool:
    value, values = found.get(wanted["key"]), list(wanted.get("values") or ())
    match wanted["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as which:
            try:
                left, right = int(value or ""), int(values[0])
            except ValueError:
                return False
            return left > right if which == "Gt" else left < right
    return False


def _ports(pod: Obj, others: Iterable[Obj]) -> Refusal | None:
    wanted = set(_host_ports(pod))
    for each in others:
        for protocol, ip, port in _host_ports(each):
            for own_protocol, own_ip, own_port in wanted:
                if (protocol, port) == (own_protocol, own_port) and (ip == own_ip or "0.0.0.0" in (ip, own_ip)):
                    return Refusal(
                        "NodePorts",
                        "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
                    )
    return None


def _host_ports(pod: Obj) -> Iterable[tuple[str, str, int]]:
    for container in names.containers_of(pod):
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                yield port.get("protocol", "TCP"), port.get("hostIP") or "0.0.0.0", port["hostPort"]


def _taints(pod: Obj, node: Obj) -> Refusal | None:
    for taint in (node.get("spec") or {}).get("taints") or ():
        if taint["effect"] == "NoExecute" and not any(
            _tolerates(each, taint) for each in pod["spec"].get("tolerations") or ()
        ):
            if names.is_static(pod):
                return None
            return Refusal("TaintToleration", "Predicate TaintToleration failed: node(s) had untolerated taint(s)")
    return None


def _tolerates(toleration: Obj, taint: Obj) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    return toleration.get("operator") == "Exists" or (toleration.get("value") or "") == (taint.get("value") or "")

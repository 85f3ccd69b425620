"""What a kubelet is told when it starts: by flags, by a KubeletConfiguration file, or by whoever assembles a node.

Flags go before the file, the file before the defaults; names and defaults are upstream's where it has them.

Source: kubernetes cmd/kubelet/app/options/options.go, staging/src/k8s.io/kubelet/config/v1beta1/types.go
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from sampan.api import durations
from sampan.client.config import ConfigError

EVICTION_HARD = {"memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%", "imagefs.available": "15%",
                 "imagefs.inodesFree": "5%"}  # fmt: skip


def hostname() -> str:
    return socket.gethostname().strip().lower()


@dataclass(frozen=True, slots=True)
class Options:
    """Durations are seconds."""

    name: str = field(default_factory=hostname)
    runtime: str = "unix:///run/sampan/runtime/cri.sock"
    root: Path = Path("/var/lib/kubelet")
    logs: Path = Path("/var/log/pods")
    static_pods: Path | None = None
    #: paths of the node that hostPath volumes find elsewhere on the machine: (the node's, the machine's, read only)
    host_paths: tuple[tuple[str, str, bool], ...] = ()
    node_ips: tuple[str, ...] = ()
    cluster_dns: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    resolver: Path = Path("/etc/resolv.conf")
    address: str = "0.0.0.0"
    port: int = 10250
    #: for health alone, without TLS; 0: none
    healthz_port: int = 10248
    healthz_address: str = "127.0.0.1"
    max_pods: int = 110
    pod_cidr: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()
    register: bool = True
    cgroup_root: str = ""
    cgroup_driver: str = ""
    cgroups_per_qos: bool = True
    enforce_allocatable: tuple[str, ...] = ("pods",)
    cpu_quota: bool = True
    pids_per_pod: int = -1
    kube_reserved: Mapping[str, str] = field(default_factory=dict)
    system_reserved: Mapping[str, str] = field(default_factory=dict)
    eviction_hard: Mapping[str, str] = field(default_factory=lambda: dict(EVICTION_HARD))
    eviction_soft: Mapping[str, str] = field(default_factory=dict)
    eviction_soft_grace: Mapping[str, str] = field(default_factory=dict)
    eviction_reclaim: Mapping[str, str] = field(default_factory=dict)
    eviction_max_grace: int = 0
    eviction_pressure_seconds: float = 300.0
    image_gc_high: int = 85
    image_gc_low: int = 80
    image_min_seconds: float = 120.0
    log_max_size: str = "10Mi"
    log_max_files: int = 5
    status_seconds: float = 10.0
    report_seconds: float = 300.0
    lease_seconds: int = 40
    sync_seconds: float = 60.0
    back_off_most: float = 300.0
    serialize_pulls: bool = False
    max_pulls: int = 5
    registry_qps: float = 5.0
    registry_burst: int = 10
    allowed_unsafe_sysctls: tuple[str, ...] = ()
    #: the CA of clients of the kubelet's own server, and its certificate; without: one that is signed by itself
    client_ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    anonymous: bool = False
    webhook: bool = True
    authorization: str = "Webhook"
    rotate_certificates: bool = False
    serving_bootstrap: bool = False
    bootstrap: Path | None = None
    kubeconfig: Path | None = None

    @property
    def renew_seconds(self) -> float:
        return self.lease_seconds / 4


#: fields of KubeletConfiguration: ours, and how to read them
_FILE: dict[str, tuple[str, Any]] = {
    "staticPodPath": ("static_pods", Path),
    "clusterDNS": ("cluster_dns", tuple),
    "clusterDomain": ("cluster_domain", str),
    "resolvConf": ("resolver", Path),
    "address": ("address", str),
    "port": ("port", int),
    "healthzPort": ("healthz_port", int),
    "healthzBindAddress": ("healthz_address", str),
    "maxPods": ("max_pods", int),
    "podCIDR": ("pod_cidr", str),
    "registerNode": ("register", bool),
    "registerWithTaints": ("taints", tuple),
    "cgroupRoot": ("cgroup_root", str),
    "cgroupDriver": ("cgroup_driver", str),
    "cgroupsPerQOS": ("cgroups_per_qos", bool),
    "enforceNodeAllocatable": ("enforce_allocatable", tuple),
    "cpuCFSQuota": ("cpu_quota", bool),
    "podPidsLimit": ("pids_per_pod", int),
    "kubeReserved": ("kube_reserved", dict),
    "systemReserved": ("system_reserved", dict),
    "evictionHard": ("eviction_hard", dict),
    "evictionSoft": ("eviction_soft", dict),
    "evictionSoftGracePeriod": ("eviction_soft_grace", dict),
    "evictionMinimumReclaim": ("eviction_reclaim", dict),
    "evictionMaxPodGracePeriod": ("eviction_max_grace", int),
    "evictionPressureTransitionPeriod": ("eviction_pressure_seconds", "duration"),
    "imageGCHighThresholdPercent": ("image_gc_high", int),
    "imageGCLowThresholdPercent": ("image_gc_low", int),
    "imageMinimumGCAge": ("image_min_seconds", "duration"),
    "containerLogMaxSize": ("log_max_size", str),
    "containerLogMaxFiles": ("log_max_files", int),
    "containerRuntimeEndpoint": ("runtime", str),
    "podLogsDir": ("logs", Path),
    "nodeStatusUpdateFrequency": ("status_seconds", "duration"),
    "nodeStatusReportFrequency": ("report_seconds", "duration"),
    "nodeLeaseDurationSeconds": ("lease_seconds", int),
    "syncFrequency": ("sync_seconds", "duration"),
    "serializeImagePulls": ("serialize_pulls", bool),
    "maxParallelImagePulls": ("max_pulls", int),
    "registryPullQPS": ("registry_qps", float),
    "registryBurst": ("registry_burst", int),
    "allowedUnsafeSysctls": ("allowed_unsafe_sysctls", tuple),
    "tlsCertFile": ("cert", Path),
    "tlsPrivateKeyFile": ("key", Path),
    "rotateCertificates": ("rotate_certificates", bool),
    "serverTLSBootstrap": ("serving_bootstrap", bool),
}


def seconds(text: str | float) -> float:
    """Go's durations: `1m30s`, `500ms`. Raises ConfigError."""
    try:
        return durations.seconds(text) if isinstance(text, str) else float(text)
    except ValueError as error:
        raise ConfigError(f"{error}: write it as 10s or 1m30s") from None


def from_file(path: Path, base: Options | None = None) -> Options:
    """`base` with what a KubeletConfiguration says. Raises ConfigError, OSError."""
    try:
        found = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from None
    if not isinstance(found, dict) or found.get("kind") != "KubeletConfiguration":
        raise ConfigError(f"{path} holds no KubeletConfiguration (kubelet.config.k8s.io/v1beta1)")
    changes: dict[str, Any] = {}
    for name, value in found.items():
        if name in _FILE and value is not None:
            ours, kind = _FILE[name]
            try:
                changes[ours] = seconds(value) if kind == "duration" else kind(value)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"{path}: {name}: {error}") from None
    authentication = found.get("authentication") or {}
    if ca := (authentication.get("x509") or {}).get("clientCAFile"):
        changes["client_ca"] = Path(ca)
    for section, ours in (("anonymous", "anonymous"), ("webhook", "webhook")):
        if (enabled := (authentication.get(section) or {}).get("enabled")) is not None:
            changes[ours] = bool(enabled)
    if mode := (found.get("authorization") or {}).get("mode"):
        changes["authorization"] = mode
    crash = (found.get("crashLoopBackOff") or {}).get("maxContainerRestartPeriod")
    if crash:
        changes["back_off_most"] = seconds(crash)
    return replace(base or Options(), **changes)


def known(changes: Mapping[str, Any]) -> dict[str, Any]:
    """What of `changes` was given, by the names of the fields."""
    names = {each.name for each in fields(Options)}
    return {name: value for name, value in changes.items() if name in names and value is not None}

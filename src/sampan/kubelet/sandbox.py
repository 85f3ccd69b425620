"""The sandbox of a pod as the runtime wants it: names, addresses, ports, namespaces, where logs go.

Source: kubernetes pkg/kubelet/kuberuntime/kuberuntime_sandbox.go
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sampan.cri import pb
from sampan.kubelet import hosts, names, security

Obj = dict[str, Any]
MAX_FQDN = 64


def full_name(pod: Obj, cluster_domain: str) -> str:
    """What `hostname` says inside. Raises ConfigRefused for a full name that is too long."""
    name, domain = hosts.names_of(pod, cluster_domain)
    if not (pod["spec"].get("setHostnameAsFQDN") and domain):
        return name
    full = f"{name}.{domain}"
    if len(full) > MAX_FQDN:
        raise security.ConfigRefused(
            f"failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long (64 characters is the max, {len(full)} characters requested)"
        )
    return full


def config(
    pod: Obj, attempt: int, *, logs: Path, dns: Any, cgroup: str, cluster_domain: str, seccomp_root: Path,
    resources: Any = None,
) -> Any:  # fmt: skip
    """`dns`: a DNSConfig, `cgroup`: the pod's own. Raises ConfigRefused."""
    meta, spec = pod["metadata"], pod["spec"]
    linux = pb.LinuxPodSandboxConfig(
        cgroup_parent=cgroup, security_context=security.for_sandbox(pod, seccomp_root), resources=resources
    )
    for each in (spec.get("securityContext") or {}).get("sysctls") or ():
        linux.sysctls[each["name"]] = each["value"]
    host = bool(spec.get("hostNetwork"))
    return pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(
            name=meta["name"], namespace=meta["namespace"], uid=meta["uid"], attempt=attempt
        ),
        hostname="" if host else full_name(pod, cluster_domain),
        log_directory=str(logs / names.log_directory(pod)),
        dns_config=dns,
        port_mappings=[] if host else list(_ports(pod)),
        labels=names.pod_labels(pod),
        annotations=meta.get("annotations") or {},
        linux=linux,
    )


def _ports(pod: Obj) -> list[Any]:
    spec = pod["spec"]
    sidecars = [each for each in spec.get("initContainers") or () if names.is_sidecar(each)]
    return [
        pb.PortMapping(
            protocol=pb.Protocol.index(port.get("protocol", "TCP")),
            container_port=port["containerPort"],
            host_port=port.get("hostPort", 0),
            host_ip=port.get("hostIP", ""),
        )
        for container in (*sidecars, *spec["containers"])
        for port in container.get("ports") or ()
    ]

"""A pod's /etc/hosts, letter by letter as kubelets write it: users compare, and some programs look for the heading.

Source: kubernetes pkg/kubelet/kubelet_pods.go (managedHostsFileContent, nodeHostsFileContent, GeneratePodHostNameAndDomain)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Obj = dict[str, Any]
_HEADING = "# Kubernetes-managed hosts file.\n"
_HEADING_HOST = "# Kubernetes-managed hosts file (host network).\n"
_LOCAL = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "fe00::0\tip6-mcastprefix\n"
    "fe00::1\tip6-allnodes\n"
    "fe00::2\tip6-allrouters\n"
)
HOST_FILE = Path("/etc/hosts")
MAX_HOSTNAME = 63


def names_of(pod: Obj, cluster_domain: str) -> tuple[str, str]:
    """Its host name, and the domain that its subdomain makes (or nothing)."""
    spec, meta = pod["spec"], pod["metadata"]
    if override := spec.get("hostnameOverride"):
        return _cut(override), ""
    domain = f"{spec['subdomain']}.{meta['namespace']}.svc.{cluster_domain}" if spec.get("subdomain") else ""
    return _cut(spec.get("hostname") or meta["name"]), domain


def _cut(name: str) -> str:
    return name if len(name) <= MAX_HOSTNAME else name[:MAX_HOSTNAME].rstrip("-.")


def hosts(pod: Obj, ips: Sequence[str], hostname: str, domain: str = "", *, host_file: Path = HOST_FILE) -> str:
    """Raises OSError where the node's own file is needed and cannot be read."""
    if pod["spec"].get("hostNetwork"):
        text = _HEADING_HOST + host_file.read_text(errors="surrogateescape")
    else:
        own = f"{hostname}.{domain}\t{hostname}" if domain else hostname
        text = _HEADING + _LOCAL + "".join(f"{ip}\t{own}\n" for ip in ips)
    aliases = pod["spec"].get("hostAliases") or ()
    if aliases:
        lines = (f"{each['ip']}\t" + "\t".join(each.get("hostnames") or ()) for each in aliases)
        text += "\n# Entries added by HostAliases.\n" + "".join(f"{line}\n" for line in lines)
    return text


def write(path: Path, text: str) -> None:
    """In place, for containers have the file itself."""
    path.write_text(text, errors="surrogateescape")
    os.chmod(path, 0o644)

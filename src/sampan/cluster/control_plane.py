"""The control plane as upstream's shows itself: static pods in kube-system on the first node, named and labelled as kubeadm's.

The processes are the machine's own, begun by `up` before there is any node. Each pod's container enters the machine's
namespaces and stands for one of them (`keep.sh`): it shows that process's output, ends when the process does, and starts it
again. Store and API server are one process here, controllers and scheduler another: two pods each stand for it.

Source: kubernetes/cmd/kubeadm/app/phases/controlplane/manifests.go, util/staticpod/utils.go
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from sampan.cluster import spec
from sampan.cluster.state import Cluster, Settings

SCRIPT = "keep.sh"
#: python as quick as it starts
ENTER = (sys.executable, "-I", "-S", str(Path(__file__).with_name("enter.py")))


@dataclass(frozen=True, slots=True)
class Shown:
    """A pod, and the process it stands for. `watch`: others start it again."""

    component: str
    process: str
    watch: bool = False
    #: where it is asked how it is
    port: int = 0


PLANE = (
    Shown("kube-apiserver", "apiserver"),
    Shown("etcd", "apiserver"),
    Shown("kube-controller-manager", "components", port=10257),
    Shown("kube-scheduler", "components", port=10259),
)


def write(cluster: Cluster, settings: Settings, node: spec.Node) -> None:
    """The manifests of a node. Raises OSError."""
    home = cluster.node(node.name)
    script = cluster.directory / SCRIPT
    script.write_text(resources.files("sampan.cluster").joinpath(SCRIPT).read_text())
    shown = list(PLANE) if node.role == spec.CONTROL_PLANE else []
    if settings.store.startswith("etcd"):
        shown = [each for each in shown if each.component != "etcd"]  # it is somewhere else, and shows itself
    shown.append(Shown("kube-proxy", f"nodes/{node.name}/node", watch=True))
    for each in shown:
        target = home / "manifests" / f"{each.component}.yaml"
        text = yaml.safe_dump(manifest(each, cluster), sort_keys=False)
        if not target.exists() or target.read_text() != text:
            scratch = target.with_name(f".{target.name}")
            scratch.write_text(text)
            scratch.replace(target)


def manifest(shown: Shown, cluster: Cluster) -> dict[str, Any]:
    from sampan.runtime import builtin

    labels = {"component": shown.component, "tier": "control-plane"}
    if shown.component == "kube-proxy":
        labels = {"k8s-app": "kube-proxy"}
    directory = str(cluster.directory)
    command = [*ENTER, str(cluster.host), "sh", f"{directory}/{SCRIPT}", directory, shown.process]
    command += ["watch"] if shown.watch else []
    container = {
        "name": shown.component,
        "image": builtin.name(),
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "securityContext": {"privileged": True},
    }
    settings = cluster.settings()
    if shown.port and settings is not None:
        container |= _probes(settings.ranges.gateway, shown.port)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": shown.component, "namespace": "kube-system", "labels": labels},
        "spec": {
            "containers": [container],
            "hostNetwork": True,
            "hostPID": True,
            "priorityClassName": "system-node-critical",
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "terminationGracePeriodSeconds": 10,
        },
    }


def _probes(host: str, port: int) -> dict[str, Any]:
    """As kubeadm's; but the start is looked for every second, and readiness, since a handshake costs, every ten."""

    def probe(path: str, failures: int, every: int = 10) -> dict[str, Any]:
        action = {"host": host, "path": path, "port": port, "scheme": "HTTPS"}
        return {"httpGet": action, "failureThreshold": failures, "periodSeconds": every, "timeoutSeconds": 15}

    return {
        "startupProbe": probe("/livez", 240, 1),
        "livenessProbe": probe("/livez", 8),
        "readinessProbe": probe("/readyz", 3),
    }

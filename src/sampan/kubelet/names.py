"""How pods and containers are named where the runtime keeps them: labels, annotations, log directories, hashes.

A kubelet that starts anew knows its containers by nothing else; and so do `crictl` and log collectors.

Source: kubernetes pkg/kubelet/types/labels.go, kuberuntime/{labels,helpers}.go, util/format/pod.go
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

Obj = dict[str, Any]
POD_NAME, POD_NAMESPACE, POD_UID = "io.kubernetes.pod.name", "io.kubernetes.pod.namespace", "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"
HASH, RESTARTS = "io.kubernetes.container.hash", "io.kubernetes.container.restartCount"
MESSAGE_PATH = "io.kubernetes.container.terminationMessagePath"
MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"
PRE_STOP, PORTS = "io.kubernetes.container.preStopHandler", "io.kubernetes.container.ports"
POD_GRACE, POD_DELETION_GRACE = "io.kubernetes.pod.terminationGracePeriod", "io.kubernetes.pod.deletionGracePeriod"
#: annotations of pods that do not come from the API server
SOURCE, MIRROR = "kubernetes.io/config.source", "kubernetes.io/config.mirror"


def uid_of(pod: Obj) -> str:
    return str(pod["metadata"]["uid"])


def pod_text(pod: Obj) -> str:
    """As messages name a pod."""
    meta = pod["metadata"]
    return f"{meta['name']}_{meta['namespace']}({meta['uid']})"


def is_static(pod: Obj) -> bool:
    return str((pod["metadata"].get("annotations") or {}).get(SOURCE, "api")) != "api"


def is_mirror(pod: Obj) -> bool:
    return MIRROR in (pod["metadata"].get("annotations") or {})


def is_sidecar(container: Obj) -> bool:
    """Of an init container: does it run beside the others?"""
    return bool(container.get("restartPolicy") == "Always")


def containers_of(pod: Obj) -> Iterator[Obj]:
    """Init containers, containers, ephemeral ones."""
    spec = pod["spec"]
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or ()


def field_path(pod: Obj, name: str) -> str:
    """Where a container stands in its pod, for events about it."""
    spec = pod["spec"]
    for field in ("initContainers", "containers", "ephemeralContainers"):
        if any(each["name"] == name for each in spec.get(field) or ()):
            return f"spec.{field}{{{name}}}"
    return ""


def log_directory(pod: Obj) -> str:
    """Below the directory of all pods' logs."""
    meta = pod["metadata"]
    return f"{meta['namespace']}_{meta['name']}_{meta['uid']}"


def log_path(container: str, restarts: int) -> str:
    return f"{container}/{restarts}.log"


def hash_of(container: Obj) -> str:
    """Changes when the container must be made anew: it has another image."""
    text = json.dumps({"name": container["name"], "image": container.get("image", "")}, sort_keys=True)
    return hashlib.blake2s(text.encode(), digest_size=4).hexdigest()


def pod_labels(pod: Obj) -> dict[str, str]:
    meta = pod["metadata"]
    own = {POD_NAME: meta["name"], POD_NAMESPACE: meta["namespace"], POD_UID: meta["uid"]}
    return {**(meta.get("labels") or {}), **own}


def container_labels(pod: Obj, container: Obj) -> dict[str, str]:
    meta = pod["metadata"]
    names = {POD_NAME: meta["name"], POD_NAMESPACE: meta["namespace"], POD_UID: meta["uid"]}
    return {CONTAINER_NAME: container["name"], **names}


def container_annotations(pod: Obj, container: Obj, restarts: int) -> dict[str, str]:
    """What is needed to end a container whose pod is gone, too."""
    out = {
        HASH: hash_of(container),
        RESTARTS: str(restarts),
        MESSAGE_PATH: container.get("terminationMessagePath", ""),
        MESSAGE_POLICY: container.get("terminationMessagePolicy", ""),
    }
    if "deletionGracePeriodSeconds" in pod["metadata"]:
        out[POD_DELETION_GRACE] = str(pod["metadata"]["deletionGracePeriodSeconds"])
    if "terminationGracePeriodSeconds" in pod["spec"]:
        out[POD_GRACE] = str(pod["spec"]["terminationGracePeriodSeconds"])
    if pre_stop := (container.get("lifecycle") or {}).get("preStop"):
        out[PRE_STOP] = json.dumps(pre_stop, separators=(",", ":"))
    if ports := container.get("ports"):
        out[PORTS] = json.dumps(ports, separators=(",", ":"))
    return out

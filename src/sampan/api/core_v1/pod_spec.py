"""Pod specs, wherever they stand: in pods, and in the templates of everything that makes pods. Defaults.

Validation is in `sampan.api.validation.pods`.

Source: kubernetes/pkg/apis/core/v1/defaults.go
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.api import quantity
from sampan.api.kind import Obj
from sampan.api.validation.resources import HUGE_PAGES, aggregate

DEFAULT_MODE = 0o644


def default_pod_template(template: Obj) -> None:
    """Fill a PodTemplateSpec in place."""
    default_pod_spec(template.setdefault("spec", {}))


def default_pod_spec(spec: Obj) -> None:
    """Fill a PodSpec in place."""
    if spec.get("serviceAccountName"):
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    elif spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    for volume in spec.get("volumes") or ():
        _volume(volume)
    for container in containers(spec):
        _container(container)
    for container in spec.get("ephemeralContainers") or ():
        _container(container)
    if spec.get("overhead"):
        round_quantities(spec["overhead"])


def containers(spec: Obj) -> Iterator[Obj]:
    """Init containers, then containers."""
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()


def default_requests(spec: Obj) -> None:
    """A pod's containers request what they are limited to, where they do not say."""
    for container in containers(spec):
        resources = container.get("resources") or {}
        limits = resources.get("limits")
        if limits:
            requests = dict(resources.get("requests") or {})
            for name, amount in limits.items():
                requests.setdefault(name, amount)
            container["resources"] = {**resources, "requests": requests}


def default_host_ports(spec: Obj) -> None:
    """On the host's network, the container's port is the host's."""
    for container in containers(spec) if spec.get("hostNetwork") else ():
        for port in container.get("ports") or ():
            if not port.get("hostPort") and port.get("containerPort"):
                port["hostPort"] = port["containerPort"]


def default_pod_level(spec: Obj) -> None:
    """What the pod as a whole asks for, where it says a part of it: what its containers do, or what limits it."""
    resources = spec.get("resources")
    if resources is None:
        return
    limits, requests = dict(resources.get("limits") or {}), dict(resources.get("requests") or {})
    for name, amount in aggregate(spec, "limits").items():
        if name.startswith(HUGE_PAGES):
            limits.setdefault(name, amount)
    for name, amount in aggregate(spec, "requests").items():
        if name in ("cpu", "memory"):
            requests.setdefault(name, amount)
    for name, amount in limits.items():
        if name in ("cpu", "memory") or name.startswith(HUGE_PAGES):
            requests.setdefault(name, amount)
    given = {name: amounts for name, amounts in (("limits", limits), ("requests", requests)) if amounts}
    spec["resources"] = {**resources, **given}


def round_quantities(amounts: dict[str, Any]) -> None:
    for name, amount in amounts.items():
        amounts[name] = quantity.round_up_milli(amount)


def _container(container: Obj) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(container.get("image", ""))
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    for port in container.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(name) is not None:
            _probe(container[name])
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict):
            _http_get(hook.get("httpGet"))
    for env in container.get("env") or ():
        ref = (env.get("valueFrom") or {}).get("fieldRef")
        if ref is not None and not ref.get("apiVersion"):
            ref["apiVersion"] = "v1"
    resources = container.get("resources") or {}
    for amounts in (resources.get("limits"), resources.get("requests")):
        if amounts:
            round_quantities(amounts)


def pull_policy(image: str) -> str:
    """`Always` for the tag `latest` and for no tag, unless there is a digest."""
    if "@" in image:
        return "IfNotPresent"
    _, colon, tag = image.rpartition("/")[2].partition(":")
    return "Always" if not colon or tag == "latest" else "IfNotPresent"


def _probe(probe: Obj) -> None:
    for name, value in (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)):
        if not probe.get(name):
            probe[name] = value
    _http_get(probe.get("httpGet"))
    if probe.get("grpc") is not None:
        probe["grpc"].setdefault("service", "")


def _http_get(action: Obj | None) -> None:
    if action is not None:
        if not action.get("path"):
            action["path"] = "/"
        if not action.get("scheme"):
            action["scheme"] = "HTTP"


def _volume(volume: Obj) -> None:
    if len(volume) == 1 and "name" in volume:
        volume["emptyDir"] = {}
    for name in ("secret", "configMap", "downwardAPI", "projected"):
        source = volume.get(name)
        if source is not None and source.get("defaultMode") is None:
            source["defaultMode"] = DEFAULT_MODE
    host_path = volume.get("hostPath")
    if host_path is not None and host_path.get("type") is None:
        host_path["type"] = ""
    _downward(volume.get("downwardAPI"))
    for source in (volume.get("projected") or {}).get("sources") or ():
        _downward(source.get("downwardAPI"))
        token = source.get("serviceAccountToken")
        if token is not None and token.get("expirationSeconds") is None:
            token["expirationSeconds"] = 3600
    claim = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
    if claim is not None and claim.get("spec") is not None:
        claim["spec"].setdefault("volumeMode", "Filesystem")
    image = volume.get("image")
    if image is not None and not image.get("pullPolicy"):
        image["pullPolicy"] = pull_policy(image.get("reference", ""))
    iscsi = volume.get("iscsi")
    if iscsi is not None:
        iscsi.setdefault("iscsiInterface", "default")


def _downward(source: Obj | None) -> None:
    for item in (source or {}).get("items") or ():
        ref = item.get("fieldRef")
        if ref is not None and not ref.get("apiVersion"):
            ref["apiVersion"] = "v1"


def qos_class(spec: Obj) -> str:
    """Guaranteed, Burstable or BestEffort. Source: kubernetes/pkg/apis/core/v1/helper/qos/qos.go"""
    pod_level = spec.get("resources") or {}
    groups = [pod_level] if pod_level.get("requests") or pod_level.get("limits") else None
    every = groups or [container.get("resources") or {} for container in containers(spec)]
    requests: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    guaranteed = True
    for resources in every:
        for name, amount in (resources.get("requests") or {}).items():
            if name in ("cpu", "memory") and quantity.parse(amount) > 0:
                requests[name] = requests.get(name, 0) + quantity.parse(amount)
        found = set()
        for name, amount in (resources.get("limits") or {}).items():
            if name in ("cpu", "memory") and quantity.parse(amount) > 0:
                found.add(name)
                limits[name] = limits.get(name, 0) + quantity.parse(amount)
        guaranteed = guaranteed and found == {"cpu", "memory"}
    if not requests and not limits:
        return "BestEffort"
    if (
        guaranteed
        and all(limits.get(name) == amount for name, amount in requests.items())
        and len(requests) == len(limits)
    ):
        return "Guaranteed"
    return "Burstable"

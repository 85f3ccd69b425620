"""What counts of a pod: where it is, its labels, and what its ports are called."""

from __future__ import annotations

from typing import Any, NamedTuple

Obj = dict[str, Any]


class Pod(NamedTuple):
    """`ports`: name, protocol in lower case, number."""

    namespace: str
    labels: dict[str, str]
    ip: str
    node: str
    ports: tuple[tuple[str, str, int], ...]


def pod_of(pod: Obj) -> Pod | None:
    """None: it has no address of its own, or not any more."""
    spec, status = pod["spec"], pod.get("status") or {}
    ips = [each["ip"] for each in status.get("podIPs") or () if ":" not in each["ip"]] or [status.get("podIP") or ":"]
    if spec.get("hostNetwork") or ":" in ips[0] or status.get("phase") in ("Succeeded", "Failed"):
        return None
    sidecars = (each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always")
    every = [*(spec.get("containers") or ()), *sidecars]
    ports = tuple(
        (port["name"], port.get("protocol", "TCP").lower(), port["containerPort"])
        for container in every
        for port in container.get("ports") or ()
        if port.get("name")
    )
    meta = pod["metadata"]
    return Pod(meta["namespace"], meta.get("labels") or {}, ips[0], spec.get("nodeName", ""), ports)

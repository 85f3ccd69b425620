"""Variables that tell a container where Services are: `KUBERNETES_SERVICE_HOST` always, and those of its namespace unless it
declines.

Source: kubernetes pkg/kubelet/envvars/envvars.go, kubelet_pods.go (getServiceEnvVarMap)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

Obj = dict[str, Any]


def variables(services: Iterable[Obj], namespace: str, links: bool) -> dict[str, str]:
    """`links`: those of the namespace, too."""
    chosen: dict[str, Obj] = {}
    for service in services:
        meta = service["metadata"]
        if service["spec"].get("clusterIP") in (None, "", "None"):
            continue
        if meta["namespace"] == "default" and meta["name"] == "kubernetes":
            chosen.setdefault(meta["name"], service)
        elif meta["namespace"] == namespace and links:
            chosen[meta["name"]] = service
    return {name: value for key in sorted(chosen) for name, value in _of_one(chosen[key])}


def _of_one(service: Obj) -> Iterator[tuple[str, str]]:
    spec, prefix = service["spec"], _name(service["metadata"]["name"])
    ip, ports = spec["clusterIP"], spec.get("ports") or ()
    if not ports:
        return
    host = f"[{ip}]" if ":" in ip else ip
    yield f"{prefix}_SERVICE_HOST", ip
    yield f"{prefix}_SERVICE_PORT", str(ports[0]["port"])
    for port in ports:
        if port.get("name"):
            yield f"{prefix}_SERVICE_PORT_{_name(port['name'])}", str(port["port"])
    for index, port in enumerate(ports):
        protocol, number = port.get("protocol") or "TCP", port["port"]
        url = f"{protocol.lower()}://{host}:{number}"
        if index == 0:
            yield f"{prefix}_PORT", url
        one = f"{prefix}_PORT_{number}_{protocol.upper()}"
        yield one, url
        yield f"{one}_PROTO", protocol.lower()
        yield f"{one}_PORT", str(number)
        yield f"{one}_ADDR", ip


def _name(text: str) -> str:
    out = text.replace(".", "_").replace("-", "_").upper()
    return f"_{out}" if out[:1].isdigit() else out

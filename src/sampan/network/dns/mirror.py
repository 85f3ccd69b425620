"""Keeps a `World` as the API has it: Services, EndpointSlices, Namespaces, and Pods where their names are verified.

What comes is cut down before it is kept, so that ten thousand Services cost a few megabytes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sampan.client import Client, Informer
from sampan.network.dns.world import SERVICE_NAME, World

Obj = dict[str, Any]
_META = ("name", "namespace", "uid", "resourceVersion")


@dataclass(frozen=True, slots=True)
class Watched:
    """`labels`: of Services, endpoints and pods; `namespace_labels`: of the namespaces that are shown."""

    endpoints: bool = True
    pods: bool = False
    labels: str = ""
    namespace_labels: str = ""


class Mirror:
    def __init__(self, client: Client, world: World, watched: Watched) -> None:
        self._informers: list[Informer] = []
        self._tasks: list[asyncio.Task[None]] = []
        add = self._add
        add(client, "namespaces", watched.namespace_labels, _bare, world.put_namespace, world.remove_namespace)
        add(client, "services", watched.labels, _service, world.put_service, world.remove_service)
        if watched.endpoints:
            what = "endpointslices.discovery.k8s.io"
            add(client, what, watched.labels, _slice, world.put_slice, world.remove_slice)
        if watched.pods:
            add(client, "pods", watched.labels, _pod, world.put_pod, world.remove_pod)

    def _add(
        self,
        client: Client,
        what: str,
        labels: str,
        cut: Callable[[Obj], Obj],
        put: Callable[[Obj], None],
        remove: Callable[[Obj], None],
    ) -> None:
        # nobody looks twice at what the handlers have taken
        informer = Informer(client, what, label_selector=labels, transform=cut, decoded_bytes=0)
        informer.add_handler(put, lambda _, new: put(new), remove)
        self._informers.append(informer)

    def start(self) -> None:
        self._tasks = [asyncio.create_task(each.run(), name=f"dns {each.resource.name}") for each in self._informers]

    @property
    def synced(self) -> bool:
        return all(each.has_synced for each in self._informers)

    async def wait_synced(self) -> None:
        for each in self._informers:
            await each.wait_synced()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)


def _bare(obj: Obj) -> Obj:
    meta = obj["metadata"]
    return {"metadata": {key: meta[key] for key in _META if key in meta}}


def _service(obj: Obj) -> Obj:
    spec = obj.get("spec") or {}
    kept = ["externalIPs"]
    if spec.get("type") == "ExternalName":
        kept += ["type", "externalName"]
    kept.append("clusterIP" if spec.get("clusterIP") == "None" else "clusterIPs")
    ports = [_port(each) for each in spec.get("ports") or ()]
    return {**_bare(obj), "spec": {**{key: spec[key] for key in kept if spec.get(key)}, "ports": ports}}


def _slice(obj: Obj) -> Obj:
    out = _bare(obj)
    name = (obj["metadata"].get("labels") or {}).get(SERVICE_NAME, "")
    out["metadata"]["labels"] = {SERVICE_NAME: name}
    out["ports"] = [_port(each) for each in obj.get("ports") or ()]
    out["endpoints"] = [_endpoint(each) for each in obj.get("endpoints") or ()]
    return out


def _endpoint(found: Obj) -> Obj:
    out = {key: found[key] for key in ("addresses", "hostname") if found.get(key)}
    if (found.get("conditions") or {}).get("ready") is False:
        out["conditions"] = {"ready": False}
    if target := (found.get("targetRef") or {}).get("name"):
        out["targetRef"] = {"name": target}
    return out


def _port(found: Obj) -> Obj:
    return {key: value for key in ("name", "protocol", "port") if (value := found.get(key)) and value != "TCP"}


def _pod(obj: Obj) -> Obj:
    status = obj.get("status") or {}
    return {**_bare(obj), "status": {key: status[key] for key in ("podIPs", "phase") if key in status}}

"""What there is to be named: namespaces, Services, endpoints and pods, cut down to what names are made of.

`epoch` changes whenever an answer may have; `modified` is when that was, in seconds since 1970.

Source: github.com/coredns/coredns plugin/kubernetes/object/{service,endpoint,pod}.go, controller.go (indexes)
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Obj = dict[str, Any]
SERVICE_NAME = "kubernetes.io/service-name"
NO_PORT = -1


@dataclass(frozen=True, slots=True)
class Port:
    """`protocol` in lower case."""

    name: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class Service:
    """`external_name`: that of a Service of type ExternalName, which then has no addresses."""

    namespace: str
    name: str
    addresses: tuple[str, ...]
    ports: tuple[Port, ...]
    headless: bool
    external_name: str
    external_addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    ip: str
    hostname: str
    target: str


@dataclass(frozen=True, slots=True)
class Slice:
    """The ready ones of an EndpointSlice."""

    service: str
    endpoints: tuple[Endpoint, ...]
    ports: tuple[Port, ...]


class World:
    """Keys are `namespace/name`. `clock`: seconds since 1970."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.epoch = 0
        self.modified = 0.0
        self.namespaces: set[str] = set()
        self.services: dict[str, Service] = {}
        #: by their own keys
        self._slices: dict[str, Slice] = {}
        # keys by what they are found by; tuples, as most have one
        self._slices_of: dict[str, tuple[str, ...]] = {}
        self._services_at: dict[str, tuple[str, ...]] = {}
        self._slices_at: dict[str, tuple[str, ...]] = {}
        self._pods: dict[str, tuple[str, ...]] = {}
        self._pods_at: dict[str, tuple[str, ...]] = {}

    def _changed(self) -> None:
        self.epoch += 1
        self.modified = self._clock()

    # -- what changes it -----------------------------------------------------------------------------------------------

    def put_namespace(self, obj: Obj) -> None:
        self.namespaces.add(obj["metadata"]["name"])
        self._changed()

    def remove_namespace(self, obj: Obj) -> None:
        self.namespaces.discard(obj["metadata"]["name"])
        self._changed()

    def put_service(self, obj: Obj) -> None:
        key, service = _key(obj), _service(obj)
        if self.services.get(key) == service:
            return
        self.remove_service(obj)
        self.services[key] = service
        _index(self._services_at, key, (*service.addresses, *service.external_addresses))
        self._changed()

    def remove_service(self, obj: Obj) -> None:
        key = _key(obj)
        old = self.services.pop(key, None)
        if old is not None:
            _unindex(self._services_at, key, (*old.addresses, *old.external_addresses))
            self._changed()

    def put_slice(self, obj: Obj) -> None:
        key, found = _key(obj), _slice(obj)
        if self._slices.get(key) == found:
            return
        self.remove_slice(obj)
        self._slices[key] = found
        _index(self._slices_of, key, (found.service,))
        _index(self._slices_at, key, (each.ip for each in found.endpoints))
        self._changed()

    def remove_slice(self, obj: Obj) -> None:
        key = _key(obj)
        old = self._slices.pop(key, None)
        if old is None:
            return
        _unindex(self._slices_of, key, (old.service,))
        _unindex(self._slices_at, key, (each.ip for each in old.endpoints))
        self._changed()

    def put_pod(self, obj: Obj) -> None:
        key = _key(obj)
        status = obj.get("status") or {}
        found = tuple(each["ip"] for each in status.get("podIPs") or () if each.get("ip"))
        if status.get("phase") in ("Succeeded", "Failed"):
            found = ()
        if self._pods.get(key, ()) != found:
            self.remove_pod(obj)
            self._pods[key] = found
            _index(self._pods_at, key, found)
            self._changed()

    def remove_pod(self, obj: Obj) -> None:
        key = _key(obj)
        old = self._pods.pop(key, None)
        if old:
            _unindex(self._pods_at, key, old)
            self._changed()

    # -- looking -------------------------------------------------------------------------------------------------------

    def services_at(self, ip: str) -> list[Service]:
        return [self.services[key] for key in self._services_at.get(ip, ())]

    def slices_at(self, ip: str) -> list[Slice]:
        return [self._slices[key] for key in self._slices_at.get(ip, ())]

    def slices_of(self, service: str) -> list[Slice]:
        return [self._slices[key] for key in self._slices_of.get(service, ())]

    def has_pod(self, namespace: str, ip: str) -> bool:
        return any(key.partition("/")[0] == namespace for key in self._pods_at.get(ip, ()))


def _key(obj: Obj) -> str:
    meta = obj["metadata"]
    return f"{meta['namespace']}/{meta['name']}"


def _service(obj: Obj) -> Service:
    spec = obj.get("spec") or {}
    external = spec.get("externalName") or "" if spec.get("type") == "ExternalName" else ""
    headless = spec.get("clusterIP") == "None"
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return Service(
        sys.intern(obj["metadata"]["namespace"]),
        obj["metadata"]["name"],
        () if headless or external else tuple(each for each in addresses if each),
        _ports(spec.get("ports")),
        headless,
        external,
        tuple(spec.get("externalIPs") or ()),
    )


def _slice(obj: Obj) -> Slice:
    meta = obj["metadata"]
    name = (meta.get("labels") or {}).get(SERVICE_NAME, "")
    found = []
    for each in obj.get("endpoints") or ():
        if (each.get("conditions") or {}).get("ready") is False:
            continue
        target = (each.get("targetRef") or {}).get("name", "")
        for ip in each.get("addresses") or ():
            # a pod's name may be too long to be part of one
            found.append(Endpoint(ip, each.get("hostname") or "", target if len(target) < 64 else ""))
    return Slice(f"{meta['namespace']}/{name}", tuple(found), _ports(obj.get("ports")))


def _ports(found: list[Obj] | None) -> tuple[Port, ...]:
    """One that is none where there are none, so that addresses have something to go with."""
    ports = (
        (each.get("name") or "", (each.get("protocol") or "TCP").lower(), each.get("port") or 0) for each in found or ()
    )
    return _shared(tuple(ports) or (("", "", NO_PORT),))


@functools.lru_cache(1024)
def _shared(ports: tuple[tuple[str, str, int], ...]) -> tuple[Port, ...]:
    """Most Services have the ports of many others."""
    return tuple(Port(*each) for each in ports)


def _index(index: dict[str, tuple[str, ...]], key: str, values: Iterable[str]) -> None:
    for value in dict.fromkeys(values):
        index[value] = (*index.get(value, ()), key)


def _unindex(index: dict[str, tuple[str, ...]], key: str, values: Iterable[str]) -> None:
    for value in dict.fromkeys(values):
        left = tuple(each for each in index.get(value, ()) if each != key)
        if left:
            index[value] = left
        else:
            index.pop(value, None)

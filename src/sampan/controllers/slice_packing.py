"""Endpoints into slices, so that little has to be written: who has a place keeps it, new ones fill slices that change
anyway, then one that has room, then new slices. No slice is written only to make better use of others.

Source: k8s.io/endpointslice/reconciler.go (reconcileByPortMapping), utils.go, trafficdist/trafficdist.go
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sampan.api.names import is_dns1123_subdomain
from sampan.controllers.pod_control import owner_reference

Obj = dict[str, Any]
MAX_ENDPOINTS = 100
CLOSE = ("PreferClose", "PreferSameZone", "PreferSameNode")
#: an endpoint's identity, and that of a set of ports
Key = tuple[Any, ...]
PortKey = frozenset[Key]


@dataclass(slots=True)
class Changes:
    """Slices to be written. Those to create have no name."""

    create: list[Obj] = field(default_factory=list)
    update: list[Obj] = field(default_factory=list)
    delete: list[Obj] = field(default_factory=list)

    def add(self, other: Changes) -> None:
        self.create += other.create
        self.update += other.update
        self.delete += other.delete

    def recycle(self, reusable: Callable[[Obj], bool]) -> None:
        """Update what would be deleted in place of creating what is to come."""
        for old in tuple(self.delete):
            if not self.create:
                return
            if old["addressType"] == self.create[-1]["addressType"] and reusable(old):
                new = self.create.pop()
                self.update.append({**new, "metadata": {**new["metadata"], "name": old["metadata"]["name"]}})
                self.delete.remove(old)

    def unchanged(self, existing: Iterable[Obj]) -> list[Obj]:
        changed = {slice_["metadata"]["name"] for slice_ in (*self.update, *self.delete)}
        return [slice_ for slice_ in existing if slice_["metadata"]["name"] not in changed]


def port_key(ports: Iterable[Obj] | None) -> PortKey:
    return frozenset(
        (port.get("name", ""), port.get("port"), port.get("protocol", "TCP"), port.get("appProtocol"))
        for port in ports or ()
    )


def endpoint_key(endpoint: Obj) -> Key:
    target = endpoint.get("targetRef") or {}
    addresses = tuple(sorted(endpoint["addresses"]))
    return addresses, endpoint.get("hostname", ""), target.get("namespace", ""), target.get("name", "")


def same(one: Obj, other: Obj) -> bool:
    """Of two endpoints with the same key: nothing to write."""
    return _beyond_key(one) == _beyond_key(other)


def _beyond_key(endpoint: Obj) -> Key:
    conditions = endpoint.get("conditions") or {}
    states = [conditions.get(name) for name in ("ready", "serving", "terminating")]
    target = {name: value for name, value in (endpoint.get("targetRef") or {}).items() if name != "resourceVersion"}
    return endpoint.get("nodeName"), endpoint.get("zone"), states, target


def endpoints_of(slice_: Obj) -> list[Obj]:
    return slice_.get("endpoints") or []


def new_slice(owner: Obj, family: str, ports: Sequence[Obj], labels: Mapping[str, str]) -> Obj:
    """An empty one of a Service or an Endpoints."""
    name = owner["metadata"]["name"]
    meta = {
        "generateName": name if is_dns1123_subdomain(f"{name}a") else f"{name}-",
        "namespace": owner["metadata"]["namespace"],
        "labels": dict(labels),
        "ownerReferences": [owner_reference(owner)],
    }
    return {"metadata": meta, "addressType": family, "ports": list(ports), "endpoints": []}


def pack(
    existing: Sequence[Obj],
    desired: dict[Key, Obj],
    labels: Mapping[str, str],
    outdated: Callable[[Obj], bool],
    make: Callable[[], Obj],
) -> Changes:
    """What to do to `existing` slices of one set of ports and one family so that they hold `desired`, which is used up.
    `outdated(slice)`: its labels are not `labels`. `make`: an empty slice."""
    changes = Changes()
    unchanged: list[Obj] = []
    for slice_ in existing:
        old = endpoints_of(slice_)
        kept, different = [], False
        for endpoint in old:
            wanted = desired.pop(endpoint_key(endpoint), None)
            if wanted is not None:
                kept.append(wanted)
                different = different or not same(wanted, endpoint)
        if old and not kept:
            changes.delete.append(slice_)
        elif different or len(kept) != len(old):
            meta = {**slice_["metadata"], "labels": dict(labels)}
            changes.update.append({**slice_, "metadata": meta, "endpoints": kept})
        elif outdated(slice_):
            meta = {**slice_["metadata"], "labels": dict(labels)}
            changes.update.append({**slice_, "metadata": meta, "endpoints": list(old)})
        else:
            unchanged.append(slice_)
    left = list(desired.values())
    desired.clear()
    # the fullest first
    for slice_ in sorted(changes.update, key=lambda slice_: -len(slice_["endpoints"])):
        left = _fill(slice_, left)
    while left:
        into = _with_room(unchanged, len(left))
        if into is None:
            changes.create.append(make())
            left = _fill(changes.create[-1], left)
        else:
            changes.update.append({**into, "endpoints": list(endpoints_of(into))})
            left = _fill(changes.update[-1], left)
    return changes


def _fill(slice_: Obj, left: list[Obj]) -> list[Obj]:
    """Puts in as many as go; those that did not."""
    room = max(0, MAX_ENDPOINTS - len(slice_["endpoints"]))
    slice_["endpoints"] += left[:room]
    return left[room:]


def _with_room(slices: Iterable[Obj], count: int) -> Obj | None:
    """The slice that is fullest once all of them are in."""
    if count >= MAX_ENDPOINTS:
        return None
    fitting = [slice_ for slice_ in slices if len(endpoints_of(slice_)) <= MAX_ENDPOINTS - count]
    return max(fitting, key=lambda slice_: len(endpoints_of(slice_)), default=None)


def hint(changes: Changes, existing: Sequence[Obj], distribution: str | None) -> None:
    """Tell from where each endpoint should be used, in slices that change, and in others where it is not what it was."""
    zones, nodes = distribution in CLOSE, distribution == "PreferSameNode"
    for slice_ in changes.unchanged(existing):
        endpoints = [_hinted(endpoint, zones, nodes) for endpoint in endpoints_of(slice_)]
        if endpoints != endpoints_of(slice_):
            changes.update.append({**slice_, "endpoints": endpoints})
    for slice_ in (*changes.create, *changes.update):
        slice_["endpoints"] = [_hinted(endpoint, zones, nodes) for endpoint in slice_["endpoints"]]


def _hinted(endpoint: Obj, zones: bool, nodes: bool) -> Obj:
    if zones and not (endpoint.get("conditions") or {}).get("ready"):
        return endpoint
    hints: Obj = {}
    if zones and endpoint.get("zone"):
        hints["forZones"] = [{"name": endpoint["zone"]}]
    if nodes and endpoint.get("nodeName"):
        hints["forNodes"] = [{"name": endpoint["nodeName"]}]
    if endpoint.get("hints") == (hints or None):
        return endpoint
    rest = {name: value for name, value in endpoint.items() if name != "hints"}
    return {**rest, "hints": hints} if hints else rest

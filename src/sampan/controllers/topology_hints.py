"""From which zone each endpoint of a service should be used, where the service's annotation asks for that: so that each zone
has as much of them as it has of the cluster's CPUs, and most in their own. Where that cannot be, no endpoint has a hint.

    hints = TopologyHints(nodes.cache)
    for type, reason, message in hints.assign(key, "IPv4", changes, existing): ...
    hints.nodes_changed()                      # and then look again at the services of `overloaded()`

Source: k8s.io/endpointslice/topologycache/{topologycache,sliceinfo,utils,event}.go
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from sampan.api import quantity
from sampan.client import Cache
from sampan.controllers.nodes import ZONE, condition
from sampan.controllers.slice_packing import Changes, endpoints_of, hint

Obj = dict[str, Any]
Event = tuple[str, str, str]
#: the older one counts where there are both
ANNOTATIONS = ("service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode")
#: nodes that have one of these have no part in it
ASIDE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
#: how much more than its part an endpoint may get
OVERLOAD = 0.2
NO_NODE_INFO = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
TOO_FEW = "Insufficient number of endpoints"
NO_BALANCE = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
NO_ZONE = "One or more endpoints do not have a zone specified"
NO_HINTS = "No hints allocated for zones"


def is_asked_for(service: Obj) -> bool:
    notes = service["metadata"].get("annotations") or {}
    said = next((notes[name] for name in ANNOTATIONS if name in notes), "")
    return said in ("Auto", "auto")


@dataclass(slots=True)
class Allocation:
    """How many endpoints a zone should have."""

    least: int
    most: int
    desired: float


class Impossible(Exception):
    """Why there are no hints."""


class TopologyHints:
    def __init__(self, nodes: Cache) -> None:
        self.nodes = nodes
        self._parts: dict[str, float] | None = None
        #: by service and family: endpoints of each zone
        self._given: dict[str, dict[str, Counter[str]]] = {}
        self._enabled: set[str] = set()

    def nodes_changed(self) -> None:
        self._parts = None

    def overloaded(self) -> list[str]:
        """Services of which some zone no longer has enough."""
        if not self._given:
            return []
        parts = self._zones()
        return [
            key
            for key, families in self._given.items()
            if any(_is_overloaded(counts, parts) for counts in families.values())
        ]

    def forget(self, key: str, family: str = "") -> None:
        """`family` empty: all of them."""
        families = self._given.get(key, {})
        for name in (family,) if family else tuple(families):
            families.pop(name, None)
        if not families:
            self._given.pop(key, None)
        self._enabled.discard(key)

    def end(self, key: str, family: str) -> list[Event]:
        """The service asks no more for this, if it did."""
        events = []
        if key in self._enabled:
            message = f"Topology Aware Hints has been disabled, addressType: {family}"
            events.append(("Warning", "TopologyAwareHintsDisabled", message))
        self.forget(key, family)
        return events

    def assign(self, key: str, family: str, changes: Changes, existing: Sequence[Obj]) -> list[Event]:
        """Hints in slices that change, and in others where they are not as they should be; what is to be told of it."""
        try:
            counts = self._assign(changes, existing)
        except Impossible as why:
            self.forget(key, family)
            hint(changes, existing, None)
            return [("Warning", "TopologyAwareHintsDisabled", f"{why}, addressType: {family}")]
        is_new = key not in self._enabled
        self._enabled.add(key)
        self._given.setdefault(key, {})[family] = counts
        message = f"Topology Aware Hints has been enabled, addressType: {family}"
        return [("Normal", "TopologyAwareHintsEnabled", message)] if is_new else []

    # -- zones ---------------------------------------------------------------------------------------------------------

    def _zones(self) -> dict[str, float]:
        """Each zone's part of all CPUs; nothing, where one cannot tell or there is only one zone."""
        if self._parts is None:
            self._parts = _parts(self.nodes.list())
        return self._parts

    def _allocations(self, total: int) -> dict[str, Allocation]:
        """Raises Impossible."""
        parts = self._zones()
        if not parts:
            raise Impossible(NO_NODE_INFO)
        counted = f"({total} endpoints, {len(parts)} zones)"
        if len(parts) > total:
            raise Impossible(f"{TOO_FEW} {counted}")
        out = {}
        for zone, part in parts.items():
            desired = part * total
            least = math.ceil(desired * (1 / (1 + OVERLOAD)))
            out[zone] = Allocation(least, 0, max(desired, float(least)))
        spare = total - sum(allocation.least for allocation in out.values())
        if spare < 0:
            raise Impossible(f"{NO_BALANCE} {counted}")
        for allocation in out.values():
            allocation.most = allocation.least + spare
        return out

    # -- endpoints -----------------------------------------------------------------------------------------------------

    def _assign(self, changes: Changes, existing: Sequence[Obj]) -> Counter[str]:
        """How many endpoints each zone has got. Raises Impossible."""
        unchanged = changes.unchanged(existing)
        total = sum(_is_ready(each) for each in _all((*changes.create, *changes.update, *unchanged)))
        allocations = self._allocations(total)
        counts: Counter[str] = Counter()
        for slice_ in unchanged:
            given = _given(slice_, counts, allocations)
            if given is None:
                changes.update.append({**slice_, "endpoints": list(endpoints_of(slice_))})
            else:
                counts.update(given)
        slices = (*changes.create, *changes.update)
        if any(_is_ready(each) and not each.get("zone") for each in _all(slices)):
            raise Impossible(NO_ZONE)
        counts.update(each["zone"] for each in _all(slices) if _is_ready(each))
        giving, receiving = _exchange(allocations, counts)
        for slice_ in slices:
            slice_["endpoints"] = [
                _for_zone(each, _move(each["zone"], giving, receiving, counts)) if _is_ready(each) else each
                for each in slice_["endpoints"]
            ]
        if not counts:
            raise Impossible(NO_HINTS)
        return counts


def _parts(nodes: Iterable[Obj]) -> dict[str, float]:
    cpus: dict[str, Fraction] = {}
    for node in nodes:
        labels = node["metadata"].get("labels") or {}
        if any(name in labels for name in ASIDE) or (condition(node, "Ready") or {}).get("status") != "True":
            continue
        cpu = quantity.parse(((node.get("status") or {}).get("allocatable") or {}).get("cpu", "0"))
        zone = labels.get(ZONE)
        if not zone or not cpu:
            return {}
        cpus[zone] = cpus.get(zone, Fraction(0)) + cpu
    total = sum(cpus.values())
    return {zone: float(cpus[zone] / total) for zone in sorted(cpus)} if len(cpus) > 1 else {}


def _all(slices: Iterable[Obj]) -> list[Obj]:
    return [endpoint for slice_ in slices for endpoint in endpoints_of(slice_)]


def _is_ready(endpoint: Obj) -> bool:
    return bool((endpoint.get("conditions") or {}).get("ready"))


def _for_zone(endpoint: Obj, zone: str) -> Obj:
    return {**endpoint, "hints": {"forZones": [{"name": zone}]}}


def _given(slice_: Obj, before: Mapping[str, int], allocations: Mapping[str, Allocation]) -> Counter[str] | None:
    """The zones that the hints of a slice name; None: they cannot stay so."""
    out: Counter[str] = Counter()
    for endpoint in endpoints_of(slice_):
        if _is_ready(endpoint):
            zones = [item["name"] for item in (endpoint.get("hints") or {}).get("forZones") or ()]
            if not zones or any(zone not in allocations for zone in zones):
                return None
            out.update(zones)
    if any(count + before.get(zone, 0) > allocations[zone].most for zone, count in out.items()):
        return None
    return out


def _exchange(allocations: Mapping[str, Allocation], counts: Mapping[str, int]) -> tuple[Counter[str], Counter[str]]:
    """How many endpoints each zone gives to others, and how many each gets."""
    over = {zone: counts.get(zone, 0) - allocation.desired for zone, allocation in allocations.items()}
    gives = {zone: more for zone, more in over.items() if more > 0}
    needs = {zone: -more for zone, more in over.items() if more < 0}
    giving: Counter[str] = Counter()
    receiving: Counter[str] = Counter()
    while gives and needs:
        giver, getter = max(gives, key=gives.__getitem__), max(needs, key=needs.__getitem__)
        most, least = max(gives[giver], needs[getter]), min(gives[giver], needs[getter])
        if most < 1 or least < 0.5:
            break
        giving[giver] += 1
        gives[giver] -= 1
        receiving[getter] += 1
        needs[getter] -= 1
    return giving, receiving


def _move(zone: str, giving: Counter[str], receiving: Counter[str], counts: Counter[str]) -> str:
    """The zone that an endpoint of `zone` is for: its own, unless that has one to give."""
    getter = next((name for name, count in receiving.items() if count), None)
    if getter is None or not giving[zone]:
        return zone
    giving[zone] -= 1
    receiving[getter] -= 1
    counts[zone] -= 1
    counts[getter] += 1
    return getter


def _is_overloaded(counts: Mapping[str, int], parts: Mapping[str, float]) -> bool:
    if not counts:
        return False
    total = sum(counts.values())
    least = {zone: math.ceil(total * part * (1 / (1 + OVERLOAD))) for zone, part in parts.items()}
    return not parts or any(zone not in counts or counts[zone] < least[zone] for zone in parts)

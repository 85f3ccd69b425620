"""endpointslice-mirroring-controller: Endpoints that somebody made by hand, for a service without selector, as slices, so
that who reads slices alone knows them too. Each subset becomes one slice for each address family.

Source: kubernetes/pkg/controller/endpointslicemirroring/{endpointslicemirroring_controller,reconciler,utils}.go
"""

from __future__ import annotations

import ipaddress
from typing import Any

from sampan.client import Controller, StatusError, split_key
from sampan.client.errors import is_namespace_terminating, is_not_found
from sampan.controllers import service_pods
from sampan.controllers.context import Context
from sampan.controllers.endpoint_slices import SLICES
from sampan.controllers.endpoints import LEADER
from sampan.controllers.service_pods import TRIGGER_TIME
from sampan.controllers.slice_packing import Changes, endpoint_key, endpoints_of, new_slice, port_key, same
from sampan.controllers.slice_tracker import (
    MANAGED_BY,
    SERVICE,
    SERVICE_NAME,
    TIMEOUT,
    SliceTracker,
    SliceWatch,
    by_service,
    manager_of,
)

Obj = dict[str, Any]
MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
MAX_ADDRESSES = 1000


class EndpointSliceMirroring:
    def __init__(self, context: Context) -> None:
        self.client = context.clients("endpointslicemirroring-controller")
        self.recorder = context.recorders("endpoint-slice-mirroring-controller", self.client)
        self.services = context.informers.get("services")
        self.endpoints = context.informers.get("endpoints")
        self.slices = context.informers.get(SLICES, indexers={SERVICE: by_service})
        self.controller = Controller(
            "endpointslice-mirroring-controller",
            self.reconcile,
            workers=context.options.concurrent_syncs,
            synced=(self.services, self.endpoints, self.slices),
            limiter=service_pods.limiter(),
            max_retries=service_pods.MAX_RETRIES,
        )
        self.tracker = SliceTracker()
        self.controller.listen(self.endpoints, self._endpoints, self._endpoints_changed, self._endpoints)
        self.controller.listen(self.services, self._service, self._service_changed, self._service)
        watch = SliceWatch(self.tracker, MANAGER, self.controller.queue.add_after)
        self.controller.listen(self.slices, watch.shown, watch.changed, watch.gone)

    async def run(self) -> None:
        await self.controller.run()

    # -- what wakes it -------------------------------------------------------------------------------------------------

    def _endpoints(self, endpoints: Obj) -> None:
        if is_mirrored(endpoints):
            self.controller.enqueue(endpoints)

    def _endpoints_changed(self, old: Obj, new: Obj) -> None:
        if is_mirrored(old) or is_mirrored(new):
            self.controller.enqueue(new)

    def _service(self, service: Obj) -> None:
        if not service["spec"].get("selector"):
            self.controller.enqueue(service)

    def _service_changed(self, old: Obj, new: Obj) -> None:
        if bool(old["spec"].get("selector")) != bool(new["spec"].get("selector")):
            self.controller.enqueue(new)

    # -- what it does --------------------------------------------------------------------------------------------------

    async def reconcile(self, key: str) -> float | None:
        endpoints, service = self.endpoints.cache.by_key(key), self.services.cache.by_key(key)
        shown = self.slices.cache.by_index(SERVICE, key)
        existing = [slice_ for slice_ in shown if manager_of(slice_) == MANAGER]
        if endpoints is None or service is None or service["spec"].get("selector") or not is_mirrored(endpoints):
            self.tracker.forget(key)
            await self._write(key, Changes(delete=existing), going=True)
            return None
        if self.tracker.stale(key, shown):
            return TIMEOUT
        changes = self._changes(endpoints, existing)
        await self._write(key, changes, going="deletionTimestamp" in endpoints["metadata"])
        return None

    def _changes(self, endpoints: Obj, existing: list[Obj]) -> Changes:
        found: dict[Any, list[Obj]] = {}
        for slice_ in existing:
            found.setdefault((slice_["addressType"], port_key(slice_.get("ports"))), []).append(slice_)
        changes = Changes()
        for (family, key), (ports, desired) in self._desired(endpoints).items():
            there = found.pop((family, key), [])
            changes.delete += there[1:]
            new = {**new_slice(endpoints, family, ports, _labels(endpoints)), "endpoints": list(desired.values())}
            if annotations := _annotations(endpoints):
                new["metadata"]["annotations"] = annotations
            if not there:
                changes.create.append(new)
            elif not _is_right(there[0], new, desired):
                changes.update.append({**new, "metadata": {**new["metadata"], "name": there[0]["metadata"]["name"]}})
        for slices in found.values():
            changes.delete += slices
        changes.recycle(lambda slice_: True)
        return changes

    def _desired(self, endpoints: Obj) -> dict[Any, tuple[list[Obj], dict[Any, Obj]]]:
        """By family and ports."""
        out: dict[Any, tuple[list[Obj], dict[Any, Obj]]] = {}
        invalid = skipped = 0
        for subset in endpoints.get("subsets") or ():
            ports = [{"name": "", "protocol": "TCP", **port} for port in subset.get("ports") or ()]
            count = 0
            for name, ready in (("addresses", True), ("notReadyAddresses", False)):
                for address in subset.get(name) or ():
                    if count == MAX_ADDRESSES:
                        skipped += 1
                        continue
                    made = _endpoint(address, ready)
                    if made is None:
                        invalid += 1
                        continue
                    count += 1
                    family, endpoint = made
                    _, desired = out.setdefault((family, port_key(ports)), (ports, {}))
                    desired[endpoint_key(endpoint)] = endpoint
        if invalid:
            message = f"Skipped {invalid} invalid IP addresses when mirroring to EndpointSlices"
            self.recorder.event(endpoints, "Warning", "InvalidIPAddress", message)
        if skipped:
            message = (
                f"A max of {MAX_ADDRESSES} addresses can be mirrored to EndpointSlices per Endpoints subset. "
                f"{skipped + invalid} addresses were skipped"
            )
            self.recorder.event(endpoints, "Warning", "TooManyAddressesToMirror", message)
        return out

    async def _write(self, key: str, changes: Changes, *, going: bool) -> None:
        namespace, _ = split_key(key)
        for slice_ in () if going else changes.create:
            try:
                self.tracker.wrote(key, await self.client.create(SLICES, slice_))
            except StatusError as error:
                if is_namespace_terminating(error):
                    return
                raise
        for slice_ in changes.update:
            self.tracker.wrote(key, await self.client.update(SLICES, slice_))
        for slice_ in changes.delete:
            try:
                await self.client.delete(SLICES, slice_["metadata"]["name"], namespace)
            except StatusError as error:
                if not is_not_found(error):
                    raise
            if not going:
                self.tracker.deleted(key, slice_)


def is_mirrored(endpoints: Obj) -> bool:
    """As far as they themselves say: it also takes a service without selector."""
    meta = endpoints["metadata"]
    return (meta.get("labels") or {}).get(SKIP) != "true" and LEADER not in (meta.get("annotations") or {})


def _labels(endpoints: Obj) -> dict[str, str]:
    meta = endpoints["metadata"]
    return {**(meta.get("labels") or {}), SERVICE_NAME: meta["name"], MANAGED_BY: MANAGER}


def _annotations(endpoints: Obj) -> dict[str, str]:
    found = endpoints["metadata"].get("annotations") or {}
    return {name: value for name, value in found.items() if name not in (TRIGGER_TIME, LAST_APPLIED)}


def _endpoint(address: Obj, ready: bool) -> tuple[str, Obj] | None:
    """Family and endpoint; None where the address is not one."""
    try:
        ip = ipaddress.ip_address(address["ip"])
    except ValueError:
        return None
    out: Obj = {"addresses": [str(ip)], "conditions": {"ready": ready}}
    for name in ("targetRef", "nodeName", "hostname"):
        if address.get(name):
            out[name] = address[name]
    return f"IPv{ip.version}", out


def _is_right(slice_: Obj, new: Obj, desired: dict[Any, Obj]) -> bool:
    there = {endpoint_key(endpoint): endpoint for endpoint in endpoints_of(slice_)}
    if there.keys() != desired.keys() or len(there) != len(endpoints_of(slice_)):
        return False
    meta, wanted = slice_["metadata"], new["metadata"]
    if meta.get("labels") != wanted["labels"] or (meta.get("annotations") or {}) != wanted.get("annotations", {}):
        return False
    return all(same(endpoint, there[key]) for key, endpoint in desired.items())

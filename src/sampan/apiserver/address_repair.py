"""IPAddresses that somebody took away or changed come back, as long as a Service has them; those that stand for no Service go.

The server writes both in one transaction, so that there is nothing to do unless somebody else meddles.

Source: kubernetes/pkg/registry/core/service/ipallocator/controller/repairip.go
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import orjson

from sampan.api.kind import Obj
from sampan.api.times import format_micro_time, parse_time
from sampan.api.user import ALL_AUTHENTICATED, MASTERS, User
from sampan.apiserver.allocators import Allocators, addresses
from sampan.apiserver.cache import Entry, EventType, Watcher
from sampan.http.server.messages import Request, Response

if TYPE_CHECKING:
    from sampan.apiserver.api import Api

log = logging.getLogger("sampan.apiserver")
NAME = "ipallocator-repair-controller"
FAMILY, MANAGED_BY = "ipaddress.kubernetes.io/ip-family", "ipaddress.kubernetes.io/managed-by"
ALLOCATOR = "ipallocator.k8s.io"
LOOPBACK = User("system:apiserver", (MASTERS, ALL_AUTHENTICATED))
ADDRESSES = "/apis/networking.k8s.io/v1/ipaddresses"
#: a Service that is under way has that long to come
LEAKED_SECONDS = 60.0
_PARENT = ("group", "resource", "namespace", "name")
Send = Callable[[Request], Response | Awaitable[Response]]


class AddressRepair:
    """Follows IPAddresses from `start` to `stop`. `send` is the server's front door, behind the socket."""

    def __init__(self, api: Api, send: Send) -> None:
        self._api = api
        self._send = send
        self._addresses = api.cached("networking.k8s.io", "ipaddresses")
        self._services = api.cached("", "services")
        #: addresses to look at, and the IPAddress as it was
        self._due: dict[str, Obj] = {}
        self._wake = asyncio.Event()
        self._watcher = Watcher("", "", None, self._came)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._addresses.watchers.add(self._watcher)
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        self._addresses.watchers.discard(self._watcher)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _came(self, entry: Entry, kind: EventType) -> None:
        self._add(entry.record.key, entry.record.obj())

    def _add(self, key: str, obj: Obj) -> None:
        self._due[key] = obj
        self._wake.set()

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._due:
                key, obj = self._due.popitem()
                await self._settle(key, obj)

    async def _settle(self, address: str, last: Obj) -> None:
        parent = last["spec"]["parentRef"]
        is_service = not parent.get("group") and parent.get("resource") == "services"
        where = f"{parent.get('namespace', '')}/{parent['name']}"
        found = self._services.get(where) if is_service else None
        service = found.obj() if found is not None else None
        record = self._addresses.get(address)
        if service is not None and address in addresses(service):
            family = f"IPv{ipaddress.ip_address(address).version}"
            if record is None:
                note = f"Cluster IP [{family}]: {address} is not allocated; repairing"
                await self._tell(service, "ClusterIPNotAllocated", "ClusterIPAllocation", note)
                await self._make(address, service)
            elif (record.labels or {}).get(FAMILY) != family or (record.labels or {}).get(MANAGED_BY) != ALLOCATOR:
                await self._call("DELETE", f"{ADDRESSES}/{address}", {})
                await self._make(address, service)
            return
        if record is None or (record.labels or {}).get(MANAGED_BY) != ALLOCATOR:
            return
        now = record.obj()
        reason, note = "IPAddressNotAllocated", f"IPAddress: {address} for Service {where} appears to have leaked: "
        if not is_service:
            shown = ",".join(f"{name.capitalize()}:{parent.get(name, '')}" for name in _PARENT)
            changed = "appears to have been modified, not referencing a Service"
            note = f"IPAddress {address} {changed} &ParentReference{{{shown},}}: "
        elif service is not None:
            reason, note = (
                "IPAddressWrongReference",
                f"IPAddress: {address} for Service {where} has a wrong reference; ",
            )
        else:
            left = parse_time(now["metadata"]["creationTimestamp"]) + LEAKED_SECONDS - self._api.clock()
            if left > 0:
                asyncio.get_running_loop().call_later(left, self._add, address, now)
                return
        await self._tell(now, reason, "IPAddressAllocation", note + "cleaning up")
        await self._call("DELETE", f"{ADDRESSES}/{address}", {})

    async def _make(self, address: str, service: Obj) -> None:
        await self._call("POST", ADDRESSES, Allocators.ip_object(self._api, address, service))

    async def _tell(self, about: Obj, reason: str, action: str, note: str) -> None:
        meta = about["metadata"]
        namespace = meta.get("namespace") or "default"
        regarding = {name: about[name] for name in ("kind", "apiVersion")}
        regarding |= {name: meta[name] for name in ("namespace", "name", "uid", "resourceVersion") if meta.get(name)}
        event = {
            "metadata": {"name": f"{meta['name']}.{int(self._api.clock() * 1e9):x}", "namespace": namespace},
            "eventTime": format_micro_time(self._api.clock()), "reportingController": NAME, "reportingInstance": NAME,
            "action": action, "reason": reason, "regarding": regarding, "note": note, "type": "Warning",
        }  # fmt: skip
        await self._call("POST", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events", event)

    async def _call(self, method: str, path: str, body: Obj) -> None:
        headers = {"user-agent": NAME, "content-type": "application/json"}
        request = Request(method, path, "", headers, [], orjson.dumps(body), scratch={"user": LOOPBACK})
        result = self._send(request)
        reply = result if isinstance(result, Response) else await result
        if reply.code >= 400 and reply.code not in (404, 409):
            log.warning("%s: %s %s answered %d", NAME, method, path, reply.code)

"""ClusterRoles that are put together from others: their rules follow those that their selectors find.

Upstream's controller does this through the API, and so do we: `Aggregation` sees a change in the cache and applies the
new rules as `system:serviceaccount:kube-system:clusterrole-aggregation-controller`.

Source: kubernetes/pkg/controller/clusterroleaggregation/clusterroleaggregation_controller.go
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote

import orjson

from sampan.api.kind import Obj
from sampan.api.selectors import label_selector_from
from sampan.api.user import ALL_AUTHENTICATED, User
from sampan.apiserver.authorization.rules import Rule
from sampan.apiserver.cache import Entry, EventType, Record, Watcher
from sampan.http.server.messages import Request, Response

if TYPE_CHECKING:
    from sampan.apiserver.api import Api

log = logging.getLogger("sampan.apiserver")
NAME = "clusterrole-aggregation-controller"
CONTROLLER = User(
    f"system:serviceaccount:kube-system:{NAME}",
    ("system:serviceaccounts", "system:serviceaccounts:kube-system", ALL_AUTHENTICATED),
)
CLUSTER_ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles/"
RETRY_SECONDS = (1.0, 30.0)


def aggregated(role: Obj, roles: Iterable[Obj]) -> list[Rule]:
    """The rules that `role` gathers from `roles`: in order of selectors and names, each once."""
    roles = sorted(roles, key=lambda other: str(other["metadata"]["name"]))
    out: dict[bytes, Rule] = {}
    for selector in role["aggregationRule"].get("clusterRoleSelectors") or ():
        chosen = label_selector_from(selector)
        for other in roles:
            meta = other["metadata"]
            if meta["name"] != role["metadata"]["name"] and chosen.matches(meta.get("labels")):
                for rule in other.get("rules") or ():
                    out.setdefault(orjson.dumps(rule, option=orjson.OPT_SORT_KEYS), rule)
    return list(out.values())


class Aggregation:
    """Keeps the aggregated roles of one server. `send` is the server's front door, behind the socket."""

    def __init__(self, api: Api, send: Callable[[Request], Response | Awaitable[Response]]) -> None:
        self.cache = api.cached("rbac.authorization.k8s.io", "clusterroles")
        self.send = send
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.cache.watchers.add(Watcher("", "", None, self._came))
        self._changed.set()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _came(self, entry: Entry, kind: EventType) -> None:
        """Only roles with labels feed others."""
        before = entry.before
        if entry.record.labels or (before is not None and before.labels) or _gathers(entry.record):
            self._changed.set()

    async def _run(self) -> None:
        wait, longest = RETRY_SECONDS
        while True:
            await self._changed.wait()
            self._changed.clear()
            if await self.settle():
                wait = RETRY_SECONDS[0]
            else:
                await asyncio.sleep(wait)
                wait = min(wait * 2, longest)
                self._changed.set()

    async def settle(self) -> bool:
        """Apply what has changed; False when a write failed."""
        well = True
        records = list(self.cache.records.values())
        feeding = [record.obj() for record in records if record.labels]
        for record in records:
            if not _gathers(record):
                continue
            role = record.obj()
            if not role.get("aggregationRule"):
                continue
            try:
                rules = aggregated(role, feeding)
            except ValueError as error:
                log.warning("cluster role %s: %s", record.name, error)
                continue
            if rules != (role.get("rules") or []):
                well = await self._apply(record.name, rules) and well
        return well

    async def _apply(self, name: str, rules: list[Rule]) -> bool:
        body = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": rules,
        }
        headers = {"content-type": "application/apply-patch+yaml", "user-agent": NAME}
        path, query = CLUSTER_ROLES + quote(name, safe=""), f"fieldManager={NAME}&force=true"
        request = Request("PATCH", path, query, headers, list(headers.items()), orjson.dumps(body), None, None)
        request.scratch["user"] = CONTROLLER
        reply = self.send(request)
        if not isinstance(reply, Response):
            reply = await reply
        if reply.code not in (200, 201, 404):
            log.warning("cluster role %s was not aggregated: %d", name, reply.code)
        return reply.code in (200, 201, 404)


def _gathers(record: Record) -> bool:
    return b'"aggregationRule"' in record.value

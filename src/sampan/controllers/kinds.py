"""Which resources the API serves, as definitions and API services come and go: for controllers that work on all kinds.

    kinds = Kinds(context, client, changed)
    ...
    await kinds.run()         # until cancelled; `changed()` is called after each look that found something new

Upstream asks discovery every 30 seconds; here a change of a CustomResourceDefinition or an APIService is what makes it
ask. A definition that is established but not served yet (another API server took it in) is asked for again.

Source: kubernetes/pkg/controller/garbagecollector/garbagecollector.go (Sync, GetDeletableResources)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Any

from sampan.client import Client, Discovered, Discovery, HttpError, Resource, StatusError
from sampan.controllers.context import Context

Obj = dict[str, Any]
log = logging.getLogger("sampan.controller")
FIRST, LONGEST = 0.05, 30.0
#: changes that come together are one look
TOGETHER_SECONDS = 0.02


class Kinds:
    """`resources`: each resource once, in the preferred version; `resource_of` finds those of all versions."""

    def __init__(self, context: Context, client: Client, changed: Callable[[], object]) -> None:
        self.discovery = Discovery(client)
        self.changed = changed
        self.definitions = context.informers.get("customresourcedefinitions.apiextensions.k8s.io")
        self.services = context.informers.get("apiservices.apiregistration.k8s.io")
        self.resources: tuple[Discovered, ...] = ()
        self.error: Exception | None = None
        self._all: dict[tuple[str, str], Resource] = {}
        self._due = asyncio.Event()
        self._ready = asyncio.Event()
        self._wanted = asyncio.Event()
        self.definitions.add_handler(self._wake, self._updated, self._wake)
        self.services.add_handler(self._wake, self._updated, self._wake)

    def supporting(self, *verbs: str) -> list[Resource]:
        return [found.resource for found in self.resources if set(verbs) <= set(found.verbs)]

    def resource_of(self, api_version: str, kind: str) -> Resource | None:
        return self._all.get((api_version, kind))

    async def wait(self) -> None:
        """Until it has been asked. Before the first who waits, nobody is asked."""
        self._wanted.set()
        await self._ready.wait()

    async def run(self) -> None:
        await self.definitions.wait_synced()
        await self.services.wait_synced()
        await self._wanted.wait()
        wait = FIRST
        self._due.set()
        while True:
            await self._due.wait()
            await asyncio.sleep(TOGETHER_SECONDS)
            self._due.clear()
            if await self.refresh():
                wait = FIRST
            else:
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST)
                self._due.set()

    async def refresh(self) -> bool:
        """Ask now. False: something is missing yet."""
        try:
            every = await self.discovery.all(fresh=True)
        except (StatusError, HttpError) as error:
            log.warning("failed to discover resources: %s", error)
            self.error = error
            return False
        self.error = None
        self._all = {(found.resource.api_version, found.resource.kind): found.resource for found in every}
        # what only another than the group's preferred version has, counts in that one
        once: dict[tuple[str, str], Discovered] = {}
        for found in sorted(every, key=lambda found: not found.preferred):
            once.setdefault((found.resource.group, found.resource.name), found)
        resources = tuple(once.values())
        if resources != self.resources:
            self.resources = resources
            self.changed()
        self._ready.set()
        return self._complete({(found.resource.group, found.resource.name) for found in every})

    def _complete(self, served: Collection[tuple[str, str]]) -> bool:
        for definition in self.definitions.cache.list():
            spec = definition["spec"]
            missing = (spec["group"], spec["names"]["plural"]) not in served
            if missing and _served(definition)[-1] == "True" and "deletionTimestamp" not in definition["metadata"]:
                return False
        return True

    def _wake(self, obj: Obj) -> None:
        self._due.set()

    def _updated(self, old: Obj, new: Obj) -> None:
        if _served(old) != _served(new):
            self._due.set()


def _served(obj: Obj) -> tuple[Any, ...]:
    """What of a definition or an API service decides about what is served."""
    wanted = ("Established", "Available")
    conditions = (obj.get("status") or {}).get("conditions") or ()
    state = next((item["status"] for item in conditions if item["type"] in wanted), "")
    versions = tuple((item["name"], item["served"]) for item in obj["spec"].get("versions") or ())
    return (obj["metadata"]["uid"], (obj.get("status") or {}).get("acceptedNames"), versions, state)

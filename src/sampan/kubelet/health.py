"""Is the runtime there, and what happened to its containers: a look every few seconds, and its events as they come.

A runtime without events (containerd before 1.7) is asked for all its containers every second instead; and one that tells of them is
asked, too, but rarely: an event that was lost is made up for.

Source: kubernetes pkg/kubelet/{kubelet.go updateRuntimeUp, runtime.go}, pkg/kubelet/pleg/{generic,evented}.go
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from sampan.kubelet import names
from sampan.kubelet.cri import Cri, CriFailed
from sampan.kubelet.observed import Reader
from sampan.kubelet.parts import Runtime

log = logging.getLogger("sampan.kubelet")
LOOK_SECONDS, SOON_SECONDS, RELIST_SECONDS, RARE_SECONDS = 5.0, 0.25, 1.0, 60.0


class Health:
    """`changed` is called with the uid of a pod whose containers are not as they were, `heard` with an event of one; `back` when the runtime answers (again)."""

    def __init__(
        self, cri: Cri, reader: Reader, runtime: Runtime, changed: Callable[[str], None], back: Callable[[], Awaitable[None]],
        told: Callable[[], None], heard: Callable[[str, Any], None],
    ) -> None:  # fmt: skip
        self._heard = heard
        self._cri = cri
        self._reader = reader
        self._runtime = runtime
        self._changed = changed
        self._back = back
        self._told = told
        self._last: dict[str, tuple[tuple[str, int], ...]] | None = None
        self._again = asyncio.Event()
        self._streams = True
        self._away = True

    @property
    def pods(self) -> dict[str, tuple[tuple[str, int], ...]]:
        """By uid: sandboxes and containers, as they were when they were last all looked at."""
        return self._last or {}

    # -- is it there? --------------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Once. What it finds is in `Runtime`."""
        runtime = self._runtime
        before = runtime.problem, runtime.network, bool(runtime.name)
        try:
            reply = await self._cri.Status()
            if self._away:
                await self._meet()
        except CriFailed as error:
            if not self._away:
                log.error("the container runtime does not answer: %s", error)
            self._away = True
            if not runtime.answered:
                runtime.problem = "container runtime status check may not have completed yet"
            self._told()
            return
        runtime.answered = asyncio.get_running_loop().time()
        conditions = {each.type: each for each in reply.status.conditions}
        ready, network = conditions.get("RuntimeReady"), conditions.get("NetworkReady")
        runtime.problem = (
            "" if ready is not None and ready.status else f"container runtime not ready: {_text('RuntimeReady', ready)}"
        )
        runtime.network = ""
        if network is None or not network.status:
            runtime.network = f"container runtime network not ready: {_text('NetworkReady', network)}"
        runtime.supplemental_groups = reply.features.supplemental_groups_policy
        runtime.handlers = [
            {"name": each.name, "features": {
                "recursiveReadOnlyMounts": each.features.recursive_read_only_mounts,
                "userNamespaces": each.features.user_namespaces,
            }}
            for each in reply.runtime_handlers
        ]  # fmt: skip
        runtime.recursive_read_only = any(each.features.recursive_read_only_mounts for each in reply.runtime_handlers)
        if before != (runtime.problem, runtime.network, bool(runtime.name)):
            self._told()

    async def _meet(self) -> None:
        """It was not there before. Raises CriFailed."""
        version = await self._cri.Version(version="v1")
        self._runtime.name, self._runtime.version = version.runtime_name, version.runtime_version
        try:
            driver = (await self._cri.RuntimeConfig()).linux.cgroup_driver
            self._runtime.driver = ("systemd", "cgroupfs")[driver]
        except CriFailed as error:
            if error.code != "UNIMPLEMENTED":
                raise
        self._away = False
        await self._back()
        self._again.set()

    async def watch_status(self) -> None:
        while True:
            # told of addresses, containerd is ready a moment later, and says nothing
            await asyncio.sleep(1.0 if self._away else SOON_SECONDS if self._runtime.network else LOOK_SECONDS)
            await self.look()

    def hurry(self) -> None:
        """Look at all containers now."""
        self._again.set()

    # -- what happened? ------------------------------------------------------------------------------------------------

    async def relist(self) -> None:
        """Raises CriFailed."""
        found = await self._reader.relist()
        self._runtime.looked = asyncio.get_running_loop().time()
        last, self._last = self._last, found
        if last is not None:
            for uid in {*found, *last}:
                if found.get(uid) != last.get(uid):
                    self._changed(uid)

    async def watch_containers(self) -> None:
        events = asyncio.create_task(self._listen(), name="events of the runtime")
        try:
            while True:
                self._again.clear()
                seconds = RELIST_SECONDS
                try:
                    await self.relist()
                    seconds = RARE_SECONDS if self._streams and not self._away else RELIST_SECONDS
                except CriFailed as error:
                    log.debug("cannot list containers: %s", error)
                try:
                    async with asyncio.timeout(seconds):
                        await self._again.wait()
                except TimeoutError:
                    continue
        finally:
            events.cancel()
            await asyncio.gather(events, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            try:
                async for event in self._cri.events():
                    if uid := event.pod_sandbox_status.labels.get(names.POD_UID):
                        self._heard(uid, event)
            except CriFailed as error:
                if error.code == "UNIMPLEMENTED":
                    log.info("the runtime does not tell of its containers: they are listed every second")
                    self._streams = False
                    self._again.set()
                    return
                log.debug("events of the runtime: %s", error)
            # what happened meanwhile is found by looking
            self._again.set()
            await asyncio.sleep(RELIST_SECONDS)


def _text(kind: str, found: Any) -> str:
    if found is None:
        return f"{kind}=false reason: message:"
    return f"{kind}={'true' if found.status else 'false'} reason:{found.reason} message:{found.message}"

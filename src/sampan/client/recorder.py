"""What every recorder of events does: take them without waiting, write them in order, try again while nobody answers.

At most a thousand wait to be written; more are dropped.

Source: client-go/tools/record/event.go, client-go/tools/reference/ref.go
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Self

from sampan.api.errors import StatusError
from sampan.api.names import is_dns1123_subdomain
from sampan.client.client import Client
from sampan.client.errors import is_already_exists, is_namespace_terminating
from sampan.http import HttpError

log = logging.getLogger("sampan.client")
Obj = dict[str, Any]
Clock = Callable[[], float]
MAX_QUEUED = 1000
MAX_TRIES = 12
RETRY_SECONDS = 10.0
TYPES = ("Normal", "Warning")


def reference(obj: Obj, field_path: str = "") -> Obj:
    """An ObjectReference to an object; one that already is a reference stays as it is."""
    if "metadata" not in obj:
        return obj
    meta = obj["metadata"]
    out = {"kind": obj.get("kind", ""), "namespace": meta.get("namespace", ""), "name": meta.get("name", "")}
    out |= {"uid": meta.get("uid", ""), "apiVersion": obj.get("apiVersion", "")}
    out |= {"resourceVersion": meta.get("resourceVersion", ""), "fieldPath": field_path}
    return {name: value for name, value in out.items() if value}


class Recorder:
    """The queue and the tasks that empty it, in order: one, or `writers` of them, which write several events at once but
    never two of one name."""

    writers = 1
    max_queued = MAX_QUEUED

    def __init__(self, client: Client, clock: Clock, rng: random.Random | None) -> None:
        self.client = client
        self.clock = clock
        self.rng = rng or random.Random()
        self.dropped = 0
        self._queue: deque[Obj] = deque()
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: list[asyncio.Task[None]] = []
        self._writing: dict[str, asyncio.Event] = {}
        self._last_nanoseconds = 0
        # what a clock that counts in floats cannot tell apart, so that components seldom find one name at one instant
        self._own_nanoseconds = self.rng.getrandbits(8)

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def start(self) -> None:
        if not self._tasks:
            self._tasks = [asyncio.create_task(self.run(), name="events") for _ in range(self.writers)]

    @property
    def waiting(self) -> int:
        """Events that are not written yet."""
        return len(self._queue) + len(self._writing)

    async def run(self) -> None:
        while True:
            while self._queue:
                await self._write_next()
            if not self._writing:
                self._idle.set()
            self._more.clear()
            await self._more.wait()

    async def _write_next(self) -> None:
        event = self._queue.popleft()
        name = event["metadata"]["name"]
        while name in self._writing:
            await self._writing[name].wait()
        written = self._writing[name] = asyncio.Event()
        try:
            await self.write(event)
        except Exception:
            log.exception("unable to record an event")
        finally:
            del self._writing[name]
            written.set()

    async def flush(self) -> None:
        """Until all that was recorded is written (or given up)."""
        await self._idle.wait()

    async def aclose(self, grace: float = 1.0) -> None:
        """Write what waits, for so many seconds at most."""
        tasks, self._tasks = self._tasks, []
        if not tasks:
            return
        try:
            async with asyncio.timeout(grace):
                await self.flush()
        except TimeoutError:
            log.warning("%d events were not written", self.waiting)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def put(self, event: Obj) -> None:
        if len(self._queue) >= self.max_queued:
            if self.dropped % 1000 == 0:
                log.error("unable to record event: too many queued events, dropped %d", self.dropped + 1)
            self.dropped += 1
            return
        self._queue.append(event)
        self._idle.clear()
        self._more.set()

    def new_name(self, about: str) -> str:
        # two of one object in one instant would have one name: the clock may stand still, or be coarse
        self._last_nanoseconds = max(int(self.clock() * 1e9) + self._own_nanoseconds, self._last_nanoseconds + 1)
        name = f"{about}.{self._last_nanoseconds:x}"
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4)) if is_dns1123_subdomain(name) else name

    async def write(self, event: Obj) -> None:
        """One event, to its end."""
        raise NotImplementedError

    async def tries(self, write: Callable[[], Awaitable[Obj]]) -> Obj | None:
        """Write, again and again while nobody answers. None: refused or given up."""
        for attempt in range(MAX_TRIES):
            try:
                return await write()
            except StatusError as error:
                expected = is_already_exists(error) or is_namespace_terminating(error)
                log.log(logging.DEBUG if expected else logging.ERROR, "server rejected event: %s", error)
                return None
            except HttpError as error:
                log.warning("unable to write event (may retry after sleeping): %s", error)
            if attempt + 1 < MAX_TRIES:
                await asyncio.sleep(RETRY_SECONDS * (self.rng.random() if attempt == 0 else 1))
        log.error("unable to write event (retry limit exceeded!)")
        return None

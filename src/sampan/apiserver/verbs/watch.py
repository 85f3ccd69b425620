"""Watches: the initial state where asked for, then every change, until time, client or server ends it.

The session registers with the cache in the same step in which it takes its snapshot, so that nothing is missed or
doubled. Events are written from the callback that applied the change; while the initial state is still being sent they
wait in a bounded backlog. A peer that lets more than `MAX_PENDING` bytes pile up has its stream ended: it resumes from
the last revision it saw.

Source: k8s.io/apiserver/pkg/endpoints/handlers/watch.go, pkg/storage/cacher/cacher.go
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from sampan.api import errors
from sampan.api.kind import Obj
from sampan.apiserver import replies
from sampan.apiserver.cache import Entry, EventType, Record, Watcher
from sampan.apiserver.call import Call
from sampan.apiserver.negotiation import PROTOBUF, STREAMS, YAML
from sampan.apiserver.options import ListOptions, list_options
from sampan.apiserver.verbs.list import matcher, select
from sampan.apiserver.views import View, view_for
from sampan.http.server.messages import ObjectWriter, Response, Writer

MAX_PENDING = 4 << 20
MAX_BACKLOG = 10_000
MIN_TIMEOUT = 1800
INITIAL_CHUNK = 200_000
#: bytes before each event of protobuf that say its length
FRAME = 4
END_OF_INITIAL = {"k8s.io/initial-events-end": "true"}


def watch(call: Call) -> Response | Awaitable[Response]:
    options = list_options(call.query, call.kind.field_labels(), call.kind.names.kind, forced_watch=True)
    if call.accept.media == YAML:
        raise errors.not_acceptable(STREAMS)
    if call.info.namespace and call.kind.names.namespaced is False:
        raise errors.no_such_path()
    asked = options.resource_version
    waits = None
    if asked in ("", "0") or options.send_initial_events:
        waits = call.api.freshness(asked)
    if waits is not None:
        return _later(call, options, waits)
    return start(call, options)


async def _later(call: Call, options: ListOptions, waits: Awaitable[None]) -> Response:
    await waits
    return start(call, options)


def start(call: Call, options: ListOptions) -> Response:
    view = view_for(call.kind, call.accept, call.query.get("includeObject", ""), call.api.clock)
    binary = call.accept.media == PROTOBUF
    if call.request.headers.get("upgrade", "").lower() == "websocket":
        from sampan.http.server.websocket import accept
        from sampan.http.server.websocket_stream import streamed

        return accept(call.request, (), streamed(Session(call, options, view).run, FRAME if binary else 0))
    media = STREAMS[1] if binary else "application/json" if not call.accept.view else STREAMS[0]
    headers = [("Audit-Id", replies.audit_id()), ("Cache-Control", "no-cache, private"), ("Content-Type", media)]
    headers.extend(("Warning", replies.warning_header(text)) for text in call.warnings)
    return Response(200, headers, stream=Session(call, options, view).run)


class Session:
    """One watch from its first byte to its last."""

    def __init__(self, call: Call, options: ListOptions, view: View) -> None:
        self.call = call
        self.options = options
        self.view = view
        self.cache = call.resource.cache
        self.done = asyncio.Event()
        self.more = asyncio.Event()
        #: the initial state was sent
        self.live = False
        self.backlog: list[tuple[Entry, EventType]] | None = []
        self.first = True
        names = call.kind.names
        self.sizes = call.api.metrics.event_sizes.of(names.group, names.resource, names.version)
        self.writer: Writer
        #: the writer, if objects can be handed to it as they are stored
        self.objects: ObjectWriter | None = None

    async def run(self, writer: Writer) -> None:
        self.writer = writer
        if isinstance(writer, ObjectWriter) and type(self.view) is View and not self.view.convert:
            self.objects = writer
        options = self.options
        revision = options.revision
        initial = options.send_initial_events if options.send_initial_events is not None else not revision
        if not initial and revision and revision < self.cache.horizon:
            shown = errors.expired(f"too old resource version: {revision} ({self.cache.horizon})")
            writer.write(self.view.error(shown.status))
            return
        watcher = self.watcher()
        snapshot = list(select(self.call, options)) if initial else []
        at = self.call.api.cache.revision
        self.cache.watchers.add(watcher)
        self.call.api.sessions.add(self)
        writer.on_close(self.done.set)
        try:
            if initial:
                await self.send_initial(snapshot)
                if options.send_initial_events:
                    self.send(self.view.bookmark(at, END_OF_INITIAL))
            elif revision:
                self.backlog = self.missed(watcher, revision) + (self.backlog or [])
            self.live = True
            if self.call.kind.remote:
                await self.convert_and_wait()
            else:
                self.flush()
                await self.wait()
        finally:
            self.cache.watchers.discard(watcher)
            self.call.api.sessions.discard(self)

    def watcher(self) -> Watcher:
        name = self.call.info.name or self.options.fields.exact("metadata.name") or ""
        return Watcher(self.call.info.namespace, name, matcher(self.options), self.deliver)

    def missed(self, watcher: Watcher, revision: int) -> list[tuple[Entry, EventType]]:
        """Changes after `revision` that were before the watch began, as this watcher sees them."""
        out: list[tuple[Entry, EventType]] = []
        replay = Watcher(
            watcher.namespace, watcher.name, watcher.matches, lambda entry, kind: out.append((entry, kind))
        )
        for entry in self.cache.since(revision):
            replay.offer(entry)
        return out

    async def send_initial(self, snapshot: list[Record]) -> None:
        size = 0
        if self.call.kind.remote:
            await self.call.kind.fetch(snapshot)
        if self.view.slow(snapshot):
            await self.call.api.workers.run(self.view.prepare, snapshot, user=self.call.user.name)
        for record in snapshot:
            line = self.view.event(Entry("ADDED", record, None), "ADDED", self.first)
            self.send(line)
            size += len(line)
            if size > INITIAL_CHUNK:
                size = 0
                await self.writer.drain()
                if self.done.is_set():
                    return

    def flush(self) -> None:
        backlog, self.backlog = self.backlog, None
        for entry, kind in backlog or ():
            self.deliver(entry, kind)

    async def convert_and_wait(self) -> None:
        """Where somebody else converts, events wait in the backlog until they are ready to be shown."""
        pump = asyncio.get_running_loop().create_task(self.pump())
        try:
            await self.wait()
        finally:
            pump.cancel()

    async def pump(self) -> None:
        backlog = self.backlog or []
        self.backlog = backlog
        while not self.done.is_set():
            self.more.clear()
            ready = list(backlog)
            try:
                await self.call.kind.fetch([entry.record for entry, _ in ready])
            except errors.StatusError as error:
                self.writer.write(self.view.error(error.status))
                self.done.set()
                return
            for entry, kind in ready:
                if not self.done.is_set():
                    self.show(entry, kind)
            del backlog[: len(ready)]
            if not backlog:
                await self.more.wait()

    def deliver(self, entry: Entry, kind: EventType) -> None:
        if self.done.is_set():
            return
        if self.backlog is not None:
            self.backlog.append((entry, kind))
            self.more.set()
            if len(self.backlog) > MAX_BACKLOG:
                self.terminate()
            return
        self.show(entry, kind)

    def show(self, entry: Entry, kind: EventType) -> None:
        if self.objects is not None and entry.form is not None and self.hand_over(entry, entry.form, kind):
            self.first = False
        else:
            self.send(self.view.event(entry, kind, self.first))
        if self.writer.pending() > MAX_PENDING:
            self.terminate()

    def hand_over(self, entry: Entry, form: Obj, kind: EventType) -> bool:
        """To a reader in this process: it spares both of us the encoding. False: it does not want that."""
        assert self.objects is not None
        meta = {"resourceVersion": "", **form["metadata"]}
        meta["resourceVersion"] = str(entry.revision)
        size = len(entry.record.value)
        taken = self.objects.take(kind, {**form, "metadata": meta}, size)
        if taken:
            self.sizes.observe(size)
        return taken

    def terminate(self) -> None:
        """The client does not keep up."""
        names = self.call.kind.names
        self.call.api.metrics.terminated_watchers.add(names.group, names.resource)
        self.done.set()

    def send(self, line: bytes) -> None:
        self.writer.write(line)
        self.sizes.observe(len(line))
        self.first = False

    def bookmark(self) -> None:
        """Tell the client how far it has seen, if it wants to know and has seen its initial state."""
        if self.options.bookmarks and self.live and not self.backlog and not self.done.is_set():
            self.send(self.view.bookmark(self.call.api.cache.revision, None))

    async def wait(self) -> None:
        seconds = self.options.timeout
        if seconds is None or seconds <= 0:
            seconds = int(MIN_TIMEOUT * (1 + self.call.api.rng.random()))
        try:
            async with asyncio.timeout(seconds):
                await self.done.wait()
        except TimeoutError:
            self.bookmark()

"""A watch as a client sees it: events, one after the other, decoded when someone looks.

    async with await client.watch("pods", resource_version=rv) as watch:
        async for event in watch:
            ...

Ends when the server ends it; raises StatusError for an ERROR event, HttpError when the connection breaks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson

from sampan.client.errors import from_status
from sampan.client.transport import ObjectStream, Stream
from sampan.http import ProtocolError

_HEADS = {b'{"type":"%b","object":' % name.encode(): name for name in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK")}
MAX_LINE = 64 << 20


class Event:
    """`type` is ADDED, MODIFIED, DELETED or BOOKMARK; `raw` the object's own bytes, empty where the object came as such;
    `size`: about how many there are, or would be."""

    __slots__ = ("_obj", "raw", "size", "type")

    def __init__(self, kind: str, raw: bytes, obj: dict[str, Any] | None = None, size: int = 0) -> None:
        self.type = kind
        self.raw = raw
        self.size = size or len(raw)
        self._obj = obj

    @property
    def object(self) -> dict[str, Any]:
        if self._obj is None:
            self._obj = orjson.loads(self.raw)
        return self._obj

    def __repr__(self) -> str:
        return f"Event({self.type}, {self.raw[:80]!r})"


def parse(line: bytes) -> Event:
    """One line of a watch. Every server seen writes the type first, so that the object can be cut out undecoded."""
    at = line.find(b"{", 1)
    kind = _HEADS.get(line[:at])
    if kind is not None and line.endswith(b"}"):
        return Event(kind, line[at:-1])
    try:
        found = orjson.loads(line)
        kind, obj = found["type"], found["object"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ProtocolError(f"unable to decode an event from the watch stream: {error}") from None
    if kind == "ERROR":
        raise from_status(obj)
    return Event(kind, orjson.dumps(obj), obj)


class Watch:
    """`batch` gives all events that have come, which is cheaper than one at a time. `shared`: their objects may be other
    readers' too, and are not changed."""

    def __init__(self, stream: Stream, shared: bool = False) -> None:
        self._stream = stream
        self._chunks: AsyncIterator[bytes | list[Event]] = stream.__aiter__()
        if shared and isinstance(stream, ObjectStream):
            self._chunks = stream.objects()
        self._rest: list[bytes] = []
        self._rest_size = 0
        self._ready: list[Event] = []

    async def __aenter__(self) -> Watch:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Event:
        while not self._ready:
            batch = await self.batch()
            if not batch:
                raise StopAsyncIteration
            self._ready = batch[::-1]
        return self._ready.pop()

    async def batch(self) -> list[Event]:
        """At least one event; none when the watch has ended. Raises StatusError, HttpError."""
        while True:
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                return []
            if isinstance(chunk, list):
                return chunk
            lines = chunk.split(b"\n")
            if len(lines) == 1:
                self._rest.append(chunk)
                self._rest_size += len(chunk)
                if self._rest_size > MAX_LINE:
                    raise ProtocolError("an event of the watch stream is too long")
                continue
            if self._rest:
                lines[0] = b"".join(self._rest) + lines[0]
            last = lines.pop()
            self._rest, self._rest_size = ([last] if last else []), len(last)
            if out := self._parse(lines):
                return out

    def _parse(self, lines: list[bytes]) -> list[Event]:
        out: list[Event] = []
        for line in lines:
            if not line.strip():
                continue
            try:
                out.append(parse(line))
            except Exception as error:
                if not out:
                    raise
                # what came before the error is delivered first
                self._chunks = _Failing(error)
                break
        return out

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Failing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __aiter__(self) -> _Failing:
        return self

    async def __anext__(self) -> bytes:
        raise self.error

"""Ways of looking at the same objects: whole, as rows of a Table, as metadata alone.

A view turns a `Record` into the bytes of one list item or one watch event. What it rendered is kept beside the record,
or in the event for its other watchers, so that nothing is encoded twice.

Source: k8s.io/apiserver/pkg/endpoints/handlers/response.go; kubernetes/pkg/printers/tablegenerator.go
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from sampan.api import errors
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Column, Kind
from sampan.apiserver.cache import MARK, Entry, EventType, Record
from sampan.apiserver.negotiation import PROTOBUF, Accept

#: a rendered row is good for this long: ages in it are told to the second at most
ROW_SECONDS = 1.0


def chunked(head: bytes, items: list[bytes], tail: bytes, size: int = 240_000) -> list[bytes]:
    """`head`, the items joined by commas, `tail`: in pieces of about `size` bytes, which is faster than one join."""
    out: list[bytes] = [head]
    start, length = 0, 0
    for index, item in enumerate(items):
        length += len(item)
        if length > size:
            out.append(b",".join(items[start : index + 1]) + (b"," if index + 1 < len(items) else b""))
            start, length = index + 1, 0
    if start < len(items):
        out.append(b",".join(items[start:]))
    out.append(tail)
    return out


def body_as(kind: Kind, record: Record) -> bytes:
    """The object as a kind that `converts` shows it; made once for each kind and record."""
    if kind.current(record.revision):
        return record.body
    if record.other is None:
        record.other = {}
    found = record.other.get(kind)
    if found is None:
        body = record.body
        made = orjson.dumps(kind.from_storage(record.obj()))
        # what needed no conversion is not kept twice
        found = record.other[kind] = b"" if made == body else made
    return found or record.body


class View:
    """The objects themselves, in the version of `kind`."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        names = kind.names
        self.list_kind = kind.list_kind
        self.list_version = names.api_version
        self.convert = kind.converts
        self.key: tuple[Any, ...] = ("plain", names.version if self.convert else "")

    def object(self, record: Record) -> bytes:
        """One object, complete."""
        return body_as(self.kind, record) if self.convert else record.body

    def item(self, record: Record) -> bytes:
        """One list item: as upstream prints them, without kind and apiVersion."""
        body = self.object(record)
        return body if self.kind.whole_items else b"{" + body[body.index(MARK) :]

    def event(self, entry: Entry, kind: EventType, first: bool) -> bytes:
        """A watch event, newline included; rendered once for all watchers with this view."""
        key = (kind, self.key)
        out = entry.rendered.get(key)
        if out is None:
            out = entry.rendered[key] = self.wrap(kind, self.object(entry.record))
        return out

    def slow(self, records: Sequence[Record]) -> bool:
        """Are there many of them to be made anew? Then `prepare` may be run beside the event loop before."""
        return False

    def prepare(self, records: Sequence[Record]) -> None:
        """Have all of them ready."""

    def error(self, status: dict[str, Any]) -> bytes:
        """The last event of a watch that cannot go on."""
        return self.wrap("ERROR", orjson.dumps(status))

    @staticmethod
    def wrap(kind: str, body: bytes) -> bytes:
        return b'{"type":"%b","object":%b}\n' % (kind.encode(), body)

    def list(self, records: list[Record], meta: dict[str, Any]) -> list[bytes]:
        names = f'{{"kind":"{self.list_kind}","apiVersion":"{self.list_version}","metadata":'
        head = names.encode() + orjson.dumps(meta) + b',"items":['
        if self.convert:
            items = [self.item(record) for record in records]
        elif records:
            skip = records[0].value.index(MARK) + len(MARK)
            items = [b'{"metadata":{"resourceVersion":"%d",%b' % (r.revision, r.value[skip:]) for r in records]
        else:
            items = []
        return chunked(head, items, b"]}\n")

    def bookmark(self, revision: int, annotations: dict[str, str] | None) -> bytes:
        meta: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
        if annotations:
            meta["annotations"] = annotations
        names = self.kind.names
        obj = {"kind": names.kind, "apiVersion": names.api_version, "metadata": meta}
        return self.wrap("BOOKMARK", orjson.dumps(obj))


class PartialView(View):
    """`PartialObjectMetadata`: metadata alone."""

    def __init__(self, kind: Kind, version: str) -> None:
        super().__init__(kind)
        self.version = f"meta.k8s.io/{version}"
        self.list_kind, self.list_version = "PartialObjectMetadataList", self.version
        self.key = ("partial", version)

    def object(self, record: Record) -> bytes:
        return partial(self.version, record.metadata())

    def list(self, records: list[Record], meta: dict[str, Any]) -> list[bytes]:
        names = f'{{"kind":"{self.list_kind}","apiVersion":"{self.list_version}","metadata":'
        head = names.encode() + orjson.dumps(meta) + b',"items":['
        return chunked(head, [self.object(record) for record in records], b"]}\n")

    def bookmark(self, revision: int, annotations: dict[str, str] | None) -> bytes:
        meta: dict[str, Any] = {"resourceVersion": str(revision)}
        if annotations:
            meta["annotations"] = annotations
        obj = {"kind": "PartialObjectMetadata", "apiVersion": self.version, "metadata": meta}
        return self.wrap("BOOKMARK", orjson.dumps(obj))


def partial(version: str, metadata: bytes) -> bytes:
    return b'{"kind":"PartialObjectMetadata","apiVersion":"%b","metadata":%b}' % (version.encode(), metadata)


def column_json(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


class TableView(View):
    """`Table`: what `kubectl get` prints. `include`: None, Metadata (default) or Object in each row."""

    def __init__(self, kind: Kind, version: str, include: str, clock: Callable[[], float]) -> None:
        super().__init__(kind)
        self.clock = clock
        if include not in ("", "None", "Metadata", "Object"):
            problems = ErrorList()
            problems.invalid(Path("includeObject"), include, "must be 'Metadata', 'Object', 'None', or empty")
            raise errors.bad_request(f"Unable to convert to Table as requested: {problems[0]}")
        self.version = f"meta.k8s.io/{version}"
        self.include = include or "Metadata"
        self.columns = orjson.dumps([column_json(column) for column in kind.columns])
        self.key = ("table", version, self.include, kind.names.version)

    def row(self, record: Record, now: float) -> bytes:
        cached = record.cells
        if cached is not None and cached[0] == self.key and 0 <= now - cached[1] < ROW_SECONDS:
            out: bytes = cached[2]
            return out
        if self.convert:
            out = self.render(orjson.loads(body_as(self.kind, record)), now)
        elif self.kind.custom:
            # columns may show any field
            out = self.render(record.obj(), now)
        else:
            obj = b"null"
            if self.include != "None":
                obj = partial(self.version, record.metadata()) if self.include == "Metadata" else record.body
            out = b'{"cells":%b,"object":%b}' % (orjson.dumps(self.kind.row(record.light(), now)), obj)
        record.cells = (self.key, now, out)
        return out

    def render(self, obj: dict[str, Any], now: float) -> bytes:
        row: dict[str, Any] = {"cells": self.kind.row(obj, now)}
        if self.include == "Metadata":
            row["object"] = {"kind": "PartialObjectMetadata", "apiVersion": self.version, "metadata": obj["metadata"]}
        else:
            row["object"] = obj if self.include == "Object" else None
        return orjson.dumps(row)

    def table(self, rows: list[bytes], meta: dict[str, Any], columns: bytes | None = None) -> list[bytes]:
        head = b'{"kind":"Table","apiVersion":"%b","metadata":%b,"columnDefinitions":%b,"rows":[' % (
            self.version.encode(),
            orjson.dumps(meta),
            self.columns if columns is None else columns,
        )
        return chunked(head, rows, b"]}\n")

    def object(self, record: Record) -> bytes:
        meta = {"resourceVersion": str(record.revision)}
        return b"".join(self.table([self.row(record, self.clock())], meta))

    def event(self, entry: Entry, kind: EventType, first: bool) -> bytes:
        key = (kind, self.key, first)
        out = entry.rendered.get(key)
        if out is None:
            columns = self.columns if first else b"null"
            meta = {"resourceVersion": str(entry.record.revision)}
            body = b"".join(self.table([self.row(entry.record, self.clock())], meta, columns)).rstrip()
            out = entry.rendered[key] = self.wrap(kind, body)
        return out

    def list(self, records: list[Record], meta: dict[str, Any]) -> list[bytes]:
        now = self.clock()
        rows = [self.row(record, now) for record in records]
        if type(self.kind).list_cells is not Kind.list_cells:
            objs = [record.light() for record in records]
            for index, cells in self.kind.list_cells(objs, now).items():
                _, between, rest = rows[index].partition(b',"object":')
                rows[index] = b'{"cells":' + orjson.dumps(cells) + between + rest
        return self.table(rows, meta)

    def bookmark(self, revision: int, annotations: dict[str, str] | None) -> bytes:
        meta: dict[str, Any] = {"resourceVersion": str(revision)}
        row_meta: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
        if annotations:
            row_meta["annotations"] = annotations
        cells: list[Any] = [None] * len(self.kind.columns)
        partial = {"kind": "PartialObjectMetadata", "apiVersion": self.version, "metadata": row_meta}
        row = orjson.dumps({"cells": cells, "object": partial})
        return self.wrap("BOOKMARK", b"".join(self.table([row], meta, b"null")).rstrip())


def view_for(kind: Kind, accept: Accept, include: str, clock: Callable[[], float]) -> View:
    """The view that `accept` asks for. Raises 400 for an unknown `includeObject`."""
    if accept.media == PROTOBUF:
        from sampan.apiserver import protobuf

        return protobuf.view_for(kind, accept)
    if accept.view == "Table":
        return TableView(kind, accept.version, include, clock)
    if accept.view.startswith("PartialObjectMetadata"):
        return PartialView(kind, accept.version)
    return View(kind)

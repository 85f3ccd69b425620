"""Replies in Kubernetes' protobuf: the same views as of JSON, for clients that put it first.

An object's message is made when the first client asks for it and kept beside the record, so that it is encoded once for
all gets, lists and watches; who never asks pays nothing. What is made for one reply only (a Status, a Scale, a review) is
written as JSON by its makers, and turned into protobuf at the end (`of_json`), as YAML is.

Source: k8s.io/apimachinery/pkg/runtime/serializer/protobuf/protobuf.go, pkg/util/framer; meta/v1/generated.proto
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import orjson

from sampan.api import pace
from sampan.api.kind import Kind
from sampan.api.registry import package_of
from sampan.api.schema import facts, protobuf_write
from sampan.api.schema.nodes import Field, ListOf, Struct
from sampan.api.schema.protobuf import MAGIC
from sampan.apiserver.cache import Record
from sampan.apiserver.negotiation import Accept
from sampan.apiserver.views import View, body_as
from sampan.apiserver.workers import LARGE

META = "meta.k8s.io"
#: more JSON than that is encoded beside the event loop
SLOW_BYTES = LARGE * 8


@functools.cache
def struct_of(api_version: str, kind: str) -> Struct:
    """The type of an object we reply with. Raises KeyError for what has no protobuf."""
    group, _, version = api_version.rpartition("/")
    if group != META:
        meta = facts.package("meta")
        own = facts.package(package_of(group, version)) if api_version != "v1" or kind not in meta else meta
        return own[kind]
    whole, listed = facts.struct("meta", "ObjectMeta"), facts.struct("meta", "ListMeta")
    one = Struct("meta", "PartialObjectMetadata", {"metadata": Field("metadata", whole, number=(1,))})
    if kind == one.name:
        return one
    # the numbers of the older list are the other way round
    meta_number, items_number = (1, 2) if version == "v1" else (2, 1)
    fields = {
        "metadata": Field("metadata", listed, number=(meta_number,)),
        "items": Field("items", ListOf(one), number=(items_number,)),
    }
    return {"PartialObjectMetadataList": Struct("meta", "PartialObjectMetadataList", fields)}[kind]


def of_json(body: bytes | Sequence[bytes]) -> bytes | Sequence[bytes]:
    """An object in JSON, as protobuf. What is protobuf already stays as it is."""
    if (body if isinstance(body, bytes) else body[0]).startswith(MAGIC):
        return body
    return of(orjson.loads(body if isinstance(body, bytes) else b"".join(body)))


def of(obj: dict[str, Any]) -> bytes:
    """An object in its envelope."""
    api_version, kind = obj.get("apiVersion", ""), obj["kind"]
    message = protobuf_write.encode(struct_of(api_version or "v1", kind), obj)
    return b"".join(protobuf_write.enveloped(api_version, kind, [message]))


class ProtobufView(View):
    """The objects themselves."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        names = kind.names
        self.kind_name, self.version = names.kind, names.api_version
        self.key = self.kept = ("protobuf", names.api_version)

    def encode(self, record: Record) -> bytes:
        body = body_as(self.kind, record) if self.convert else record.body
        return protobuf_write.encode(self.kind.schema, orjson.loads(body))

    def message(self, record: Record) -> bytes:
        """The object without its envelope; made once."""
        if record.other is None:
            record.other = {}
        found = record.other.get(self.kept)
        if found is None:
            found = record.other[self.kept] = self.encode(record)
        return found

    def slow(self, records: Sequence[Record]) -> bool:
        left = SLOW_BYTES
        for record in records:
            if record.other is None or self.kept not in record.other:
                left -= len(record.value)
                if left < 0:
                    return True
        return False

    def prepare(self, records: Sequence[Record]) -> None:
        running = pace.current.get()
        for record in records:
            self.message(record)
            if running is not None:
                running.pause()

    def object(self, record: Record) -> bytes:
        return b"".join(protobuf_write.enveloped(self.version, self.kind_name, [self.message(record)]))

    @staticmethod
    def wrap(kind: str, body: bytes) -> bytes:
        return protobuf_write.event(kind, body)

    def list(self, records: list[Record], meta: dict[str, Any]) -> list[bytes]:
        head = protobuf_write.encode(facts.struct("meta", "ListMeta"), meta)
        swapped = self.list_version == f"{META}/v1beta1"
        items = protobuf_write.items(1 if swapped else 2, map(self.message, records))
        named = protobuf_write.field(2 if swapped else 1, head)
        parts = [*items, named] if swapped else [named, *items]
        return protobuf_write.enveloped(self.list_version, self.list_kind, parts)

    def bookmark(self, revision: int, annotations: dict[str, str] | None) -> bytes:
        meta: dict[str, Any] = {"resourceVersion": str(revision)}
        if annotations:
            meta["annotations"] = annotations
        message = protobuf_write.encode(self.bookmarked(), {"metadata": meta})
        body = b"".join(protobuf_write.enveloped(self.version, self.kind_name, [message]))
        return self.wrap("BOOKMARK", body)

    def bookmarked(self) -> Struct:
        return self.kind.schema

    def error(self, status: dict[str, Any]) -> bytes:
        return self.wrap("ERROR", of(status))


class PartialProtobufView(ProtobufView):
    """`PartialObjectMetadata`: metadata alone, of custom resources too."""

    def __init__(self, kind: Kind, version: str) -> None:
        super().__init__(kind)
        self.kind_name, self.version = "PartialObjectMetadata", f"{META}/{version}"
        self.list_kind, self.list_version = "PartialObjectMetadataList", self.version
        # the message is the same in all versions
        self.key, self.kept = ("protobuf", self.version), ("protobuf", META)

    def encode(self, record: Record) -> bytes:
        return protobuf_write.encode(self.bookmarked(), {"metadata": orjson.loads(record.metadata())})

    def bookmarked(self) -> Struct:
        return struct_of(self.version, self.kind_name)


def view_for(kind: Kind, accept: Accept) -> View:
    return PartialProtobufView(kind, accept.version) if accept.view else ProtobufView(kind)

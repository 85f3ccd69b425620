"""What is particular to one kind: the class every file in `core_v1/`, `apps_v1/`, ... subclasses.

A kind's file declares names nobody can derive and overrides only the steps where the kind differs. The verbs call the
steps in upstream's order: decode, default, prepare, (admission), validate, canonicalise. Objects are plain dicts with
wire names in *canonical* form: as Go would print them (empty optional fields absent, zero values of always-printed
fields present). All steps are pure: no I/O, no clock; what they need to know comes in through `Context`.

Source of the shape: k8s.io/apiserver/pkg/registry/rest/{create,update,delete}.go (`RESTCreateStrategy`, ...)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from sampan.api import names
from sampan.api.field import ErrorList
from sampan.api.frozen import frozen
from sampan.api.schema.nodes import Struct

Obj = dict[str, Any]
Cell = str | int | bool | None


@frozen
class Column:
    """One Table column. `priority` 0 shows always, 1 only with `-o wide`."""

    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""


def _unheard(text: str) -> None:
    """A request that nobody waits for, as in tests of one step, has no one to warn."""


@frozen
class Context:
    """What a step may know of the request. `now` is RFC 3339 with seconds, `user` the requester's name; `warn` takes what
    `warnings` cannot know any more."""

    now: str
    user: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    warn: Callable[[str], None] = _unheard


@frozen
class Subresource:
    """`kind` with its group-version, where it is not the parent's own."""

    name: str
    kind: str
    group: str
    version: str
    verbs: tuple[str, ...]


@frozen
class Names:
    """The discovery facts of one resource, from `schema/data/_resources.json`."""

    group: str
    version: str
    resource: str
    singular: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...]
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    #: the group and version objects are stored as, where those are others (`autoscaling/v1`)
    stored: tuple[str, str] | None = None

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


#: kubectl prints AGE itself from this column of the default Table
DEFAULT_COLUMNS: tuple[Column, ...] = (
    Column("Name", format="name"),
    Column("Created At", type="date"),
)
NAME = Column("Name", format="name")
AGE = Column("Age")


#: what of a `generateName` is in the name
MAX_GENERATED = 58


def keep(obj: Obj, old: Obj, name: str) -> None:
    """`name` stays what it was, absent or not."""
    if name in old:
        obj[name] = old[name]
    else:
        obj.pop(name, None)


class Kind:
    """Default behaviour: whatever upstream's generic strategy does for a kind that declares nothing."""

    #: a kind whose effect comes later answers writes with a warning
    not_enforced: ClassVar[bool] = False
    #: PUT without metadata.resourceVersion is allowed
    unconditional_update: ClassVar[bool] = True
    #: PUT of a missing object creates it
    create_on_update: ClassVar[bool] = False
    #: `metadata.generation` is set to 1, and counted up when anything but metadata and status changes
    has_generation: ClassVar[bool] = True
    #: the main resource ignores `status`, and `/status` everything but it (metadata partly)
    has_status: bool = False
    #: ... except that what is created may bring one
    status_on_create: ClassVar[bool] = False
    #: `/status` leaves labels, annotations, finalizers and owners as they are, and owns none of metadata
    status_alone: ClassVar[bool] = False
    columns: tuple[Column, ...] = DEFAULT_COLUMNS
    #: `spec.replicas`-like paths for `/scale`, as (spec replicas, status replicas, selector), dotted; empty: no scale
    scale_paths: tuple[str, str, str] | None = None
    #: the wire version objects are stored as, where another version of the kind is served too (`autoscaling/v2`)
    storage_version: tuple[str, str] | None
    #: made by a CustomResourceDefinition; `digest` changes with what was defined
    custom: ClassVar[bool] = False
    digest: str = ""
    #: warns everyone who uses this version
    deprecation: str = ""
    #: its definition is being deleted: nothing new is created
    terminating: bool = False
    #: clients may send strategic merge patches
    strategic_merge: ClassVar[bool] = True
    #: conversion asks somebody else: `fetch` and `store` are awaited
    remote: bool = False
    #: what its objects say is compiled when they are checked: even small ones may take long
    slow_checks: ClassVar[bool] = False
    #: items of a list say their kind and apiVersion
    whole_items: ClassVar[bool] = False

    def __init__(self, names: Names, schema: Struct) -> None:
        self.names = names
        self.schema = schema
        self.storage_version = names.stored

    # -- the life of a write -------------------------------------------------------------------------------------

    def default(self, obj: Obj) -> None:
        """Fill unset fields in place, as `pkg/apis/GROUP/VERSION/defaults.go` does. Idempotent."""

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        """Drop or set what the client may not choose. With `has_status`, status was dropped before."""

    def prepare_for_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        """As for create. With `has_status`, `obj["status"]` is already the old one."""

    def prepare_for_status_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        """`/status`: `obj` is the old object with the new status (and the new labels, annotations, ... of metadata)."""

    def validate(self, obj: Obj) -> ErrorList:
        """Errors of a new object, without metadata's, which the caller checks for all kinds (see `validate_name`)."""
        return ErrorList()

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        """Errors of a changed object, metadata's own update rules excepted. The default checks it as a new one."""
        return self.validate(obj)

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        return ErrorList()

    def validate_name(self, name: str, generate: bool) -> Sequence[str]:
        """Why `name` cannot be the name of this kind (empty: it can). `generate`: it is a generateName prefix."""
        return names.is_dns1123_subdomain(name.rstrip("-") + "a" if generate and name.endswith("-") else name)

    def generated_name(self, prefix: str, suffix: str) -> str:
        """The name of an object that came with a `generateName`."""
        return prefix[:MAX_GENERATED] + suffix

    def unmade(self, writing: bool) -> Callable[[], None] | None:
        """What remains to be made before objects can be read, or written, if that takes long."""
        return None

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        """Texts for `Warning` headers of a create (`old` is None) or update."""
        return []

    def status_warnings(self, obj: Obj) -> list[str]:
        """As `warnings`, of a change of the status."""
        return []

    def prepare_for_delete(self, obj: Obj, ctx: Context) -> Obj:
        """The object as it is when its deletion begins: what must happen before it may go is added here."""
        return obj

    def reset_fields(self, subresource: str) -> tuple[str, ...]:
        """Dotted fields that a write to this (sub)resource does not own, for server-side apply; with `!` before them, the
        only ones that it does own."""
        if not self.has_status:
            return ()
        if subresource != "status":
            return ("status",)
        return ("metadata", "spec") if self.status_alone else ("spec",)

    # -- reading ---------------------------------------------------------------------------------------------------

    def list_cells(self, objs: Sequence[Obj], now: float) -> dict[int, list[Cell]]:
        """Cells of those rows of a list that are not what they are of the object alone, by index."""
        return {}

    def row(self, obj: Obj, now: float) -> list[Cell]:
        """The cells for `columns`; `now` in seconds since the epoch (ages are printed relative to it)."""
        meta = obj["metadata"]
        return [meta.get("name", ""), meta.get("creationTimestamp")]

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        """Field selector values besides metadata.name and metadata.namespace; always the same keys."""
        return {}

    def field_labels(self) -> dict[str, str]:
        """What field selectors of this version may name, and its key in `selectable_fields` of the stored one."""
        return {name: name for name in self.selectable_fields({"metadata": {}})}

    @property
    def list_kind(self) -> str:
        return self.names.kind + "List"

    # -- other versions ----------------------------------------------------------------------------------------------

    @property
    def converts(self) -> bool:
        """Stored objects are not, or not all, what this version serves."""
        return self.storage_version is not None and self.storage_version != (self.names.group, self.names.version)

    def current(self, revision: int) -> bool:
        """Although this kind `converts`: an object stored at `revision` is what this version serves."""
        return False

    def published(self) -> Obj:
        """The OpenAPI schema, where the kind is custom."""
        raise NotImplementedError

    async def fetch(self, records: Sequence[Any]) -> None:
        """Have `records` (of the watch cache) ready in this version, where the kind is `remote`."""
        raise NotImplementedError

    async def store(self, obj: Obj) -> Obj:
        """`to_storage`, where the kind is `remote`."""
        raise NotImplementedError

    def to_storage(self, obj: Obj) -> Obj:
        """This version's canonical object in the storage version's form (`storage_version`)."""
        return obj

    def from_storage(self, obj: Obj) -> Obj:
        return obj

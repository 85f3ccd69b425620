"""A kind that a CustomResourceDefinition makes: one version of it, as `Kind` for the verbs.

What costs anything (reader, validator, columns, CEL programs) is made from the definition when first needed: a server
with a hundred definitions starts no slower, and keeps no schema twice.

Source: apiextensions-apiserver/pkg/registry/customresource/{strategy,status_strategy,validator}.go
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from sampan.api import names as name_rules
from sampan.api.customresource import jsonpath
from sampan.api.customresource.columns import Columns
from sampan.api.customresource.embedded import check_embedded, has_embedded
from sampan.api.customresource.lists import check_lists, has_unique_lists
from sampan.api.customresource.nodes import kind_struct
from sampan.api.customresource.validate import NEW, TOO_COSTLY, Findings, Node, TooCostly
from sampan.api.customresource.values import add, json_type
from sampan.api.field import ErrorList
from sampan.api.kind import Cell, Context, Kind, Names, Obj, Subresource
from sampan.api.schema.decode import WrongType, reader
from sampan.api.schema.nodes import Struct

WRITABLE = ("get", "patch", "update")
VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
MAX_INT32 = (1 << 31) - 1
_GO_TYPES = {
    "string": "string", "number": "float64", "boolean": "bool", "object": "map[string]interface {}",
    "array": "[]interface {}", "null": "<nil>",
}  # fmt: skip
#: after these upstream does not run CEL rules
_BLOCKING = {
    "FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid",
}  # fmt: skip
BLOCKED = (
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete "
    "validation"
)


@dataclass(frozen=True, slots=True)
class Version:
    """What `CustomKind` needs to know of its definition at once; the rest `load` fetches when it is needed."""

    names: Names
    list_kind: str
    served: bool
    columns: Columns
    storage: str
    has_status: bool
    scale: tuple[str, str, str] | None
    #: `spec.color`-like paths, with the JSON type of each
    selectable: tuple[str, ...]
    warning: str
    digest: str
    #: the entry of `spec.versions`
    load: Callable[[], Obj]


class CustomKind(Kind):
    """`stale_before`: objects stored up to that revision may lack defaults of this schema, or have too much."""

    custom = True
    unconditional_update = False
    strategic_merge = False
    whole_items = True

    def __init__(self, version: Version, stale_before: float) -> None:
        self.names = version.names
        self.version = version
        self.stale_before = stale_before
        self.storage_version = (version.names.group, version.storage)
        self.columns = version.columns.headers
        self.has_status = version.has_status
        self.scale_paths = version.scale
        self.deprecation = version.warning
        self.digest = version.digest

    # -- made when needed ----------------------------------------------------------------------------------------------

    @functools.cached_property
    def schema(self) -> Struct:  # type: ignore[override]  # an attribute of Kind, made late here
        names = self.names
        return kind_struct((names.group, names.version, names.kind), self.published())

    def published(self) -> Obj:
        declared = (self.version.load().get("schema") or {}).get("openAPIV3Schema")
        return declared or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}

    @functools.cached_property
    def _checks(self) -> Checks:
        return Checks(self.published())

    def unmade(self, writing: bool) -> Callable[[], None] | None:
        made = self.__dict__
        if "schema" in made and ("_checks" in made or not writing):
            return None
        return functools.partial(self._make, writing)

    def _make(self, writing: bool) -> None:
        reader(self.schema)
        if writing:
            _ = self._checks

    @property
    def list_kind(self) -> str:
        return self.version.list_kind

    # -- the life of a write -------------------------------------------------------------------------------------------

    def default(self, obj: Obj) -> None:
        """Those of the schema were filled in by the reader."""
        if obj.get("metadata") is None:
            obj["metadata"] = {}

    def prepare_for_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        """Without a status subresource, status counts as any other field for the generation."""
        if not self.has_status and obj.get("status") != old.get("status"):
            obj["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def prepare_for_status_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        """Nothing but status changes, metadata neither."""
        meta = obj["metadata"]
        managed = meta.get("managedFields")
        meta.clear()
        meta.update(old["metadata"])
        if managed:
            meta["managedFields"] = managed

    def validate_name(self, name: str, generate: bool) -> Sequence[str]:
        return name_rules.is_dns1123_subdomain(name.rstrip("-") + "a" if generate and name.endswith("-") else name)

    def validate(self, obj: Obj) -> ErrorList:
        return self._validate(obj, None)

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        return self._validate(obj, old)

    def _validate(self, obj: Obj, old: Obj | None) -> ErrorList:
        out = Findings()
        _bounded(self._checks.node, obj, "", out, NEW if old is None else old)
        if self.version.scale:
            self._check_scale(obj, out)
        return self._after(obj, old, out)

    def _after(self, obj: Obj, old: Obj | None, out: ErrorList) -> ErrorList:
        """What is checked after the values: embedded objects, unique lists, rules."""
        checks = self._checks
        if checks.embedded is not None:
            check_embedded(checks.embedded, obj, "", out)
        if checks.lists is not None:
            before = ErrorList()
            if old is not None:
                check_lists(checks.lists, old, "", before)
            if not before:
                check_lists(checks.lists, obj, "", out)
        if checks.rules is not None:
            if any(error.type in _BLOCKING for error in out):
                add(out, "FieldValueInvalid", "<nil>", None, BLOCKED)
            else:
                found = checks.rules.check(obj, old)
                out.extend(found)
                out.warnings = found.warnings
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = Findings()
        node = self._checks.node.properties.get("status")
        if node is not None and "status" in obj:
            _bounded(node, obj["status"], "status", out, old.get("status", NEW))
        if self.version.scale:
            self._check_scale(obj, out)
        return self._after(obj, old, out)

    def _check_scale(self, obj: Obj, out: ErrorList) -> None:
        assert self.version.scale is not None
        for path in self.version.scale[:2]:
            found = jsonpath.find(jsonpath.parse(path), obj)
            if not found:
                continue
            value = found[0]
            if not isinstance(value, int) or isinstance(value, bool):
                add(
                    out,
                    "FieldValueInvalid",
                    path,
                    0,
                    f"{path} accessor error: {jsonpath.go_text(value)} is of the type {_GO_TYPES[json_type(value)]}, expected int64",
                )
            elif value < 0:
                add(out, "FieldValueInvalid", path, value, "should be a non-negative integer")
            elif value > MAX_INT32:
                add(out, "FieldValueInvalid", path, value, f"should be less than or equal to {MAX_INT32}")

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        out = []
        known = set((old or {"metadata": {}})["metadata"].get("finalizers") or ())
        for name in sorted(set(obj["metadata"].get("finalizers") or ()) - known):
            if "/" not in name and name not in ("orphan", "foregroundDeletion", "kubernetes"):
                text = f'metadata.finalizers: "{name}": prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers'
                out.append(text)
        return out

    def reset_fields(self, subresource: str) -> tuple[str, ...]:
        if not self.has_status:
            return ()
        if subresource == "status":
            return ("metadata", *(name for name in self.schema.fields if name not in ("status", "kind", "apiVersion")))
        return ("status",)

    # -- reading -------------------------------------------------------------------------------------------------------

    def row(self, obj: Obj, now: float) -> list[Cell]:
        return self.version.columns.row(obj, now)

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        out = {}
        for path in self.version.selectable:
            found = jsonpath.find(_steps(path), obj)
            out[path] = jsonpath.go_text(found[0]) if found and found[0] is not None else ""
        return out

    # -- other versions ------------------------------------------------------------------------------------------------

    @property
    def converts(self) -> bool:
        return True

    def current(self, revision: int) -> bool:
        return revision > self.stale_before and self.names.version == self.version.storage

    def to_storage(self, obj: Obj) -> Obj:
        return {**obj, "apiVersion": f"{self.names.group}/{self.version.storage}"}

    def from_storage(self, obj: Obj) -> Obj:
        """Pruned and completed by this version's schema, as upstream decodes what it reads."""
        names = self.names
        try:
            read = reader(self.schema)(obj, "", None)
        except WrongType:
            # what was stored under another schema is shown as it is rather than not at all
            read = obj
        return {**read, "kind": names.kind, "apiVersion": names.api_version}


def _bounded(node: Node, value: Any, path: str, out: Findings, old: Any) -> None:
    try:
        node.check(value, path, out, old)
    except TooCostly:
        # DEVIATION: upstream goes on until the request times out
        add(out, "FieldValueInvalid", "<nil>", "", TOO_COSTLY)


class Checks:
    """The compiled validation of one version. A part without work is None."""

    __slots__ = ("embedded", "lists", "node", "rules")

    def __init__(self, schema: Obj) -> None:
        self.node = Node(schema)
        self.lists = schema if has_unique_lists(schema) else None
        self.embedded = schema if has_embedded(schema) else None
        self.rules: Any = None
        if _has_rules(schema):
            from sampan.api.customresource.rules import Rules

            self.rules = Rules(schema)


def _has_rules(schema: Obj) -> bool:
    if schema.get("x-kubernetes-validations"):
        return True
    below = [*(schema.get("properties") or {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return any(_has_rules(item) for item in below if isinstance(item, dict))


@functools.lru_cache(maxsize=1024)
def _steps(path: str) -> list[jsonpath.Step]:
    return jsonpath.parse("." + path)


def subresources(version: Obj, names: Names) -> tuple[Subresource, ...]:
    """In the order of discovery."""
    declared = version.get("subresources") or {}
    out = []
    if "scale" in declared:
        out.append(Subresource("scale", "Scale", "autoscaling", "v1", WRITABLE))
    if "status" in declared:
        out.append(Subresource("status", names.kind, names.group, names.version, WRITABLE))
    return tuple(out)


def versions_of(crd: Obj, load: Callable[[str], Obj]) -> list[Version]:
    """The served versions of an established definition. `load`: the entry of `spec.versions` by name, fetched anew."""
    spec, accepted = crd["spec"], crd["status"]["acceptedNames"]
    group = spec["group"]
    storage = next((v["name"] for v in spec["versions"] if v.get("storage")), spec["versions"][0]["name"])
    out = []
    for entry in spec["versions"]:
        if not entry.get("served") and entry["name"] != storage:
            continue
        base = Names(
            group,
            entry["name"],
            accepted["plural"],
            accepted.get("singular", ""),
            accepted["kind"],
            spec["scope"] == "Namespaced",
            VERBS,
            tuple(accepted.get("shortNames") or ()),
            tuple(accepted.get("categories") or ()),
        )
        declared = entry.get("subresources") or {}
        scale = declared.get("scale")
        out.append(
            Version(
                replace(base, subresources=subresources(entry, base)),
                accepted.get("listKind", "") or accepted["kind"] + "List",
                bool(entry.get("served")),
                Columns(entry.get("additionalPrinterColumns")),
                storage,
                "status" in declared,
                (scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath", ""))
                if scale
                else None,
                tuple(item["jsonPath"].removeprefix(".") for item in entry.get("selectableFields") or ()),
                _deprecation(entry, group, accepted["kind"]),
                hashlib.sha256(orjson.dumps([entry, accepted])).hexdigest()[:16],
                functools.partial(load, entry["name"]),
            )
        )
    return out


def _deprecation(entry: Obj, group: str, kind: str) -> str:
    if not entry.get("deprecated"):
        return ""
    return str(entry.get("deprecationWarning") or f"{group}/{entry['name']} {kind} is deprecated")

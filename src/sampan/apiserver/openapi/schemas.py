"""OpenAPI schemas of every type, from the facts: shared by the v2 and v3 documents.

Source: k8s.io/kube-openapi/pkg/generators/openapi.go for names, extensions and defaults
"""

from __future__ import annotations

import functools
from typing import Any

from sampan.api.kind import Names
from sampan.api.registry import Registry, default_names, package_of
from sampan.api.schema import facts
from sampan.api.schema.nodes import Field, ListOf, MapOf, Node, Scalar, Struct

Json = dict[str, Any]
_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_PACKAGES = {
    "meta": _META,
    "apiextensions_v1": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
    "apiregistration_v1": "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1",
}
_SCALARS: dict[str, Json] = {
    "s": {"type": "string"},
    "i": {"type": "integer", "format": "int32"},
    "l": {"type": "integer", "format": "int64"},
    "b": {"type": "boolean"},
    "B": {"type": "string", "format": "byte"},
    "d": {"type": "number", "format": "double"},
}
_NAMED = {
    "q": "io.k8s.apimachinery.pkg.api.resource.Quantity",
    "x": "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
    "t": f"{_META}.Time",
    "u": f"{_META}.MicroTime",
    "r": "io.k8s.apimachinery.pkg.runtime.RawExtension",
    "f": f"{_META}.FieldsV1",
}
SPECIAL: dict[str, Json] = {
    _NAMED["q"]: {"type": "string"},
    _NAMED["x"]: {"type": "string", "format": "int-or-string"},
    _NAMED["t"]: {"type": "string", "format": "date-time"},
    _NAMED["u"]: {"type": "string", "format": "date-time"},
    _NAMED["r"]: {"type": "object"},
    _NAMED["f"]: {"type": "object"},
}
_FREE = {"JSON", "JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrStringArray", "Patch"}


def definition_name(struct: Struct) -> str:
    """`io.k8s.api.apps.v1.Deployment`; of a custom resource `com.example.stable.v1.CronTab`."""
    if struct.reader is not None and struct.gvk is not None:
        return custom_name(struct.gvk)
    package = struct.package
    if package == "meta":
        return ("io.k8s.apimachinery.pkg.version.Info") if struct.name == "Info" else f"{_META}.{struct.name}"
    if package in _PACKAGES:
        return f"{_PACKAGES[package]}.{struct.name}"
    group, _, version = package.rpartition("_")
    return f"io.k8s.api.{group}.{version}.{struct.name}"


class Schemas:
    """Renders types; `ref` says how one type points to another. `zeros`: Go's zero values as defaults (v3)."""

    def __init__(self, registry: Registry, prefix: str, *, zeros: bool) -> None:
        self.registry = registry
        self.prefix = prefix
        self.zeros = zeros

    def render(self, struct: Struct) -> Json:
        name = definition_name(struct)
        described = describe(name)
        out: Json = {"description": described.get("description", "")} if described.get("description") else {}
        if (struct.package == "apiextensions_v1" and struct.name in _FREE) or struct.name == "Patch":
            return {**out, "type": "object"} if struct.name == "Patch" else out
        out["type"] = "object"
        properties: Json = {}
        texts = described.get("properties", {})
        for field in sorted(struct.fields.values(), key=lambda item: item.name):
            properties[field.name] = self.field(field, texts.get(field.name, ""))
        required = sorted(field.name for field in struct.fields.values() if field.required)
        if required:
            out["required"] = required
        if properties:
            out["properties"] = properties
        if struct.atomic:
            out["x-kubernetes-map-type"] = "atomic"
        if struct.unions:
            out["x-kubernetes-unions"] = list(struct.unions)
        kinds = self.gvks(struct)
        if kinds:
            out["x-kubernetes-group-version-kind"] = kinds
        return out

    def gvks(self, struct: Struct) -> list[Json]:
        if struct.package == "meta" and struct.name in ("DeleteOptions", "WatchEvent"):
            pairs = {(names.group, names.version) for names in default_names()}
            return [{"group": g, "kind": struct.name, "version": v} for g, v in sorted(pairs)]
        if struct.gvk is None:
            return []
        group, version, kind = struct.gvk
        return [{"group": group, "kind": kind, "version": version}]

    def field(self, field: Field, text: str) -> Json:
        out: Json = {"description": text} if text else {}
        node = field.node
        shape = self.node(node)
        # a reference with anything beside it is only valid inside allOf
        wrapped = self.zeros and "$ref" in shape and (text or not field.pointer)
        out |= {"allOf": [shape]} if wrapped else shape
        if field.default is not None:
            out["default"] = field.default
        elif self.zeros and not field.pointer:
            default = _zero_default(node, field)
            if default is not None:
                out["default"] = default
        if field.enum and isinstance(node, Scalar) and self.zeros:
            out["enum"] = sorted(field.enum)
        if isinstance(node, ListOf):
            if node.merge != "atomic" or field.atomic:
                out["x-kubernetes-list-type"] = node.merge
            if node.keys:
                out["x-kubernetes-list-map-keys"] = list(node.keys)
        elif field.atomic:
            out["x-kubernetes-map-type"] = "atomic"
        strategies = [
            word
            for word, given in (
                ("merge", field.patch_merge),
                ("replace", field.patch_replace),
                ("retainKeys", field.retain_keys),
            )
            if given
        ]
        if strategies:
            out["x-kubernetes-patch-strategy"] = ",".join(strategies)
        if field.patch_key:
            out["x-kubernetes-patch-merge-key"] = field.patch_key
        return out

    def node(self, node: Node) -> Json:
        if isinstance(node, Struct):
            return {"$ref": self.prefix + definition_name(node)}
        if isinstance(node, Scalar):
            if node.code in _NAMED:
                return {"$ref": self.prefix + _NAMED[node.code]}
            return dict(_SCALARS.get(node.code, {}))
        if isinstance(node, ListOf):
            return {"type": "array", "items": self._item(node.element)}
        return {"type": "object", "additionalProperties": self._item(node.value)}

    def _item(self, node: Node) -> Json:
        shape = self.node(node)
        if not self.zeros:
            return shape
        if "$ref" in shape and isinstance(node, Struct):
            return {"allOf": [shape], "default": {}}
        if isinstance(node, Scalar) and node.code == "s":
            return {**shape, "default": ""}
        return shape


def _zero_default(node: Node, field: Field) -> Any:
    if isinstance(node, Struct):
        return {} if not node.name.startswith("JSON") else None
    if isinstance(node, Scalar) and field.required:
        return {"s": "", "i": 0, "l": 0, "b": False}.get(node.code)
    return None


def custom_name(gvk: tuple[str, str, str]) -> str:
    group, version, kind = gvk
    return f"{'.'.join(reversed(group.split('.')))}.{version}.{kind}"


def custom_schemas(registry: Registry, group: str, version: str, prefix: str, *, v2: bool) -> Json:
    """The kinds that definitions make in a group-version, and their lists."""
    out: Json = {}
    for names in registry.names(group, version):
        kind = registry.get(group, version, names.resource)
        if kind is None or not kind.custom:
            continue
        from sampan.api.customresource import openapi

        name = custom_name((group, version, names.kind))
        out[name] = openapi.root_schema(
            kind.published(), (group, version, names.kind), f"{prefix}{_META}.ObjectMeta", v2=v2
        )
        lists = openapi.list_schema(
            (group, version, names.kind), kind.list_kind, prefix + name, f"{prefix}{_META}.ListMeta", v2=v2
        )
        out[custom_name((group, version, kind.list_kind))] = lists
    return out


def name_of(registry: Registry, gvk: tuple[str, str, str]) -> str | None:
    """The name of whatever stands in a body; None where there is no schema."""
    group, version, kind = gvk
    if kind == "Patch":
        return definition_name(facts.struct("meta", "Patch"))
    for single in (kind, kind.removesuffix("List")):
        found = registry.by_kind(group, version, single)
        if found is not None and found.custom:
            return custom_name((group, version, kind if single == kind else found.list_kind))
    struct = registry.struct(group, version, kind)
    return definition_name(struct) if struct is not None else None


def is_custom(registry: Registry, names: Names) -> bool:
    kind = registry.get(names.group, names.version, names.resource)
    return kind is not None and kind.custom


def reachable(roots: list[Struct]) -> tuple[dict[str, Struct], set[str]]:
    """All types below `roots` by definition name, and the special ones they use."""
    found: dict[str, Struct] = {}
    special: set[str] = set()
    todo = list(roots)
    while todo:
        struct = todo.pop()
        name = definition_name(struct)
        if name in found:
            continue
        found[name] = struct
        for field in struct.fields.values():
            node: Node = field.node
            while isinstance(node, (ListOf, MapOf)):
                node = node.element if isinstance(node, ListOf) else node.value
            if isinstance(node, Struct):
                todo.append(node)
            elif node.code in _NAMED:
                special.add(_NAMED[node.code])
    return found, special


def types_of(registry: Registry, group: str, version: str) -> list[Struct]:
    """The types that bodies of a group-version's resources have, lists included."""
    package = package_of(group, version)
    out: list[Struct] = []
    for names in registry.names(group, version):
        kind = registry.get(group, version, names.resource)
        assert kind is not None
        if kind.custom:
            out.extend(facts.struct("meta", name) for name in ("ObjectMeta", "ListMeta"))
        else:
            out.append(kind.schema)
            if "list" in names.verbs and f"{names.kind}List" in facts.package(package):
                out.append(facts.struct(package, f"{names.kind}List"))
        for sub in names.subresources:
            struct = registry.struct(sub.group, sub.version, sub.kind)
            if struct is not None and struct.reader is None:
                out.append(struct)
    out.extend(facts.struct("meta", name) for name in ("DeleteOptions", "Status", "WatchEvent", "Patch"))
    out.extend(facts.struct("meta", name) for name in ("APIResourceList", "APIGroup"))
    return out


@functools.cache
def _descriptions() -> Json:
    """Upstream's texts where `sampan[docs]` is installed."""
    import importlib.util

    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or not spec.submodule_search_locations:
        return {}
    from pathlib import Path

    import orjson

    found = sorted(Path(spec.submodule_search_locations[0]).glob("kubernetes-json-schema/v1.37*/_definitions.json"))
    return dict(orjson.loads(found[-1].read_bytes())["$defs"]) if found else {}


def describe(name: str) -> Json:
    """`description`, and `properties` by name with theirs; empty without texts."""
    raw = _descriptions().get(name)
    if raw is None:
        return {}
    texts = {key: value.get("description", "") for key, value in (raw.get("properties") or {}).items()}
    return {"description": raw.get("description", ""), "properties": texts}

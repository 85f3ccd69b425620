"""OpenAPI v2 (Swagger): one document of everything, as JSON or as gnostic's protobuf, which older clients need.

Source: k8s.io/kube-openapi/pkg/builder, pkg/handler
"""

from __future__ import annotations

from typing import Any

from sampan.api.kind import Names
from sampan.api.registry import Registry, default_names
from sampan.apiserver.openapi.paths import BOOLEANS, CUSTOM_PATCH_TYPES, INTEGERS, PATCH_TYPES, Operation, of_resource
from sampan.apiserver.openapi.schemas import (
    SPECIAL,
    Schemas,
    custom_schemas,
    is_custom,
    name_of,
    reachable,
    types_of,
)

Json = dict[str, Any]
PREFIX = "#/definitions/"
MEDIA = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"]


def document(registry: Registry) -> Json:
    """Of what is built in: it never changes, and takes its time."""
    schemas = Schemas(registry, PREFIX, zeros=False)
    groups = {(names.group, names.version): None for names in default_names()}
    roots = [struct for group, version in groups for struct in types_of(registry, group, version)]
    found, special = reachable(roots)
    definitions = {name: schemas.render(struct) for name, struct in sorted(found.items())}
    definitions |= {name: dict(SPECIAL[name]) for name in sorted(special)}
    paths = _paths(
        registry, [n for gv in groups for n in registry.names(*gv) if not is_custom(registry, n)], PATCH_TYPES
    )
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.37.0"},
        "paths": paths,
        "definitions": definitions,
    }


def custom(registry: Registry) -> tuple[Json, Json]:
    """Paths and definitions of custom resources, to be joined with those of the document."""
    found: list[Names] = []
    definitions: Json = {}
    for group, versions in registry.groups():
        for version in versions:
            found.extend(names for names in registry.names(group, version) if is_custom(registry, names))
            definitions |= custom_schemas(registry, group, version, PREFIX, v2=True)
    return _paths(registry, found, CUSTOM_PATCH_TYPES), definitions


def _paths(registry: Registry, found: list[Names], patches: tuple[str, ...]) -> Json:
    out: Json = {}
    for names in found:
        for operation in of_resource(names):
            item = out.setdefault(operation.path, {})
            item[operation.method] = _operation(registry, operation, names.group, names.version, patches)
            item.setdefault("parameters", [_path_parameter(name) for name in operation.parameters])
    return out


def _operation(registry: Registry, operation: Operation, group: str, version: str, patches: tuple[str, ...]) -> Json:
    reply = _ref(registry, operation.reply)
    ok: Json = {"description": "OK", "schema": reply} if reply else {"description": "OK"}
    parameters = [_query_parameter(name) for name in operation.query]
    out: Json = {
        "schemes": ["https"],
        "tags": [f"{group.split('.')[0] or 'core'}_{version}"],
        "operationId": operation.id,
        "produces": MEDIA,
        "consumes": list(patches) if operation.method == "patch" else ["*/*"],
        "responses": {"200": ok, "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": dict(zip(("group", "version", "kind"), operation.kind, strict=True)),
    }
    if operation.body is not None:
        required = operation.method != "delete"
        body: Json = {"name": "body", "in": "body", "schema": _ref(registry, operation.body)}
        parameters.insert(0, {**body, "required": True} if required else body)
    if parameters:
        out["parameters"] = parameters
    return out


def _ref(registry: Registry, gvk: tuple[str, str, str]) -> Json:
    name = name_of(registry, gvk)
    return {"$ref": PREFIX + name} if name is not None else {}


def _query_parameter(name: str) -> Json:
    kind = "integer" if name in INTEGERS else "boolean" if name in BOOLEANS else "string"
    return {"name": name, "in": "query", "type": kind, "uniqueItems": True}


def _path_parameter(name: str) -> Json:
    return {"name": name, "in": "path", "type": "string", "required": True, "uniqueItems": True}

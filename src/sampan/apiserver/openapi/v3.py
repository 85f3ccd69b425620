"""OpenAPI v3: one document for each group-version, built when first asked for and kept as bytes.

Source: k8s.io/kube-openapi/pkg/handler3, pkg/builder3
"""

from __future__ import annotations

from typing import Any

import orjson

from sampan.api.registry import Registry
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
PREFIX = "#/components/schemas/"
MEDIA = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")


def document(registry: Registry, group: str, version: str) -> bytes:
    """The document of one group-version."""
    schemas = Schemas(registry, PREFIX, zeros=True)
    found, special = reachable(types_of(registry, group, version))
    components = {name: schemas.render(struct) for name, struct in sorted(found.items())}
    components |= {name: dict(SPECIAL[name]) for name in sorted(special)}
    components |= custom_schemas(registry, group, version, PREFIX, v2=False)
    paths: Json = {}
    for names in registry.names(group, version):
        for operation in of_resource(names):
            item = paths.setdefault(operation.path, {})
            patches = CUSTOM_PATCH_TYPES if is_custom(registry, names) else PATCH_TYPES
            item[operation.method] = _operation(registry, operation, group, version, patches)
            item.setdefault("parameters", [_path_parameter(name) for name in operation.parameters])
    return orjson.dumps(
        {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": "v1.37.0"},
            "paths": paths,
            "components": {"schemas": components},
        }
    )


def _operation(registry: Registry, operation: Operation, group: str, version: str, patches: tuple[str, ...]) -> Json:
    reply = _ref(registry, operation.reply)
    codes = {"post": ("200", "201", "202"), "put": ("200", "201"), "patch": ("200", "201"), "delete": ("200", "202")}
    content = {media: {"schema": reply} for media in MEDIA} if reply else {}
    replies = {code: {"description": "OK", "content": content} for code in codes.get(operation.method, ("200",))}
    out: Json = {
        "tags": [f"{group.split('.')[0] or 'core'}_{version}"],
        "operationId": operation.id,
        "parameters": [_query_parameter(name) for name in operation.query],
        "responses": {**replies, "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": dict(zip(("group", "version", "kind"), operation.kind, strict=True)),
    }
    if operation.body is not None:
        body = _ref(registry, operation.body)
        types = patches if operation.method == "patch" else MEDIA if operation.method == "delete" else ("*/*",)
        out["requestBody"] = {"content": {media: {"schema": body} for media in types}}
        if operation.method != "delete":
            out["requestBody"]["required"] = True
    return out


def _ref(registry: Registry, gvk: tuple[str, str, str]) -> Json:
    name = name_of(registry, gvk)
    return {"$ref": PREFIX + name} if name is not None else {"type": "object"}


def _schema(name: str) -> Json:
    if name in INTEGERS:
        return {"type": "integer", "uniqueItems": True}
    return {"type": "boolean" if name in BOOLEANS else "string", "uniqueItems": True}


def _query_parameter(name: str) -> Json:
    return {"name": name, "in": "query", "schema": _schema(name)}


def _path_parameter(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "uniqueItems": True}}

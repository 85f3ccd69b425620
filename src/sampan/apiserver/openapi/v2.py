"""OpenAPI v2 (Swagger): one document of everything, as JSON or as gnostic's protobuf, which older clients need.

Source: k8s.io/kube-openapi/pkg/builder, pkg/handler
"""

from __future__ import annotations

from typing import Any

from sampan.api.registry import Registry
from sampan.apiserver.openapi.paths import BOOLEANS, INTEGERS, PATCH_TYPES, Operation, of_resource
from sampan.apiserver.openapi.schemas import SPECIAL, Schemas, definition_name, reachable, types_of

Json = dict[str, Any]
PREFIX = "#/definitions/"
MEDIA = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"]


def document(registry: Registry) -> Json:
    schemas = Schemas(registry, PREFIX, zeros=False)
    roots = [s for group, versions in registry.groups() for v in versions for s in types_of(registry, group, v)]
    found, special = reachable(roots)
    definitions = {name: schemas.render(struct) for name, struct in sorted(found.items())}
    definitions |= {name: dict(SPECIAL[name]) for name in sorted(special)}
    paths: Json = {}
    for group, versions in registry.groups():
        for version in versions:
            for names in registry.names(group, version):
                for operation in of_resource(names):
                    item = paths.setdefault(operation.path, {})
                    item[operation.method] = _operation(registry, operation, group, version)
                    item.setdefault("parameters", [_path_parameter(name) for name in operation.parameters])
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.37.0"},
        "paths": paths,
        "definitions": definitions,
    }


def _operation(registry: Registry, operation: Operation, group: str, version: str) -> Json:
    reply = _ref(registry, operation.reply)
    ok: Json = {"description": "OK", "schema": reply} if reply else {"description": "OK"}
    parameters = [_query_parameter(name) for name in operation.query]
    out: Json = {
        "schemes": ["https"],
        "tags": [f"{group.split('.')[0] or 'core'}_{version}"],
        "operationId": operation.id,
        "produces": MEDIA,
        "consumes": list(PATCH_TYPES) if operation.method == "patch" else ["*/*"],
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
    from sampan.api.schema import facts

    group, version, kind = gvk
    if kind == "Patch":
        return {"$ref": PREFIX + definition_name(facts.struct("meta", "Patch"))}
    struct = registry.struct(group, version, kind)
    return {"$ref": PREFIX + definition_name(struct)} if struct is not None else {}


def _query_parameter(name: str) -> Json:
    kind = "integer" if name in INTEGERS else "boolean" if name in BOOLEANS else "string"
    return {"name": name, "in": "query", "type": kind, "uniqueItems": True}


def _path_parameter(name: str) -> Json:
    return {"name": name, "in": "path", "type": "string", "required": True, "uniqueItems": True}

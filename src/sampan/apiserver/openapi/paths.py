"""The paths of one resource, with their operations, as both OpenAPI documents need them.

Source: k8s.io/apiserver/pkg/endpoints/installer.go
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sampan.api.kind import Names

WRITE = ("dryRun", "fieldManager", "fieldValidation")
LIST = (
    "allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion",
    "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch",
)  # fmt: skip
DELETE = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
INTEGERS = {"limit", "timeoutSeconds", "gracePeriodSeconds"}
BOOLEANS = {"allowWatchBookmarks", "sendInitialEvents", "watch", "orphanDependents", "force"}
PATCH_TYPES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
#: custom resources have no Go types that say how lists merge
CUSTOM_PATCH_TYPES = tuple(item for item in PATCH_TYPES if "strategic" not in item)
_ACTIONS = {"get": "get", "list": "list", "create": "post", "update": "put", "patch": "patch", "delete": "delete"}


@dataclass(frozen=True, slots=True)
class Operation:
    """`body`, `reply`: (group, version, kind) of what goes in and out; `kind`: whose operation it is."""

    path: str
    method: str
    action: str
    id: str
    kind: tuple[str, str, str]
    body: tuple[str, str, str] | None
    reply: tuple[str, str, str]
    query: tuple[str, ...]
    parameters: tuple[str, ...]


def of_resource(names: Names) -> Iterator[Operation]:
    """All operations of a resource and of its subresources that take objects."""
    root = f"/apis/{names.group}/{names.version}" if names.group else f"/api/{names.version}"
    base = f"{root}/namespaces/{{namespace}}/{names.resource}" if names.namespaced else f"{root}/{names.resource}"
    scope = ("namespace",) if names.namespaced else ()
    kind = (names.group, names.version, names.kind)
    listed = (names.group, names.version, names.kind + "List")
    status = ("", "v1", "Status")
    options = ("", "v1", "DeleteOptions")
    middle = ("Namespaced" if names.namespaced else "") + names.kind
    tag = _tag(names)

    def op(path: str, method: str, action: str, verb: str, **more: object) -> Operation:
        values = {"body": None, "reply": kind, "query": (), "parameters": scope, "kind": kind, **more}
        return Operation(path, method, action, f"{verb[0].lower()}{verb[1:]}".replace("@", tag), **values)  # type: ignore[arg-type]

    if "list" in names.verbs:
        yield op(base, "get", "list", f"list@{middle}", reply=listed, query=LIST)
        if names.namespaced:
            everywhere = f"{root}/{names.resource}"
            yield op(
                everywhere, "get", "list", f"list@{names.kind}ForAllNamespaces", reply=listed, query=LIST, parameters=()
            )
    if "create" in names.verbs:
        yield op(base, "post", "post", f"create@{middle}", body=kind, query=WRITE)
    if "deletecollection" in names.verbs:
        query = tuple(name for name in LIST if name not in ("allowWatchBookmarks", "watch")) + DELETE
        yield op(
            base, "delete", "deletecollection", f"delete@Collection{middle}", body=options, reply=status, query=query
        )
    one, inside = base + "/{name}", ("name", *scope)
    if "get" in names.verbs:
        yield op(one, "get", "get", f"read@{middle}", parameters=inside)
    if "update" in names.verbs:
        yield op(one, "put", "put", f"replace@{middle}", body=kind, query=WRITE, parameters=inside)
    if "patch" in names.verbs:
        patch = ("", "v1", "Patch")
        yield op(one, "patch", "patch", f"patch@{middle}", body=patch, query=(*WRITE, "force"), parameters=inside)
    if "delete" in names.verbs:
        yield op(
            one, "delete", "delete", f"delete@{middle}", body=options, reply=status, query=DELETE, parameters=inside
        )
    for sub in names.subresources:
        path, its = f"{one}/{sub.name}", (sub.group, sub.version, sub.kind)
        if sub.kind.endswith("Options"):
            continue
        end = middle + sub.name.capitalize()
        for verb in sub.verbs:
            method = _ACTIONS.get(verb)
            if method is None:
                continue
            word = {"get": "read", "update": "replace"}.get(verb, verb)
            body = None if verb == "get" else ("", "v1", "Patch") if verb == "patch" else its
            query = () if verb == "get" else (*WRITE, "force") if verb == "patch" else WRITE
            yield op(
                path, method, method, f"{word}@{end}", body=body, reply=its, kind=its, query=query, parameters=inside
            )


def _tag(names: Names) -> str:
    group = names.group.removesuffix(".k8s.io").split(".")[0] if names.group else "core"
    return group.capitalize() + names.version.capitalize()

"""What a mutation makes of an object: an apply configuration merged into it, or a JSON patch.

A configuration may not set what is replaced as a whole: what is in it and not in the configuration would be lost. What
comes out is read as a client's object would be; a JSON patch may not add fields that there are not.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch/{smd,json_patch}.go, mutating/dispatcher.go (dispatchOne)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.api import cel, errors
from sampan.api.cel.library.jsonpatch import mismatches, plain
from sampan.api.kind import Obj
from sampan.api.schema.bodies import check_depth
from sampan.api.schema.decode import decode
from sampan.api.schema.nodes import DEDUCED, Field, ListOf, MapOf, Node, Struct
from sampan.apiserver.admission.chain import Attributes
from sampan.apiserver.body import finish
from sampan.apiserver.patch import json_patch
from sampan.apiserver.patch.apply import listed
from sampan.apiserver.patch.fieldset import child, is_atomic
from sampan.apiserver.patch.typed import check, merge
from sampan.apiserver.webhooks.match import Gvk

UNKNOWN = (
    "Resource kind {}/{}, Kind={} not found. There can be a delay between when CustomResourceDefinitions are created and "
    "when they are available."
)


class Failed(Exception):
    """The mutation cannot be made: what follows is for the policy's failurePolicy to say."""


def make(attributes: Attributes, patch_type: str, result: Any, obj: Obj, gvk: Gvk) -> Obj:
    """`result`: of the expression. Raises Failed, and StatusError where the object cannot be read any more."""
    struct = attributes.api.registry.struct(*gvk)
    if struct is None:
        raise errors.unavailable(UNKNOWN.format(*gvk))
    try:
        check_depth(result)
    except errors.StatusError as error:
        raise Failed(error.message) from None
    if patch_type == "JSONPatch":
        return _patched(attributes, _operations(result), obj, gvk, struct)
    return _applied(attributes, result, obj, gvk, struct)


# -- apply configurations ----------------------------------------------------------------------------------------------


def _applied(attributes: Attributes, result: Any, obj: Obj, gvk: Gvk, struct: Struct) -> Obj:
    if not isinstance(result, cel.Made):
        raise Failed("unsupported return type from ApplyConfiguration expression: null_type")
    _same_types(result)
    config = {**plain(result), "apiVersion": obj["apiVersion"], "kind": obj["kind"]}
    problems = check(config, struct)
    if problems:
        raise Failed(f"error applying patch: failed to convert patch object to typed object: {listed(problems)}")
    whole = ", ".join(_atomics(config, struct, None, ""))
    if whole:
        what = f"may not mutate atomic arrays, maps or structs: {whole}"
        raise Failed(f"error applying patch: invalid ApplyConfiguration: {what}")
    try:
        return _read(attributes, merge(obj, config, struct), gvk, struct)
    except errors.StatusError as error:
        raise Failed(_said(error, gvk)) from None


def _same_types(made: cel.Made, root: str = "Object") -> None:
    wrong = "\n".join(mismatches(made, root))
    if wrong:
        raise Failed(f"type mismatch: {wrong}")


def _atomics(value: Any, node: Node | None, field: Field | None, path: str) -> Iterator[str]:
    """Paths of what is atomic, seen through structs and lists; what is in maps is not looked at."""
    if isinstance(value, dict) and isinstance(node, Struct | MapOf):
        if is_atomic(node, field):
            yield path
        for name, item in value.items():
            if isinstance(node, Struct) and name in node.fields:
                yield from _atomics(item, *child(node, field, name), f"{path}.{name}")
    elif isinstance(value, list) and (isinstance(node, ListOf) or node is DEDUCED):
        if node is DEDUCED or is_atomic(node, field):
            yield path
        for index, item in enumerate(value if isinstance(node, ListOf) else ()):
            yield from _atomics(item, node.element, None, f"{path}[{index}]")  # type: ignore[union-attr]


# -- JSON patches ------------------------------------------------------------------------------------------------------


def _operations(result: Any) -> list[dict[str, Any]]:
    if not isinstance(result, list | tuple):
        raise Failed("type mismatch: JSONPatchType.expression should evaluate to array")
    out = []
    for item in result:
        if not isinstance(item, dict):
            why = "type conversion error from 'null_type' to '*mutation.JSONPatchVal'"
            raise Failed(f"type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch: {why}")
        operation = {"op": item.get("op", ""), "path": item.get("path", "")}
        if item.get("from"):
            operation["from"] = item["from"]
        if "value" in item:
            value = item["value"]
            if isinstance(value, cel.Made):
                _same_types(value, value.made_of)
            operation["value"] = plain(value)
        out.append(operation)
    return out


def _patched(attributes: Attributes, operations: list[Any], obj: Obj, gvk: Gvk, struct: Struct) -> Obj:
    try:
        raw = json_patch.patched(obj, operations)
    except json_patch.TestFailed:
        return obj
    except json_patch.Refused as refused:
        raise Failed(f"JSON Patch: {refused}") from None
    if not isinstance(raw, dict) or (raw.get("apiVersion"), raw.get("kind")) != (obj["apiVersion"], obj["kind"]):
        raise errors.internal("a JSON patch must not change apiVersion or kind")
    if "metadata" in obj and not isinstance(raw.get("metadata"), dict):
        raise errors.internal("a JSON patch must leave metadata an object")
    try:
        check_depth(raw)
        unknown: list[str] = []
        if struct.reader is None:
            decode(struct, raw, strict=unknown)
        if unknown:
            raise errors.internal(f"strict decoding error: {', '.join(unknown)}")
        return _read(attributes, raw, gvk, struct)
    except errors.StatusError as error:
        raise error if error.code == 500 else errors.internal(_said(error, gvk)) from None


def _read(attributes: Attributes, raw: Obj, gvk: Gvk, struct: Struct) -> Obj:
    new = finish(attributes.call, struct, gvk, raw, "Ignore", [])
    kind = attributes.api.registry.by_kind(*gvk)
    if kind is not None:
        kind.default(new)
    return new


def _said(error: errors.StatusError, gvk: Gvk) -> str:
    """Without the words for clients whose body cannot be read."""
    return error.message.partition(f" cannot be handled as a {gvk[2]}: ")[2] or error.message

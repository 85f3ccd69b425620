"""Strategic merge patch: a merge patch that knows which lists are maps.

Lists with a merge key are merged item by item; `$patch`, `$retainKeys`, `$setElementOrder/f` and
`$deleteFromPrimitiveList/f` say what a plain overlay cannot.

Source: k8s.io/apimachinery/pkg/util/strategicpatch/patch.go
"""

from __future__ import annotations

from typing import Any

from sampan.api import errors
from sampan.api.schema.nodes import Field, ListOf, MapOf, Node, Struct

PATCH, RETAIN = "$patch", "$retainKeys"
ORDER, DROP = "$setElementOrder/", "$deleteFromPrimitiveList/"
_ABSENT: Any = object()
Json = dict[str, Any]


def apply(struct: Struct, original: Json, patch: Json) -> Json:
    """A new object; neither argument is changed. Raises 400 for directives that make no sense."""
    return _merge(original, patch, struct)


def _bad(message: str) -> errors.StatusError:
    return errors.bad_request(message)


def _field(node: Node | None, key: str) -> Field | None:
    return node.fields.get(key) if isinstance(node, Struct) else None


def _node(node: Node | None, key: str) -> Node | None:
    if isinstance(node, MapOf):
        return node.value
    field = _field(node, key)
    return field.node if field else None


def _merge(original: Json, patch: Json, node: Node | None) -> Json:
    directive = patch.get(PATCH)
    if directive is not None:
        if directive == "replace":
            return {key: _clean(value) for key, value in patch.items() if key != PATCH}
        if directive == "delete":
            return {}
        if directive != "merge":
            raise _bad(f"unknown patch type found: {directive}")
    out = dict(original)
    _retain(out, patch)
    for key, value in patch.items():
        if key.startswith(DROP):
            name = key[len(DROP) :]
            _require_list(key, value)
            if isinstance(out.get(name), list):
                out[name] = [item for item in out[name] if item not in value]
    for key, value in patch.items():
        if key in (PATCH, RETAIN) or key.startswith((ORDER, DROP)):
            continue
        if value is None:
            out.pop(key, None)
            continue
        out[key] = _value(out.get(key, _ABSENT), value, _field(node, key), _node(node, key), patch.get(ORDER + key))
    for key, order in patch.items():
        if key.startswith(ORDER):
            name = key[len(ORDER) :]
            _require_list(key, order)
            if name not in patch and isinstance(out.get(name), list):
                out[name] = _ordered(out[name], order, _field(node, name), original.get(name) or [])
    return out


def _require_list(key: str, value: Any) -> None:
    if not isinstance(value, list):
        raise _bad(f"the value of {key} must be a list")


def _retain(out: Json, patch: Json) -> None:
    keep = patch.get(RETAIN)
    if keep is None:
        return
    if not isinstance(keep, list):
        raise _bad("invalid patch format of retainKeys: the value must be a list")
    missing = [key for key in patch if not key.startswith("$") and patch[key] is not None and key not in keep]
    if missing:
        raise _bad("invalid patch format of retainKeys: it must contain all keys that are present in the patch")
    for key in list(out):
        if key not in keep:
            del out[key]


def _value(old: Any, new: Any, field: Field | None, node: Node | None, order: Any) -> Any:
    if isinstance(new, dict):
        replace = field is not None and field.patch_replace
        if not isinstance(old, dict) or replace:
            return _merge({}, new, node)
        return _merge(old, new, node)
    if isinstance(new, list):
        if field is None or not field.patch_merge:
            return _clean(new)
        return _merge_list(old if isinstance(old, list) else [], new, field, order)
    return new


def _clean(value: Any) -> Any:
    """A value that is new: without the nulls and directives that only say something to an old one."""
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items() if item is not None and not key.startswith("$")}
    if isinstance(value, list):
        return [_clean(item) for item in value if not (isinstance(item, dict) and item.get(PATCH) == "delete")]
    return value


def _merge_list(old: list[Any], new: list[Any], field: Field, order: Any) -> list[Any]:
    if not field.patch_key:
        merged = list(old)
        merged.extend(item for item in new if item not in merged)
    else:
        merged = _merge_items(old, new, field)
    if order is not None:
        _require_list(ORDER + field.name, order)
        merged = _ordered(merged, order, field, old)
    return merged


def _merge_items(old: list[Any], new: list[Any], field: Field) -> list[Any]:
    key = field.patch_key
    element = field.node.element if isinstance(field.node, ListOf) else None
    for item in [*old, *new]:
        if not isinstance(item, dict):
            raise _bad(f"the items of {field.name} must be objects")
    if any(item.get(PATCH) == "replace" for item in new):
        return [_clean(item) for item in new if PATCH not in item]
    out: list[Any] = list(old)
    for item in new:
        directive = item.get(PATCH)
        if key not in item:
            raise _bad(f"map: {item} does not contain declared merge key: {key}")
        at = next((index for index, have in enumerate(out) if have.get(key) == item[key]), None)
        if directive == "delete":
            out = [have for have in out if have.get(key) != item[key]]
        elif directive not in (None, "merge"):
            raise _bad(f"unknown patch type found: {directive}")
        elif at is None:
            out.append(_merge({}, item, element))
        else:
            out[at] = _merge(out[at], item, element)
    return out


def _ordered(merged: list[Any], order: list[Any], field: Field | None, server: list[Any]) -> list[Any]:
    """The patch's order for what it names; what only the server has keeps its place relative to that."""
    key = field.patch_key if field else ""

    def identity(item: Any) -> Any:
        value = item.get(key) if key and isinstance(item, dict) else item
        return (type(value).__name__, str(value))

    rank = {identity(item): index for index, item in reversed(list(enumerate(order)))}
    place = {identity(item): index for index, item in reversed(list(enumerate(server)))}
    named = sorted((item for item in merged if identity(item) in rank), key=lambda item: rank[identity(item)])
    others = [item for item in merged if identity(item) not in rank]
    out: list[Any] = []
    while named and others:
        left, right = place.get(identity(named[0])), place.get(identity(others[0]))
        take_other = left is not None and right is not None and right < left
        out.append((others if take_other else named).pop(0))
    return [*out, *named, *others]

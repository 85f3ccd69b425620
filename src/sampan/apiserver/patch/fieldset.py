"""Sets of fields, in the form they have on the wire (`FieldsV1`).

A set is a dict from path elements (`f:name`, `k:{"name":"x"}`, `v:"x"`) to sets. An element that is a member and has
no members below it is `{}`; one that has both says so with `"."`. The root is never a member.

Source: sigs.k8s.io/structured-merge-diff fieldpath/{set,serialize,serialize-pe}.go
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import orjson

from sampan.api.schema.nodes import Field, ListOf, MapOf, Node, Struct

FieldSet = dict[str, Any]
MEMBER: FieldSet = {}


def member(node: FieldSet) -> bool:
    return not node or "." in node


def _make(is_member: bool, children: FieldSet) -> FieldSet | None:
    if not children:
        return {} if is_member else None
    if is_member:
        return {".": {}, **children}
    return children


def _children(node: FieldSet) -> Iterator[tuple[str, FieldSet]]:
    return ((key, value) for key, value in node.items() if key != ".")


def union(a: FieldSet, b: FieldSet) -> FieldSet:
    """Root sets, as for the functions below."""
    out = dict(a)
    for key, value in b.items():
        out[key] = _union(out[key], value) if key in out else value
    return out


def _union(a: FieldSet, b: FieldSet) -> FieldSet:
    if a is b:
        return a
    children = dict(_children(a))
    for key, value in _children(b):
        children[key] = _union(children[key], value) if key in children else value
    made = _make(member(a) or member(b), children)
    assert made is not None
    return made


def difference(a: FieldSet, b: FieldSet) -> FieldSet:
    if not b:
        return a
    out = {}
    for key, value in a.items():
        left = _difference(value, b[key]) if key in b else value
        if left is not None:
            out[key] = left
    return out


def _difference(a: FieldSet, b: FieldSet) -> FieldSet | None:
    children = {}
    for key, value in _children(a):
        left = _difference(value, b[key]) if key in b else value
        if left is not None:
            children[key] = left
    return _make(member(a) and not member(b), children)


def intersection(a: FieldSet, b: FieldSet) -> FieldSet:
    out = {}
    for key, value in a.items():
        if key in b:
            both = _intersection(value, b[key])
            if both is not None:
                out[key] = both
    return out


def _intersection(a: FieldSet, b: FieldSet) -> FieldSet | None:
    children = {}
    for key, value in _children(a):
        if key in b:
            both = _intersection(value, b[key])
            if both is not None:
                children[key] = both
    return _make(member(a) and member(b), children)


def without(a: FieldSet, paths: tuple[str, ...]) -> FieldSet:
    """Without everything at and below dotted field paths."""
    for path in paths:
        a = _without(a, path.split("."))
    return a


def _without(a: FieldSet, steps: list[str]) -> FieldSet:
    key = "f:" + steps[0]
    if key not in a:
        return a
    out = dict(a)
    if len(steps) == 1:
        del out[key]
        return out
    below = _without(a[key], steps[1:])
    if below or member(a[key]):
        out[key] = below
    else:
        del out[key]
    return out


def paths(a: FieldSet, before: str = "") -> Iterator[str]:
    """Members as upstream prints paths: `.spec.containers[name="x"].image`, parents first."""
    for key, value in sorted(_children(a)):
        here = before + _shown(key)
        if member(value):
            yield here
        yield from paths(value, here)


def _shown(key: str) -> str:
    kind, _, rest = key.partition(":")
    if kind == "f":
        return "." + rest
    if kind == "k":
        pairs = json.loads(rest)
        return "[" + ",".join(f"{name}={json.dumps(value)}" for name, value in sorted(pairs.items())) + "]"
    return f"[={rest}]" if kind == "v" else f"[{rest}]"


# -- objects as sets -------------------------------------------------------------------------------------------------


def child(node: Node | None, field: Field | None, key: str) -> tuple[Node | None, Field | None]:
    """The node below `key` of a struct or map."""
    if isinstance(node, Struct):
        found = node.fields.get(key)
        return (found.node, found) if found else (node.rest, None)
    if isinstance(node, MapOf):
        return node.value, None
    return None, None


def is_atomic(node: Node | None, field: Field | None) -> bool:
    """Owned as a whole: scalars, atomic lists, maps and structs, and what has no schema."""
    if node is None or (field is not None and field.atomic):
        return True
    if isinstance(node, ListOf):
        return node.merge == "atomic"
    if isinstance(node, MapOf):
        return node.atomic
    return node.atomic if isinstance(node, Struct) else True


def is_leaf(value: Any, node: Node | None) -> bool:
    """A list where the schema knows of none is owned as a whole."""
    return isinstance(value, list) and not isinstance(node, ListOf)


def element_key(node: ListOf, item: Any) -> str:
    """The path element of a list item: by its keys, or by its value. Absent keys have their declared default."""
    if node.merge == "set" or not isinstance(item, dict):
        return "v:" + _dumps(item)
    keys = {}
    for name in _in_order(node.keys):
        if name in item:
            keys[name] = item[name]
        elif isinstance(node.element, Struct):
            field = node.element.fields.get(name)
            if field is not None and field.default is not None:
                keys[name] = field.default
    return "k:" + _dumps(keys)


@functools.lru_cache(maxsize=256)
def _in_order(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(keys))


def _dumps(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except (TypeError, ValueError):
        # integers of more than 64 bits, halves of surrogate pairs
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def of(value: Any, node: Node | None, field: Field | None = None) -> FieldSet:
    """The fields that an applied configuration names: leaves, and list items themselves."""
    out: FieldSet = {}
    for key, item in value.items():
        below, its_field = child(node, field, key)
        made = _of(item, below, its_field)
        if made is not None:
            out["f:" + key] = made
    return out


def _of(value: Any, node: Node | None, field: Field | None) -> FieldSet | None:
    if is_atomic(node, field) or value is None or value in ({}, []):
        return {}
    if isinstance(node, ListOf):
        if not isinstance(value, list):
            return {}
        items: FieldSet = {}
        for item in value:
            inner = of(item, node.element) if isinstance(item, dict) and node.merge == "map" else {}
            items[element_key(node, item)] = _make(True, inner) or {}
        return items
    return of(value, node, field) if isinstance(value, dict) else {}


def everything(value: Any, node: Node | None, field: Field | None) -> FieldSet:
    """All fields of a value that was not there before, containers included."""
    if is_atomic(node, field) or not value or not isinstance(value, (dict, list)) or is_leaf(value, node):
        return {}
    out: FieldSet = {".": {}}
    if isinstance(node, ListOf):
        if not isinstance(value, list):
            return {}
        for item in value:
            inner = everything(item, node.element, None) if node.merge == "map" else {}
            out[element_key(node, item)] = inner
        return out
    if isinstance(value, dict):
        for key, item in value.items():
            plain = item.__class__ is not dict and item.__class__ is not list
            out["f:" + key] = {} if plain else everything(item, *child(node, field, key))
    return out


class Changes:
    """What differs between two objects: sets of what was removed, and of what was modified or added."""

    __slots__ = ("changed", "removed")

    def __init__(self, old: Any, new: Any, node: Node | None) -> None:
        removed, changed = _compare(old, new, node, None)
        self.removed: FieldSet = removed or {}
        self.changed: FieldSet = changed or {}


def _compare(old: Any, new: Any, node: Node | None, field: Field | None) -> tuple[FieldSet | None, FieldSet | None]:
    if old == new:
        return None, None
    if is_atomic(node, field) or (not old and not new) or not isinstance(new, (dict, list)) or is_leaf(new, node):
        return None, {}
    if isinstance(node, ListOf):
        before = {element_key(node, item): item for item in old} if isinstance(old, list) else {}
        after = {element_key(node, item): item for item in new} if isinstance(new, list) else {}
        element: Node | None = node.element
    else:
        before = old if isinstance(old, dict) else {}
        after = new if isinstance(new, dict) else {}
        element = None
    removed: FieldSet = {}
    changed: FieldSet = {}
    for key in {**after, **before}:
        below, its_field = (element, None) if element is not None else child(node, field, key)
        name = key if element is not None else "f:" + key
        if key not in after:
            removed[name] = everything(before[key], below, its_field)
        elif key not in before:
            changed[name] = everything(after[key], below, its_field)
        elif before[key] != after[key]:
            gone, other = _compare(before[key], after[key], below, its_field)
            if gone is not None:
                removed[name] = gone
            if other is not None:
                changed[name] = other
    return removed or None, changed or None

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

from sampan.api.schema.nodes import Field, ListOf, MapOf, Node, Scalar, Struct

FieldSet = dict[str, Any]
MEMBER: FieldSet = {}
#: longer keys of list items are not remembered
MEMORABLE = 256
#: how many sets of keys are remembered for one struct, of how many keys
SHAPES, SHAPE_KEYS = 128, 64


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
    if not a:
        return None if member(b) else a
    children = {}
    for key, value in a.items():
        if key == ".":
            continue
        left = _difference(value, b[key]) if key in b else value
        if left is not None:
            children[key] = left
    return _make("." in a and not member(b), children)


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
    """Without everything at and below dotted field paths; where some begin with `!`, with nothing but what is at and below
    those, in which `*` is any item."""
    gone, only = _steps(paths)
    for steps in gone:
        if steps[0] in a:
            a = _without(a, steps)
    return _only(a, only) if only else a


@functools.lru_cache(maxsize=256)
def _steps(paths: tuple[str, ...]) -> tuple[tuple[tuple[str, ...], ...], dict[str, Any]]:
    gone = tuple(tuple("f:" + step for step in path.split(".")) for path in paths if path[0] != "!")
    only: dict[str, Any] = {}
    for path in paths:
        below = only
        for step in path[1:].split(".") if path[0] == "!" else ():
            below = below.setdefault("*" if step == "*" else "f:" + step, {})
    return gone, only


def _only(a: FieldSet, wanted: dict[str, Any]) -> FieldSet:
    out = {}
    for key, value in _children(a):
        below = wanted.get(key, wanted.get("*"))
        # what is on the way stays a member
        left = None if below is None else _make(member(value), _only(value, below)) if below else value
        if left is not None:
            out[key] = left
    return out


def _without(a: FieldSet, steps: tuple[str, ...]) -> FieldSet:
    key = steps[0]
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
    """Members as upstream prints paths, `.spec.containers[name="x"].image`, and in its order: level by level."""
    inner = sorted(_children(a))
    for key, value in inner:
        if member(value):
            yield before + shown(key)
    for key, value in inner:
        if value:
            yield from paths(value, before + shown(key))


def shown(key: str) -> str:
    """A path element as upstream prints it."""
    kind, _, rest = key.partition(":")
    if kind == "f":
        return "." + rest
    if kind == "k":
        pairs = json.loads(rest)
        return "[" + ",".join(f"{name}={_dumps(value)}" for name, value in sorted(pairs.items())) + "]"
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
    try:
        values = [item[name] for name in node.keys]
        for value in values:
            if value.__class__ is str and len(value) >= MEMORABLE:
                break
        else:
            return _keyed(node.keys, *values)
    except (KeyError, TypeError):
        # a key is absent, or no scalar
        pass
    keys = {}
    for name in _in_order(node.keys):
        if name in item:
            keys[name] = item[name]
        elif isinstance(node.element, Struct):
            field = node.element.fields.get(name)
            if field is not None and field.default is not None:
                keys[name] = field.default
    return "k:" + _dumps(keys)


@functools.lru_cache(maxsize=4096, typed=True)
def _keyed(names: tuple[str, ...], *values: Any) -> str:
    """The same names of containers, variables and ports come again and again."""
    return "k:" + _dumps(dict(sorted(zip(names, values, strict=True))))


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
    """The fields that a value names: leaves, list items, and keys of maps, but not the fields of structs that hold them."""
    out: FieldSet = {}
    declared = node.fields if isinstance(node, Struct) else ()
    for key, item in value.items():
        below, its_field = child(node, field, key)
        if item is None or item == {}:
            out["f:" + key] = {}
            continue
        made = _of(item, below, its_field)
        if key not in declared:
            out["f:" + key] = {".": {}, **made} if made else {}
        elif made is not None:
            out["f:" + key] = made
    return out


def _of(value: Any, node: Node | None, field: Field | None) -> FieldSet | None:
    """{}: the value is a leaf. None: it names nothing, an empty list."""
    if is_atomic(node, field):
        return {}
    if isinstance(node, ListOf):
        if not isinstance(value, list):
            return {}
        items: FieldSet = {}
        for item in value:
            key = element_key(node, item)
            inner = (
                of(item, node.element) if isinstance(item, dict) and node.merge == "map" and key not in items else {}
            )
            items[key] = {".": {}, **inner} if inner else {}
        return items or None
    return of(value, node, field) or None if isinstance(value, dict) else {}


def everything(value: Any, node: Node | None, field: Field | None) -> FieldSet:
    """All fields of a value that was not there before, containers included."""
    if not value or not isinstance(value, (dict, list)) or is_atomic(node, field) or is_leaf(value, node):
        return {}
    out: FieldSet = {".": {}}
    if isinstance(node, ListOf):
        if not isinstance(value, list):
            return {}
        element, inner = node.element, node.merge == "map"
        whole = isinstance(element, Struct) and not element.atomic
        for item in value:
            key = element_key(node, item)
            if not inner or not item or key in out:
                # what is there twice is owned as one
                out[key] = {}
            elif whole and item.__class__ is dict:
                out[key] = _everything_in(item, element)  # type: ignore[arg-type]  # `whole` says that it is a Struct
            else:
                out[key] = everything(item, element, None)
        return out
    if isinstance(value, dict):
        if isinstance(node, Struct):
            return _everything_in(value, node)
        for key, item in value.items():
            plain = item.__class__ is not dict and item.__class__ is not list
            out["f:" + key] = {} if plain else everything(item, *child(node, field, key))
    return out


def _everything_in(value: dict[str, Any], node: Struct) -> FieldSet:
    """Structs with the same keys have the same set, but for what is below the keys that can have something below: it is
    made once and shared, as sets are never changed."""
    shapes = node.memo.get("shapes")
    if shapes is None:
        shapes = node.memo["shapes"] = {}
    shape = tuple(value)
    found = shapes.get(shape)
    if found is None:
        deep = [(key, "f:" + key, *child(node, None, key)) for key in shape]
        deep = [item for item in deep if not is_atomic(item[2], item[3])]
        found = {".": {}, **{"f:" + key: {} for key in shape}}, deep
        if len(shapes) < SHAPES and len(shape) <= SHAPE_KEYS:
            shapes[shape] = found
    flat, deep = found
    if not deep:
        made: FieldSet = flat
        return made
    out = dict(flat)
    for key, name, below, its_field in deep:
        item = value[key]
        if item and (item.__class__ is dict or item.__class__ is list):
            out[name] = everything(item, below, its_field)
    return out


class Changes:
    """What differs between two objects: sets of what was removed, and of what was modified or added."""

    __slots__ = ("changed", "removed")

    def __init__(self, old: Any, new: Any, node: Node | None) -> None:
        removed, changed = _compare(old, new, node, None) if old != new else (None, None)
        self.removed: FieldSet = removed or {}
        self.changed: FieldSet = changed or {}


_ABSENT: Any = object()
#: there is nothing within these, nor in what is absent
_PLAIN = frozenset({str, int, float, bool, type(None), object})


def _compare(old: Any, new: Any, node: Node | None, field: Field | None) -> tuple[FieldSet | None, FieldSet | None]:
    """Two values that differ."""
    if is_atomic(node, field) or (not old and not new):
        return None, {}
    if isinstance(node, ListOf):
        return _compare_lists(old, new, node)
    if not isinstance(new, dict):
        # of another kind than before, where the schema leaves that open
        lost = everything(old, node, field) if isinstance(old, dict) else {}
        return {key: below for key, below in lost.items() if key != "."} or None, {}
    removed: FieldSet = {}
    changed: FieldSet = {}
    if not isinstance(old, dict):
        if old is not None:
            changed["."] = {}
        old = {}
    for key, after in new.items():
        name, before = "f:" + key, old.get(key, _ABSENT)
        if before == after:
            continue
        if after.__class__ in _PLAIN and before.__class__ in _PLAIN:
            changed[name] = {}
        elif before is _ABSENT:
            changed[name] = everything(after, *child(node, field, key))
        else:
            gone, other = _compare(before, after, *child(node, field, key))
            if gone is not None:
                removed[name] = gone
            if other is not None:
                changed[name] = other
    for key in old:
        if key not in new:
            removed["f:" + key] = everything(old[key], *child(node, field, key))
    return removed or None, changed or None


def _compare_lists(old: Any, new: Any, node: ListOf) -> tuple[FieldSet | None, FieldSet | None]:
    before = _items(old, node)
    after = _items(new, node)
    if before is None or after is None:
        return _compare_groups(_groups(old, node), _groups(new, node), node.element)
    element = node.element
    removed: FieldSet = {}
    changed: FieldSet = {}
    for key in {**after, **before}:
        if key not in after:
            removed[key] = everything(before[key], element, None)
        elif key not in before:
            changed[key] = everything(after[key], element, None)
        elif before[key] != after[key]:
            gone, other = _compare(before[key], after[key], element, None)
            if gone is not None:
                removed[key] = gone
            if other is not None:
                changed[key] = other
    return removed or None, changed or None


def _items(value: Any, node: ListOf) -> dict[str, Any] | None:
    """Items by their path elements. None: some stand for several."""
    if not isinstance(value, list):
        return {}
    items = {element_key(node, item): item for item in value}
    return items if len(items) == len(value) else None


def _groups(value: Any, node: ListOf) -> dict[str, list[Any]]:
    out: dict[str, list[Any]] = {}
    for item in value if isinstance(value, list) else ():
        out.setdefault(element_key(node, item), []).append(item)
    return out


def _compare_groups(
    before: dict[str, list[Any]], after: dict[str, list[Any]], element: Node
) -> tuple[FieldSet | None, FieldSet | None]:
    """What is in a list more than once is owned, and compared, as one."""
    removed: FieldSet = {}
    changed: FieldSet = {}
    for key in {**after, **before}:
        old, new = before.get(key, []), after.get(key, [])
        gone: FieldSet | None = None
        other: FieldSet | None = None
        if old == new:
            continue
        if len(old) == len(new) == 1:
            gone, other = _compare(old[0], new[0], element, None)
        elif len(old) > 1 and len(new) > 1:
            other = {}
        else:
            if old:
                gone = {} if len(old) > 1 else everything(old[0], element, None)
            if new:
                other = {} if len(new) > 1 else everything(new[0], element, None)
        if gone is not None:
            removed[key] = gone
        if other is not None:
            changed[key] = other
    return removed or None, changed or None


def reconcile(fields: FieldSet, value: Any, node: Node | None, field: Field | None = None) -> FieldSet:
    """The set under the present schema: whoever owns part of what is atomic now owns it whole, whoever owned the whole of
    what is not any more owns what is there."""
    out = dict(fields)
    items = _items(value, node) or {} if isinstance(node, ListOf) else {}
    for path, below in fields.items():
        if path == ".":
            continue
        if path.startswith("f:"):
            its_node, its_field = child(node, field, path[2:])
            here = value.get(path[2:]) if isinstance(value, dict) else None
        else:
            its_node, its_field = node.element if isinstance(node, ListOf) else None, None
            here = items.get(path)
        if its_node is None or isinstance(its_node, Scalar):
            continue
        if is_atomic(its_node, its_field):
            out[path] = {}
        elif not below:
            inner = _of(here, its_node, its_field) if here else None
            out[path] = {".": {}, **inner} if inner else {}
        else:
            out[path] = reconcile(below, here, its_node, its_field)
    return out

"""Values with their schema, as server-side apply works on them: checked, merged, and with fields removed.

What has no schema, scalars and atomic lists, maps and structs are leaves: they are replaced whole.

Source: sigs.k8s.io/structured-merge-diff typed/{validate,merge,remove,helpers}.go, fieldpath/set.go
(EnsureNamedFieldsAreMembers)
"""

from __future__ import annotations

from typing import Any

import orjson

from sampan.api.schema.nodes import Field, ListOf, MapOf, Node, Scalar, Struct
from sampan.apiserver.patch.fieldset import FieldSet, child, element_key, is_atomic, member, shown
from sampan.apiserver.patch.gotext import go_syntax, go_text, go_type

Json = dict[str, Any]
NUMERIC, STRING, BOOLEAN, ANY_SCALAR = "ild", "sB", "b", "qxtu"


# -- checking ----------------------------------------------------------------------------------------------------------


def check(value: Any, node: Node | None, path: str = "") -> list[str]:
    """What does not fit the schema, with its path, in upstream's words."""
    if value is None or node is None:
        return []
    if isinstance(node, Scalar):
        said = _scalar_problem(value, node.code)
        return [f"{path}: {said}"] if said else []
    if isinstance(node, ListOf):
        if not isinstance(value, list):
            return [f"{path}: expected list, got &{{{go_text(value)}}}"]
        return _check_items(value, node, path)
    if _any_shape(node) and not isinstance(value, dict):
        return []
    if not isinstance(value, dict):
        return [f"{path}: expected map, got &{{{go_text(value)}}}"]
    out: list[str] = []
    for key, item in value.items():
        below, _ = child(node, None, key)
        if below is None and isinstance(node, Struct) and key not in node.fields and not _any_shape(node):
            out.append(f"{path}.{key}: field not declared in schema")
        else:
            out.extend(check(item, below, f"{path}.{key}"))
    return out


def _any_shape(node: MapOf | Struct) -> bool:
    """Deduced from the value, and what apiextensions has for "this or that"."""
    if isinstance(node, MapOf):
        return node.value is node
    return node.package == "apiextensions_v1" and node.name.startswith("JSON") and node.name != "JSONSchemaProps"


def _scalar_problem(value: Any, code: str) -> str:
    kind = type(value)
    if code in NUMERIC:
        return "" if kind in (int, float) else f"expected numeric (int or float), got {go_type(value)}"
    if code in STRING:
        return "" if kind is str else f"expected string, got &value.valueUnstructured{{Value:{go_syntax(value)}}}"
    if code in BOOLEAN:
        return "" if kind is bool else f"expected boolean, got &{{{go_text(value)}}}"
    if code in ANY_SCALAR and kind in (dict, list):
        return f"expected any scalar, got &{{{go_text(value)}}}"
    return ""


def _check_items(value: list[Any], node: ListOf, path: str) -> list[str]:
    out: list[str] = []
    seen: set[str] = set()
    for index, item in enumerate(value):
        here = f"{path}[{index}]"
        if node.merge != "atomic":
            said = _key_problem(item, node)
            if said:
                return [*out, f"{path}: element {index}: {said}"]
            key = element_key(node, item)
            here = path + shown(key)
            if key in seen:
                out.append(f"{path}: duplicate entries for key {shown(key)}")
            seen.add(key)
        out.extend(check(item, node.element, here))
    return out


def _key_problem(item: Any, node: ListOf) -> str:
    if node.merge == "set":
        if isinstance(item, dict):
            return "associative list without keys has an element that's a map type"
        if isinstance(item, list):
            return "not supported: associative list with lists as elements"
        return "associative list without keys has an element that's an explicit null" if item is None else ""
    if item is None:
        return "associative list with keys may not have a null element"
    if not isinstance(item, dict):
        return "associative list with keys may not have non-map elements"
    fields = node.element.fields if isinstance(node.element, Struct) else {}
    for key in node.keys:
        field = fields.get(key)
        if key not in item and (field is None or field.default is None):
            return f'associative list with keys has an element that omits key field "{key}" (and doesn\'t have default value)'
    return ""


# -- merging -----------------------------------------------------------------------------------------------------------


def merge(old: Any, new: Any, node: Node | None, field: Field | None = None) -> Any:
    """`new` laid over `old`; neither is changed. A null says nothing of what is a list or map by then."""
    if is_atomic(node, field) or (not old and not new):
        return new
    if isinstance(node, ListOf):
        if not isinstance(old, list) or not isinstance(new, list):
            return old if new is None else new
        return _merge_list(old, new, node)
    if not isinstance(old, dict) or not isinstance(new, dict):
        return old if new is None and isinstance(old, dict) else new
    out = dict(old)
    for key, value in new.items():
        out[key] = merge(out[key], value, *child(node, field, key)) if key in out else value
    return out


def _merge_list(old: list[Any], new: list[Any], node: ListOf) -> list[Any]:
    """Items of both in their order; where the orders disagree, in that of `new`. What is twice in `old` is replaced, not
    merged, and else stays as it is."""
    before = [element_key(node, item) for item in old]
    after = [element_key(node, item) for item in new]
    have: Json = {}
    for key, item in zip(before, old, strict=True):
        have[key] = None if key in have else item
    want = dict(zip(after, new, strict=True))
    shared = [key for key in after if key in have]
    out: list[Any] = []
    done: set[str] = set()

    def take(key: str) -> None:
        done.add(key)
        at_hand = have.get(key)
        out.append(want[key] if at_hand is None else merge(at_hand, want[key], node.element))

    left = right = 0
    while left < len(before) or right < len(after):
        if left < len(before) and right < len(after):
            key = before[left]
            if key == after[right]:
                take(key)
                left, right = left + 1, right + 1
                shared = shared[1:]
                continue
            if key in want and shared and shared[0] != key:
                left += 1
                continue
        if left < len(before):
            key = before[left]
            if key not in want:
                out.append(old[left])
                left += 1
                continue
            if key in done:
                left += 1
        if right < len(after):
            key = after[right]
            take(key)
            right += 1
            if shared and shared[0] == key:
                shared = shared[1:]
    return out


# -- removing ----------------------------------------------------------------------------------------------------------


def remove(value: Any, gone: FieldSet, node: Node | None, field: Field | None = None) -> Any:
    """Without the members of `gone` and what is below them. None: nothing is left."""
    if not gone:
        return value
    if isinstance(node, ListOf):
        if is_atomic(node, field) or not isinstance(value, list):
            return None
        items = []
        for item in value:
            below = gone.get(element_key(node, item))
            if below is None:
                items.append(item)
            elif not member(below):
                items.append(remove(item, below, node.element))
        return items or None
    if is_atomic(node, field):
        return value if node is None or isinstance(node, Scalar) else None
    if not isinstance(value, dict):
        return value
    out = {}
    for key, item in value.items():
        below = gone.get("f:" + key)
        if below is None:
            out[key] = item
        elif not member(below):
            left = remove(item, below, *child(node, field, key))
            if left is not None:
                out[key] = left
    return out or None


def with_parents(fields: FieldSet, node: Node | None, field: Field | None = None) -> FieldSet:
    """The set with the fields of structs as members when there are members below them."""
    out: FieldSet = {}
    for path, below in fields.items():
        if path == "." or not below:
            out[path] = below
            continue
        if path.startswith("f:"):
            next_node, next_field = child(node, field, path[2:])
            named = isinstance(node, Struct) and path[2:] in node.fields
        else:
            next_node, next_field, named = node.element if isinstance(node, ListOf) else None, None, False
        made = with_parents(below, next_node, next_field)
        out[path] = {".": {}, **made} if named and "." not in made else made
    return out


def build_last_applied(config: Json) -> str:
    """What kubectl's annotation says of a configuration: its JSON with sorted keys, as Go prints it."""
    text = orjson.dumps(config, option=orjson.OPT_SORT_KEYS).decode()
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text + "\n"

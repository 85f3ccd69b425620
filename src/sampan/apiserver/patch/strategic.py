"""Strategic merge patch: a merge patch that knows which lists are maps.

Lists with a merge key are merged item by item; `$patch`, `$retainKeys`, `$setElementOrder/f` and
`$deleteFromPrimitiveList/f` say what a plain overlay cannot. A list takes the patch's order for what the patch names;
what only the server has keeps its place relative to that.

Source: k8s.io/apimachinery/pkg/util/strategicpatch/patch.go, pkg/util/mergepatch/errors.go
"""

from __future__ import annotations

from typing import Any

from sampan.api import errors
from sampan.api.schema.nodes import Field, ListOf, MapOf, Node, Struct
from sampan.apiserver.patch.gotext import go_text, go_type

PATCH, RETAIN = "$patch", "$retainKeys"
ORDER, DROP = "$setElementOrder", "$deleteFromPrimitiveList"
_NOTHING: Any = object()
Json = dict[str, Any]


def apply(struct: Struct, original: Json, patch: Json) -> Json:
    """A new object; neither argument is changed. Raises 400 for malformed directives, 422 for lists of lists, and 500 as
    upstream does for what else makes no sense."""
    return _merge(original, patch, struct)


def _malformed(what: str) -> errors.StatusError:
    return errors.bad_request(f"invalid patch format of {what}")


def _broken(message: str) -> errors.StatusError:
    """500 without a reason: upstream knows no better for these."""
    return errors.StatusError(500, "", message)


def _wrong_type(expected: str, value: Any) -> errors.StatusError:
    found = "%!s(<nil>)" if value is None else go_type(value)
    return _broken(f"expected a {expected}, but received a {found}")


def _lookup(node: Node | None, name: str) -> Field:
    """What the schema says of `name` below a struct or a map."""
    if isinstance(node, Struct):
        found = node.fields.get(name)
        if found is None:
            raise _broken(f'unable to find api field in struct {node.name} for the json field "{name}"')
        return found
    if isinstance(node, MapOf):
        return Field(name, node.value)
    raise _broken("merging an object in json but data type is not map or struct")


# -- objects -----------------------------------------------------------------------------------------------------------


def _merge(original: Json, patch: Json, node: Node | None) -> Json:
    if PATCH in patch:
        directive = patch[PATCH]
        if directive == "replace":
            return {key: value for key, value in patch.items() if key != PATCH}
        if directive == "delete":
            return {}
        raise _unknown(directive, patch)
    out = dict(original)
    patch = _retain(out, patch)
    patch = _merge_ordered(out, patch, node)
    for key, value in patch.items():
        drops = key.startswith(DROP)
        if drops:
            key = _named(key, DROP, "primitive list")
        if value is None:
            out.pop(key, None)
            continue
        old = out.get(key, _NOTHING)
        if old.__class__ is not value.__class__:
            if not drops:
                _set_new(out, key, value)
        elif isinstance(value, dict):
            field = _lookup(node, key)
            out[key] = value if field.patch_replace else _merge(old, value, field.node)
        elif isinstance(value, list):
            field = _lookup(node, key)
            out[key] = _merge_list(old, value, field, drops) if field.patch_merge else value
        else:
            out[key] = value
    return out


def _unknown(directive: Any, patch: Json) -> errors.StatusError:
    return _broken(f"unknown patch type: {go_text(directive)} in map: {go_text(patch)}")


def _named(key: str, prefix: str, what: str) -> str:
    head, slash, name = key.partition("/")
    if head != prefix or not slash:
        raise _malformed(what)
    return name


def _set_new(out: Json, key: str, value: Any) -> None:
    """A value that had no counterpart; one that is itself a directive sets nothing."""
    made = _undirected(_without_nulls(value))
    if made is _NOTHING:
        out.pop(key, None)
    else:
        out[key] = made


def _without_nulls(value: Any) -> Any:
    """Objects lose their null fields, also those below."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _undirected(value: Any) -> Any:
    if isinstance(value, dict):
        if PATCH in value:
            return _NOTHING
        cleaned = {key: _undirected(item) for key, item in value.items()}
        return {key: item for key, item in cleaned.items() if item is not _NOTHING}
    if isinstance(value, list):
        return [made for item in value if (made := _undirected(item)) is not _NOTHING]
    return value


def _retain(out: Json, patch: Json) -> Json:
    """Drop from `out` what `$retainKeys` does not name. The patch without the directive."""
    if RETAIN not in patch:
        return patch
    keep = patch[RETAIN]
    rest = {key: value for key, value in patch.items() if key != RETAIN}
    if not isinstance(keep, list):
        raise _malformed("retainKeys")
    for key, value in rest.items():
        if value is not None and not key.startswith((DROP, ORDER)) and key not in keep:
            raise _malformed("retainKeys")
    for key in list(out):
        if key not in keep:
            del out[key]
    return rest


# -- lists -------------------------------------------------------------------------------------------------------------


def _merge_ordered(out: Json, patch: Json, node: Node | None) -> Json:
    """Merge and order the lists that have a `$setElementOrder`. What remains of the patch."""
    if not any(key.startswith(ORDER) for key in patch):
        return patch
    rest = {key: value for key, value in patch.items() if not key.startswith(ORDER)}
    for directive, order in patch.items():
        if not directive.startswith(ORDER):
            continue
        if not isinstance(order, list):
            raise _wrong_type("[]interface {}", order)
        name = _named(directive, ORDER, "setElementOrder list")
        old, new = out.get(name, _NOTHING), rest.get(name, _NOTHING)
        for value in (old, new):
            if value is not _NOTHING and not isinstance(value, list):
                raise _wrong_type("[]interface {}", value)
        field = _lookup(node, name)
        key = field.patch_key
        _check_order([] if new is _NOTHING else new, order, key)
        if old is _NOTHING and new is _NOTHING:
            continue
        if old is _NOTHING:
            merged = _undirected(new)
        elif new is _NOTHING:
            merged = old
        else:
            merged = _merge_list(old, new, field, False) if field.patch_merge else new
        known, before = ([] if value is _NOTHING else value for value in (new, old))
        objects = _element_kind(before, known) is dict
        out[name] = _in_order(merged, order, before, key, objects)
        rest.pop(name, None)
    return rest


def _check_order(new: list[Any], order: list[Any], key: str) -> None:
    """The patch's items stand in `$setElementOrder`, in the same order."""
    if not new or not order:
        return
    items = new
    if key:
        for item in new:
            if not isinstance(item, dict):
                raise _wrong_type("map[string]interface {}", item)
        items = [item for item in new if item.get(PATCH) != "delete"]
    at = 0
    for wanted in order:
        while at < len(items) and isinstance(items[at], dict) and PATCH in items[at]:
            at += 1
        if at == len(items):
            return
        if _identity(items[at], key) == _identity(wanted, key):
            at += 1
    if at < len(items):
        raise _broken(f"The order in patch list:\n{go_text(new)}\n doesn't match {ORDER} list:\n{go_text(order)}\n")


def _identity(item: Any, key: str) -> tuple[type, Any]:
    if not key:
        return item.__class__, _hashable(item)
    if not isinstance(item, dict):
        raise _wrong_type("map[string]interface {}", item)
    if key not in item:
        raise _no_key(item, key)
    return item[key].__class__, _hashable(item[key])


def _hashable(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        # Go panics here
        raise _broken(f"runtime error: comparing uncomparable type {go_type(value)}")
    return value


def _no_key(item: Json, key: str) -> errors.StatusError:
    return _broken(f"map: {go_text(item)} does not contain declared merge key: {key}")


def _element_kind(*lists: list[Any]) -> type:
    kinds: set[type] = {type(item) for items in lists for item in items}
    if list in kinds:
        raise errors.unprocessable("lists of lists are not supported")
    if len(kinds) > 1:
        raise _broken(f"list element types are not identical: {go_text(list(lists))}")
    if not kinds:
        raise _broken("no elements in any of the given slices")
    return kinds.pop()


def _merge_list(old: list[Any], new: list[Any], field: Field, drops: bool) -> list[Any]:
    if not old and not new:
        return old
    key = field.patch_key
    objects = _element_kind(old, new) is dict
    if not objects:
        if drops:
            gone = {_identity(item, "") for item in new}
            return [item for item in old if _identity(item, "") not in gone]
        merged = list({_identity(item, ""): item for item in [*new, *old]}.values())
    else:
        if not key:
            raise _broken("cannot merge lists without merge key for type struct")
        old, new = _obey(old, new, key)
        merged = _merge_items(old, new, field)
    return _in_order(merged, new, old, key, objects)


def _obey(old: list[Any], new: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """Both lists after the items of `new` that are directives were obeyed."""
    plain = [item for item in new if PATCH not in item]
    replace = False
    for item in new:
        if PATCH not in item:
            continue
        directive = item[PATCH]
        if directive == "delete":
            gone = _identity(item, key)
            old = [have for have in old if key not in have or _identity(have, key) != gone]
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise _broken("merging lists cannot yet be specified in the patch")
        else:
            raise _unknown(directive, item)
    return (plain, []) if replace else (old, plain)


def _merge_items(old: list[Any], new: list[Any], field: Field) -> list[Any]:
    key = field.patch_key
    element = field.node.element if isinstance(field.node, ListOf) else None
    out = list(old)
    place: dict[tuple[type, Any], int] = {}
    for index, have in enumerate(out):
        if key in have:
            place.setdefault(_identity(have, key), index)
    for item in new:
        identity = _identity(item, key)
        at = place.get(identity)
        if at is None:
            place[identity] = len(out)
            out.append(item)
        else:
            out[at] = _merge(out[at], item, element)
    return out


def _in_order(merged: list[Any], order: list[Any], server: list[Any], key: str, objects: bool) -> list[Any]:
    """`merged` with what `order` names in that order; the others keep their places in `server` relative to those."""
    key = key if objects else ""
    rank = _places(order, key)
    place = _places(server, key)
    pairs = [(_identity(item, key), item) for item in merged]
    named = sorted((pair for pair in pairs if pair[0] in rank), key=lambda pair: rank[pair[0]])
    others = sorted((pair for pair in pairs if pair[0] not in rank), key=lambda pair: place.get(pair[0], -1))
    out: list[Any] = []
    left = right = 0
    while left < len(others) and right < len(named):
        mine, theirs = place.get(others[left][0]), place.get(named[right][0])
        if mine is not None and theirs is not None and mine < theirs:
            out.append(others[left][1])
            left += 1
        else:
            out.append(named[right][1])
            right += 1
    out.extend(item for _, item in others[left:])
    out.extend(item for _, item in named[right:])
    return out


def _places(items: list[Any], key: str) -> dict[tuple[type, Any], int]:
    out: dict[tuple[type, Any], int] = {}
    for index, item in enumerate(items):
        if not key or (isinstance(item, dict) and key in item):
            out.setdefault(_identity(item, key), index)
    return out

"""Server-side apply: a manager says what it wants of an object, and owns just that.

The configuration is merged into the live object; what the manager applied before and no longer names goes, unless
somebody else owns it. A field that somebody else owns with another value is a conflict, unless forced.

Source: sigs.k8s.io/structured-merge-diff merge/update.go; k8s.io/apimachinery/pkg/util/managedfields/internal/
structuredmerge.go, lastappliedmanager.go, lastappliedupdater.go, conflict.go
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from sampan.api import errors
from sampan.api.schema.decode import zero
from sampan.api.schema.nodes import Field, ListOf, Node, Struct
from sampan.apiserver.patch import managed
from sampan.apiserver.patch.fieldset import (
    Changes,
    FieldSet,
    child,
    difference,
    element_key,
    intersection,
    is_atomic,
    member,
    of,
    paths,
    union,
    without,
)
from sampan.apiserver.patch.managed import Identity, Owned

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
Json = dict[str, Any]


def apply(
    struct: Struct,
    live: Json | None,
    config: Json,
    *,
    manager: str,
    api_version: str,
    subresource: str,
    time: str,
    force: bool,
    reset_fields: tuple[str, ...],
) -> tuple[Json, list[Json]]:
    """The new object and its managedFields. Raises 400 for a configuration that has no typed form, 409 on conflict."""
    base = live if live is not None else {key: config[key] for key in ("apiVersion", "kind")} | {"metadata": {}}
    config = {key: value for key, value in config.items() if value is not None}
    _check_items(config, struct, "")
    ignored = (*managed.STRIPPED, *reset_fields)
    wanted = without(of(config, struct), ignored)
    managers = managed.read(base["metadata"].get("managedFields")) or {}
    mine = Identity(manager, "Apply", api_version, subresource)
    before = managers.get(mine)
    last = before.fields if before else {}
    merged: Json = merge(base, _without_reset(config, reset_fields), struct, None)
    managers[mine] = Owned(wanted, before.time if before else "")
    owned_by_all: FieldSet = {}
    for key, owned in managers.items():
        if key.api_version == api_version:
            owned_by_all = union(owned_by_all, owned.fields)
    merged = prune(merged, last, owned_by_all, struct)
    reference = managed._bare(live if live is not None else zero(struct))
    changes = Changes(reference, managed._bare(merged), struct)
    changed, removed = without(changes.changed, ignored), without(changes.removed, ignored)
    conflicts = _conflicts(managers, mine, api_version, changed)
    if conflicts and not force and not _allowed(manager, conflicts, live, struct):
        raise conflict_error(conflicts)
    for key, owned in list(managers.items()):
        if key == mine or key.api_version != api_version:
            continue
        owned.fields = difference(difference(owned.fields, conflicts.get(key, {})), removed)
        if not owned.fields:
            del managers[key]
    if not wanted:
        del managers[mine]
    elif before is None or before.fields != wanted:
        managers[mine].time = time
    _update_last_applied(manager, live, merged, config)
    return merged, managed.write(managers)


def _without_reset(config: Json, reset_fields: tuple[str, ...]) -> Json:
    out = dict(config)
    for path in reset_fields:
        if path != "metadata":
            out.pop(path, None)
    return out


# -- merging -----------------------------------------------------------------------------------------------------------


def merge(old: Any, new: Any, node: Node | None, field: Field | None) -> Any:
    """`new` laid over `old` as the schema says; neither is changed."""
    if isinstance(node, ListOf) and node.merge != "atomic" and isinstance(new, list):
        return _merge_list(old if isinstance(old, list) else [], new, node)
    if not isinstance(new, dict) or not isinstance(old, dict) or is_atomic(node, field):
        return new
    out = dict(old)
    for key, value in new.items():
        if value is None:
            out.pop(key, None)
            continue
        below, its_field = child(node, field, key)
        out[key] = merge(out.get(key), value, below, its_field)
    return out


def _merge_list(old: list[Any], new: list[Any], node: ListOf) -> list[Any]:
    """Items of `new` in their order; those only in `old` keep their places before what followed them."""
    have = {element_key(node, item): item for item in old}
    want = {element_key(node, item): item for item in new}
    out: list[Any] = []
    rest = [element_key(node, item) for item in old]
    done: set[str] = set()
    for key, item in want.items():
        if key in have:
            while rest:
                first = rest.pop(0)
                if first == key:
                    break
                if first not in want and first not in done:
                    out.append(have[first])
                    done.add(first)
            out.append(merge(have[key], item, node.element, None) if node.merge == "map" else item)
        else:
            out.append(item)
    out.extend(have[key] for key in rest if key not in want and key not in done)
    return out


def prune(obj: Any, last: FieldSet, owned: FieldSet, node: Node | None, field: Field | None = None) -> Any:
    """Without what `last` names and nobody owns any more."""
    if not last or is_atomic(node, field):
        return obj
    if isinstance(node, ListOf):
        if not isinstance(obj, list):
            return obj
        out_list = []
        for item in obj:
            key = element_key(node, item)
            if key in last and key not in owned:
                if member(last[key]):
                    continue
                item = prune(item, last[key], {}, node.element)
            elif key in last:
                item = prune(item, last[key], owned[key], node.element)
            out_list.append(item)
        return out_list
    if not isinstance(obj, dict):
        return obj
    out = dict(obj)
    for path, below in last.items():
        key = path[2:]
        if not path.startswith("f:") or key not in out:
            continue
        child_node, child_field = child(node, field, key)
        if path not in owned and member(below):
            del out[key]
            continue
        left = prune(out[key], below, owned.get(path, {}), child_node, child_field)
        if left in ({}, []) and out[key] not in ({}, []):
            del out[key]
        else:
            out[key] = left
    return out


# -- conflicts ---------------------------------------------------------------------------------------------------------


def _conflicts(managers: managed.Managers, mine: Identity, version: str, changed: FieldSet) -> dict[Identity, FieldSet]:
    out = {}
    for key, owned in managers.items():
        if key != mine and key.api_version == version:
            both = intersection(owned.fields, changed)
            if both:
                out[key] = both
    return out


def _allowed(manager: str, conflicts: dict[Identity, FieldSet], live: Json | None, struct: Struct) -> bool:
    """kubectl may take over what it set itself by client-side apply, as its annotation remembers."""
    text = ((live or {}).get("metadata", {}).get("annotations") or {}).get(LAST_APPLIED)
    if manager != "kubectl" or not text or live is None:
        return False
    try:
        remembered = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    if not isinstance(remembered, dict):
        return False
    differs = Changes(live, merge(live, remembered, struct, None), struct).changed
    known = difference(of(remembered, struct), differs)
    return all(not difference(fields, known) for fields in conflicts.values())


def conflict_error(conflicts: dict[Identity, FieldSet]) -> errors.StatusError:
    """409 with a cause for each field."""
    found = sorted(((_manager(key), path) for key, fields in conflicts.items() for path in paths(fields)))
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": path} for who, path in found
    ]
    if len(found) == 1:
        message = f"Apply failed with 1 conflict: conflict with {found[0][0]}: {found[0][1]}"
    else:
        lines = []
        for who in dict.fromkeys(who for who, _ in found):
            lines.append(f"conflicts with {who}:")
            lines.extend(f"- {path}" for other, path in found if other == who)
        message = f"Apply failed with {len(found)} conflicts: " + "\n".join(lines)
    return errors.apply_conflict(causes, message)


def _manager(key: Identity) -> str:
    shown = json.dumps(key.manager)
    if key.subresource:
        shown += f" with subresource {json.dumps(key.subresource)}"
    return f"{shown} using {key.api_version}" if key.operation == "Update" else shown


def _check_items(value: Any, node: Node | None, path: str) -> None:
    """Items of keyed lists have their keys and are not there twice. Raises 400."""
    if isinstance(node, ListOf) and node.merge != "atomic" and isinstance(value, list):
        seen: set[str] = set()
        for index, item in enumerate(value):
            key = element_key(node, item)
            if key in seen:
                raise errors.bad_request(
                    f"failed to create typed patch object: {path}: duplicate entries for key {_entry(key)}"
                )
            seen.add(key)
            if isinstance(item, dict) and key == "k:{}":
                needed = ", ".join(node.keys)
                raise errors.bad_request(
                    f'failed to create typed patch object: {path}: element {index}: associative list with keys has an element that omits key field "{needed}"'
                )
            _check_items(item, node.element, f"{path}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            below, _ = child(node, None, name)
            _check_items(item, below, f"{path}.{name}")


def _entry(key: str) -> str:
    kind, _, rest = key.partition(":")
    return "[" + ",".join(f"{k}={json.dumps(v)}" for k, v in json.loads(rest).items()) + "]" if kind == "k" else rest


def _update_last_applied(manager: str, live: Json | None, merged: Json, config: Json) -> None:
    """kubectl's annotation follows what it applies, where an object has one."""
    annotations = (live or {}).get("metadata", {}).get("annotations") or {}
    if manager != "kubectl" or LAST_APPLIED not in annotations:
        return
    clean = {**config, "metadata": {key: value for key, value in config["metadata"].items() if key != "managedFields"}}
    kept = {key: value for key, value in (clean["metadata"].get("annotations") or {}).items() if key != LAST_APPLIED}
    if "annotations" in clean["metadata"]:
        clean["metadata"]["annotations"] = kept
    merged["metadata"] = dict(merged["metadata"])
    merged["metadata"]["annotations"] = {
        **(merged["metadata"].get("annotations") or {}),
        LAST_APPLIED: orjson.dumps(clean).decode() + "\n",
    }

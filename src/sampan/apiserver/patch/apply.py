"""Server-side apply: a manager says what it wants of an object, and owns just that.

The configuration is merged into the live object; what the manager applied before and no longer names goes, unless
somebody else owns it. A field that somebody else owns with another value is a conflict, unless forced.

Source: sigs.k8s.io/structured-merge-diff merge/{update,conflict}.go; k8s.io/apimachinery/pkg/util/managedfields/internal/
{structuredmerge,lastappliedmanager,lastappliedupdater,conflict}.go
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from sampan.api import errors
from sampan.api.schema.decode import zero
from sampan.api.schema.nodes import Struct
from sampan.apiserver.patch.fieldset import Changes, FieldSet, difference, intersection, of, paths, union, without
from sampan.apiserver.patch.managed import (
    STRIPPED,
    Comparisons,
    Convert,
    Identity,
    Managers,
    Owned,
    Unknown,
    claim,
    read,
    reconcile_schema,
    take,
    write,
)
from sampan.apiserver.patch.typed import build_last_applied, check, merge, remove, with_parents

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
MAX_ANNOTATIONS = 256 * 1024
BEFORE = "before-first-apply"
Json = dict[str, Any]
Conflicts = dict[Identity, FieldSet]


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
    convert: Convert | None = None,
) -> tuple[Json, list[Json]]:
    """The new object and its managedFields. Raises 500 for a configuration that does not fit the schema, 409 on conflict."""
    problems = check(config, struct)
    if problems:
        raise broken(config, "failed to create typed patch object", listed(problems))
    ignored = (*STRIPPED, *reset_fields)
    base: Json = {key: config[key] for key in ("apiVersion", "kind")} | {"metadata": {}} if live is None else live
    managers = read(base["metadata"].get("managedFields")) or {}
    base = {**base, "metadata": {key: value for key, value in base["metadata"].items() if key != "managedFields"}}
    if live is not None:
        if not managers:
            everything = Comparisons(struct, zero(struct), base, api_version, reset_fields, None)
            claim(managers, Identity(BEFORE, "Update", api_version, subresource), everything, time)
        reconcile_schema(managers, struct, live, api_version)
    mine = Identity(manager, "Apply", "", subresource)
    last = managers.get(mine)
    wanted = without(of(config, struct), ignored)
    managers[mine] = Owned(wanted, time, api_version)
    # what is new may have fields that are not to be changed
    taken = config if live is None else _without_reset(config, reset_fields)
    merged: Json = merge(base, taken, struct)
    merged = _prune(merged, last, managers, struct, api_version, convert)
    reference = base if live is not None else zero(struct)
    comparisons = Comparisons(struct, reference, merged, api_version, reset_fields, convert)
    conflicts = _conflicts(managers, mine, comparisons)
    if conflicts and not force:
        conflicts = _not_allowed(manager, conflicts, live, struct, api_version)
        if conflicts:
            raise conflict_error(conflicts)
    take(managers, comparisons, mine)
    if manager == "kubectl":
        _update_last_applied(merged, config)
    return merged, write(managers)


def broken(config: Json, what: str, why: str) -> errors.StatusError:
    """500 without a reason, with the object's namespace, name and kind, as upstream answers what it cannot make typed."""
    meta = config.get("metadata") or {}
    group, _, version = str(config.get("apiVersion", "")).rpartition("/")
    name = f"{meta.get('namespace') or ''}/{meta.get('name') or ''}; {group}/{version}, Kind={config.get('kind', '')}"
    return errors.StatusError(500, "", f"{what} ({name}): {why}")


def listed(problems: list[str]) -> str:
    """As upstream prints several errors of one value."""
    return problems[0] if len(problems) == 1 else "\n".join(["errors:", *(f"  {each}" for each in problems)])


def _without_reset(config: Json, reset_fields: tuple[str, ...]) -> Json:
    return {key: value for key, value in config.items() if key not in reset_fields or key == "metadata"}


# -- pruning -----------------------------------------------------------------------------------------------------------


def _prune(
    merged: Json, last: Owned | None, managers: Managers, struct: Struct, version: str, convert: Convert | None
) -> Json:
    """Without what the manager applied last, in `last.version`, and nobody owns now. What nobody owned stays, unless it is
    inside of what goes."""

    def at(obj: Json, wanted: str) -> tuple[Struct, Json] | None:
        if obj["apiVersion"] == wanted == version:
            return struct, obj
        try:
            return convert(obj, wanted) if convert is not None else None
        except Unknown:
            return None

    if last is None or not last.fields:
        return merged
    owned: dict[str, FieldSet] = {last.version: {}}
    for each in managers.values():
        owned[each.version] = union(owned.get(each.version, {}), each.fields)
    if last.version == version and not difference(last.fields, owned[version]):
        return merged
    found = at(merged, last.version)
    if found is None:
        return merged
    last_struct, before = found
    last_fields = with_parents(last.fields, last_struct)
    pruned = _reduced(before, last_fields, last_struct)
    for each_version, fields in owned.items():
        whole, rest = at(before, each_version), at(pruned, each_version)
        if whole is None or rest is None:
            continue
        node = whole[0]
        kept = union(with_parents(of(rest[1], node), node), with_parents(fields, node))
        pruned = _reduced(whole[1], difference(with_parents(of(whole[1], node), node), kept), node)
    rest = at(pruned, last.version)
    if rest is None:
        return merged
    missing = difference(
        with_parents(of(before, last_struct), last_struct), with_parents(of(rest[1], last_struct), last_struct)
    )
    pruned = _reduced(before, intersection(missing, last_fields), last_struct)
    final = at(pruned, version)
    return merged if final is None else final[1]


def _reduced(obj: Json, gone: FieldSet, struct: Struct) -> Json:
    left = remove(obj, gone, struct) or {}
    return {**left, "apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": left.get("metadata") or {}}


# -- conflicts ---------------------------------------------------------------------------------------------------------


def _conflicts(managers: Managers, mine: Identity, comparisons: Comparisons) -> Conflicts:
    out: Conflicts = {}
    for key, owned in managers.items():
        compared = comparisons.at(owned.version)
        if key != mine and compared is not None:
            both = intersection(owned.fields, compared[0])
            if both:
                out[key] = both
    return out


def _not_allowed(manager: str, conflicts: Conflicts, live: Json | None, struct: Struct, api_version: str) -> Conflicts:
    """The conflicts that remain when kubectl may take over what it set itself by client-side apply, as its annotation
    remembers."""
    text = ((live or {}).get("metadata", {}).get("annotations") or {}).get(LAST_APPLIED)
    if manager != "kubectl" or not text or live is None:
        return conflicts
    try:
        remembered = orjson.loads(text)
    except orjson.JSONDecodeError:
        return conflicts
    if not isinstance(remembered, dict) or remembered.get("apiVersion") != api_version or check(remembered, struct):
        return conflicts
    changes = Changes(remembered, live, struct)
    known = difference(difference(of(remembered, struct), changes.changed), changes.removed)
    left = {key: difference(fields, known) for key, fields in conflicts.items()}
    return {key: fields for key, fields in left.items() if fields}


def conflict_error(conflicts: Conflicts) -> errors.StatusError:
    """409 with a cause for each field."""
    found = [(_manager(key), path) for key in sorted(conflicts, key=_sorted_by) for path in paths(conflicts[key])]
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


def _sorted_by(key: Identity) -> tuple[str, str, str, str]:
    return key.manager, key.operation, key.api_version, key.subresource


def _manager(key: Identity) -> str:
    shown = json.dumps(key.manager, ensure_ascii=False)
    if key.subresource:
        shown += f" with subresource {json.dumps(key.subresource)}"
    return f"{shown} using {key.api_version}" if key.operation == "Update" else shown


# -- kubectl's annotation ----------------------------------------------------------------------------------------------


def _update_last_applied(merged: Json, config: Json) -> None:
    """It follows what kubectl applies, where an object has one and it does not grow too large."""
    annotations = dict(merged["metadata"].get("annotations") or {})
    if not annotations.get(LAST_APPLIED):
        return
    meta = dict(config.get("metadata") or {})
    if isinstance(meta.get("annotations"), dict):
        meta["annotations"] = {key: value for key, value in meta["annotations"].items() if key != LAST_APPLIED}
    annotations[LAST_APPLIED] = build_last_applied({**config, "metadata": meta})
    if sum(len(key.encode()) + len(str(value).encode()) for key, value in annotations.items()) > MAX_ANNOTATIONS:
        del annotations[LAST_APPLIED]
    merged["metadata"] = {**merged["metadata"], "annotations": annotations}

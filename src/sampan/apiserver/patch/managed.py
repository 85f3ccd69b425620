"""managedFields: who set which field, kept with every write.

An update owns what it changed or added, and takes that from whoever owned it before; what it removed nobody owns. An
updater's time moves when it changes or adds something. More than ten updaters are folded into `ancient-changes`. Owners
that wrote another version of the kind are compared in theirs. An object whose managedFields were cleared is not tracked
until it is applied.

Source: k8s.io/apimachinery/pkg/util/managedfields/internal/{fieldmanager,managedfieldsupdater,skipnonapplied,capmanagers,
managedfields,stripmeta}.go; sigs.k8s.io/structured-merge-diff merge/update.go
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sampan.api.frozen import frozen
from sampan.api.schema.decode import zero
from sampan.api.schema.nodes import Struct
from sampan.apiserver.patch.fieldset import Changes, FieldSet, difference, reconcile, union, without

MAX_UPDATERS = 10
ANCIENT = "ancient-changes"
STRIPPED = (
    "apiVersion", "kind", "metadata.name", "metadata.namespace", "metadata.creationTimestamp", "metadata.selfLink",
    "metadata.uid", "metadata.clusterName", "metadata.generation", "metadata.managedFields", "metadata.resourceVersion",
)  # fmt: skip
_NOBODYS = frozenset(path.removeprefix("metadata.") for path in STRIPPED if path.startswith("metadata."))
Json = dict[str, Any]
#: an object, and the version wanted of it -> that version's schema and form. None: there is no such version. May raise
#: Unknown
Convert = Callable[[Json, str], tuple[Struct, Json] | None]


class Unknown(Exception):
    """The object's form in that version cannot be told here."""


@frozen
class Identity:
    """`api_version` is empty for those who apply: they have one entry whatever versions they speak."""

    manager: str
    operation: str
    api_version: str
    subresource: str


@dataclass(slots=True)
class Owned:
    fields: FieldSet
    time: str
    version: str


Managers = dict[Identity, Owned]


def read(entries: list[Json] | None) -> Managers | None:
    """None: an entry cannot be read."""
    out: Managers = {}
    for entry in entries or ():
        operation, version, fields = entry.get("operation"), entry.get("apiVersion"), entry.get("fieldsV1")
        if operation not in ("Apply", "Update") or entry.get("fieldsType") != "FieldsV1" or not version:
            return None
        if fields is not None and not isinstance(fields, dict):
            return None
        known_by = version if operation == "Update" else ""
        key = Identity(entry.get("manager", ""), operation, known_by, entry.get("subresource", ""))
        out[key] = Owned(fields or {}, entry.get("time") or "", version)
    return out


def _well_formed(fields: FieldSet) -> bool:
    """What a client sent as `fieldsV1` is a set."""
    for key, below in fields.items():
        if not isinstance(below, dict) or not (key == "." or (key[1:2] == ":" and key[0] in "fkvi")):
            return False
        if key[0] in "kvi":
            try:
                value = json.loads(key[2:])
            except ValueError:
                return False
            if (key[0] == "k") != isinstance(value, dict) and key[0] != "v":
                return False
        if not _well_formed(below):
            return False
    return True


def current(live: Json | None, new: Json, subresource: str) -> Managers:
    """The owners to begin from: as the new object says (a client may rewrite them; `[{}]` clears), else as they were.
    Through a subresource they cannot be rewritten."""
    before = live["metadata"].get("managedFields") if live is not None else None
    given = new["metadata"].get("managedFields") if subresource == "" else None
    if given == [{}]:
        return {}
    if given is not None and given != before:
        managers = read(given)
        if managers and all(_well_formed(owned.fields) for owned in managers.values()):
            return managers
    return read(before) or {}


def write(managers: Managers) -> list[Json]:
    """Entries in upstream's order: by operation, time, manager, version, subresource."""
    out = []
    order = sorted(
        managers.items(),
        key=lambda item: (item[0].operation, item[1].time, item[0].manager, item[1].version, item[0].subresource),
    )
    for key, owned in order:
        entry: Json = {"manager": key.manager, "operation": key.operation, "apiVersion": owned.version}
        if owned.time:
            entry["time"] = owned.time
        entry["fieldsType"] = "FieldsV1"
        entry["fieldsV1"] = owned.fields
        if key.subresource:
            entry["subresource"] = key.subresource
        out.append(entry)
    return out


def only_times_differ(new: Json, old: Json) -> bool:
    """A write that changes nothing but the times of entries is none."""
    mine, theirs = new["metadata"].get("managedFields"), old["metadata"].get("managedFields")
    if (
        not mine
        or not theirs
        or len(mine) != len(theirs)
        or any(new.get(key) != old.get(key) for key in {*new, *old} - {"metadata"})
    ):
        return False
    ignored = ("managedFields", "resourceVersion")
    if any(
        new["metadata"].get(key) != old["metadata"].get(key)
        for key in {*new["metadata"], *old["metadata"]} - {*ignored}
    ):
        return False

    def untimed(entries: list[Json]) -> list[Json]:
        # times decide the order
        kept = [{key: value for key, value in entry.items() if key != "time"} for entry in entries]
        return sorted(kept, key=lambda entry: (entry["operation"], entry["manager"], entry.get("subresource", "")))

    return untimed(mine) == untimed(theirs)


def update_managed_fields(
    struct: Struct,
    live: Json | None,
    new: Json,
    *,
    manager: str,
    api_version: str,
    subresource: str,
    time: str,
    reset_fields: tuple[str, ...],
    convert: Convert | None = None,
) -> list[Json]:
    """The entries after an update of `live` (None: a create) to `new` by `manager`."""
    managers = current(live, new, subresource)
    if live is not None and not managers:
        return []
    if live is not None:
        reconcile_schema(managers, struct, live, api_version)
    mine = Identity(manager or "unknown", "Update", api_version, subresource)
    old = live if live is not None else nothing(struct)
    comparisons = Comparisons(struct, old, new, api_version, reset_fields, convert)
    claim(managers, mine, comparisons, time)
    cap(managers)
    return write(managers)


def nothing(struct: Struct) -> Json:
    """What a new object is compared with: its zero. Not to be changed."""
    found: Json | None = struct.memo.get("nothing")
    if found is None:
        found = struct.memo["nothing"] = _bare(zero(struct))
    return found


class Comparisons:
    """What differs between two objects, in each version that somebody owns fields of."""

    def __init__(
        self, struct: Struct, old: Json, new: Json, version: str, ignored: tuple[str, ...], convert: Convert | None
    ) -> None:
        self.old, self.new, self.version, self.ignored, self.convert = old, new, version, ignored, convert
        self._made: dict[str, tuple[FieldSet, FieldSet] | None] = {version: self._compare(struct, old, new)}

    def _compare(self, struct: Struct, old: Json, new: Json) -> tuple[FieldSet, FieldSet]:
        changes = Changes(old if old is struct.memo.get("nothing") else _bare(old), _bare(new), struct)
        if not self.ignored:
            return changes.changed, changes.removed
        return without(changes.changed, self.ignored), without(changes.removed, self.ignored)

    def at(self, version: str) -> tuple[FieldSet, FieldSet] | None:
        """What was changed or added, and what was removed. None: there is no such version."""
        if version not in self._made:
            self._made[version] = self._converted(version)
        return self._made[version]

    def _converted(self, version: str) -> tuple[FieldSet, FieldSet] | None:
        # where nothing is known of the version, whoever owns fields there keeps them
        if self.convert is None:
            return {}, {}
        kinds = {"apiVersion": self.new["apiVersion"], "kind": self.new["kind"]}
        try:
            old, new = self.convert({**self.old, **kinds}, version), self.convert(self.new, version)
        except Unknown:
            return {}, {}
        return None if old is None or new is None else self._compare(new[0], old[1], new[1])


def take(managers: Managers, comparisons: Comparisons, keep: Identity | None = None) -> None:
    """All but `keep` lose what is changed or gone; who has nothing left, or a version that is no more, is forgotten."""
    for key, owned in list(managers.items()):
        if key != keep:
            compared = comparisons.at(owned.version)
            if compared is None:
                del managers[key]
                continue
            owned.fields = difference(difference(owned.fields, compared[0]), compared[1])
        if not owned.fields:
            del managers[key]


def claim(managers: Managers, mine: Identity, comparisons: Comparisons, time: str) -> None:
    """Give `mine` what changed, take it (and what was removed) from all."""
    take(managers, comparisons)
    here = comparisons.at(comparisons.version)
    assert here is not None
    changed = here[0]
    if changed:
        before = managers.get(mine)
        managers[mine] = Owned(union(before.fields, changed) if before else changed, time, comparisons.version)


def reconcile_schema(managers: Managers, struct: Struct, live: Json, api_version: str) -> None:
    """Follow what became atomic, or ceased to be, since the sets were written: only schemas of custom resources do."""
    if struct.reader is None:
        return
    for owned in managers.values():
        if owned.version == api_version:
            owned.fields = reconcile(owned.fields, live, struct)


def cap(managers: Managers) -> None:
    """Fold the oldest updaters together, those of one version at a time, when there are too many."""
    updaters = [key for key in managers if key.operation == "Update"]
    excess = len(updaters) - MAX_UPDATERS
    if excess <= 0:
        return
    updaters.sort(key=lambda key: (managers[key].time, key.manager, key.subresource))
    first: dict[str, Identity] = {}
    for key in updaters:
        if excess <= 0:
            return
        owned = managers[key]
        bucket = Identity(ANCIENT, "Update", owned.version, "")
        if owned.version not in first:
            first[owned.version] = key
            continue
        if bucket not in managers:
            managers[bucket] = managers.pop(first[owned.version])
        managers[bucket] = Owned(union(owned.fields, managers[bucket].fields), owned.time, owned.version)
        del managers[key]
        excess -= 1


def _bare(obj: Json) -> Json:
    """Without what nobody owns (`STRIPPED`), which is most of metadata's churn."""
    out = dict(obj)
    out.pop("kind", None)
    out.pop("apiVersion", None)
    meta = out["metadata"] = dict(obj.get("metadata") or ())
    for key in _NOBODYS & meta.keys():
        del meta[key]
    return out

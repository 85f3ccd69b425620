"""managedFields: who set which field, kept with every write.

An update owns what it changed or added, and takes that from whoever owned it before; what it removed nobody owns. An
entry's time moves only when its set does. More than ten updaters are folded into `ancient-changes`.

Source: k8s.io/apimachinery/pkg/util/managedfields/internal/{managedfieldsupdater,capmanagers,managedfields,stripmeta}.go
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sampan.api.frozen import frozen
from sampan.api.schema.decode import zero
from sampan.api.schema.nodes import Struct
from sampan.apiserver.patch.fieldset import Changes, FieldSet, difference, union, without

MAX_UPDATERS = 10
ANCIENT = "ancient-changes"
STRIPPED = (
    "apiVersion", "kind", "metadata.name", "metadata.namespace", "metadata.creationTimestamp", "metadata.selfLink",
    "metadata.uid", "metadata.clusterName", "metadata.generation", "metadata.managedFields", "metadata.resourceVersion",
)  # fmt: skip
Json = dict[str, Any]


@frozen
class Identity:
    manager: str
    operation: str
    api_version: str
    subresource: str


@dataclass(slots=True)
class Owned:
    fields: FieldSet
    time: str


Managers = dict[Identity, Owned]


def read(entries: list[Json] | None) -> Managers | None:
    """None: an entry cannot be read."""
    out: Managers = {}
    for entry in entries or ():
        if entry.get("operation") not in ("Apply", "Update") or entry.get("fieldsType", "FieldsV1") != "FieldsV1":
            return None
        fields = entry.get("fieldsV1")
        if fields is not None and not isinstance(fields, dict):
            return None
        key = Identity(
            entry.get("manager", ""), entry["operation"], entry.get("apiVersion", ""), entry.get("subresource", "")
        )
        owned = Owned(fields or {}, entry.get("time") or "")
        if key in out:
            owned.fields = union(out[key].fields, owned.fields)
        out[key] = owned
    return out


def current(live: Json | None, new: Json | None) -> Managers:
    """The owners to begin from: as the new object says (a client may rewrite them; `[{}]` clears), else as they were."""
    given = new["metadata"].get("managedFields") if new is not None else None
    if given == [{}]:
        return {}
    managers = read(given)
    if managers:
        return managers
    before = read(live["metadata"].get("managedFields")) if live is not None else None
    return before or {}


def write(managers: Managers) -> list[Json]:
    """Entries in upstream's order: by operation, time, manager, version, subresource."""
    out = []
    order = sorted(
        managers.items(),
        key=lambda item: (item[0].operation, item[1].time, item[0].manager, item[0].api_version, item[0].subresource),
    )
    for key, owned in order:
        entry: Json = {"manager": key.manager, "operation": key.operation, "apiVersion": key.api_version}
        if owned.time:
            entry["time"] = owned.time
        entry["fieldsType"] = "FieldsV1"
        entry["fieldsV1"] = owned.fields
        if key.subresource:
            entry["subresource"] = key.subresource
        out.append(entry)
    return out


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
) -> list[Json]:
    """The entries after an update of `live` (None: a create) to `new` by `manager`."""
    managers = current(live, new)
    changes = Changes(_bare(live) if live is not None else nothing(struct), _bare(new), struct)
    mine = Identity(manager, "Update", api_version, subresource)
    changed = without(changes.changed, (*STRIPPED, *reset_fields))
    removed = without(changes.removed, (*STRIPPED, *reset_fields))
    claim(managers, mine, api_version, changed, removed, time)
    cap(managers, mine)
    return write(managers)


def nothing(struct: Struct) -> Json:
    """What a new object is compared with: its zero. Not to be changed."""
    found: Json | None = struct.memo.get("nothing")
    if found is None:
        found = struct.memo["nothing"] = _bare(zero(struct))
    return found


def claim(managers: Managers, mine: Identity, version: str, changed: FieldSet, removed: FieldSet, time: str) -> None:
    """Give `mine` what changed, take it (and what was removed) from the others."""
    if changed or removed:
        for key, owned in list(managers.items()):
            if key.api_version != version:
                continue
            left = difference(owned.fields, removed)
            if key != mine:
                left = difference(left, changed)
            if left != owned.fields:
                owned.fields = left
                if key == mine:
                    owned.time = time
    own = managers.get(mine)
    fields = union(own.fields if own else {}, changed)
    if own is None or fields != own.fields:
        managers[mine] = Owned(fields, time)
    for key, owned in list(managers.items()):
        if not owned.fields:
            del managers[key]


def cap(managers: Managers, mine: Identity) -> None:
    """Fold the oldest updaters together when there are too many."""
    updaters = sorted(
        (key for key in managers if key.operation == "Update"), key=lambda key: (managers[key].time, key.manager)
    )
    excess = len(updaters) - MAX_UPDATERS
    if excess <= 0:
        return
    folded: dict[str, Owned] = {}
    for key in updaters:
        if excess < 0 or key == mine:
            continue
        owned = managers.pop(key)
        bucket = folded.get(key.api_version)
        if bucket is None:
            folded[key.api_version] = owned
        else:
            bucket.fields = union(bucket.fields, owned.fields)
            bucket.time = max(bucket.time, owned.time)
        excess -= 1
    for version, owned in folded.items():
        key = Identity(ANCIENT, "Update", version, "")
        before = managers.get(key)
        managers[key] = Owned(union(before.fields, owned.fields), owned.time) if before else owned


def _bare(obj: Json) -> Json:
    """Without what nobody owns, which is most of metadata's churn."""
    meta = {
        key: value
        for key, value in (obj.get("metadata") or {}).items()
        if key
        not in ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "name", "namespace")
    }
    out = {key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}
    out["metadata"] = meta
    return out

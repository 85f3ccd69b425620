"""Who owns the replicas: field owners between an object and its Scale.

A Scale shows those who own the object's replicas, as owners of its own `spec.replicas`; who owns that after a write owns
the object's replicas, through the subresource.

Source: k8s.io/apimachinery/pkg/util/managedfields/scalehandler.go
"""

from __future__ import annotations

from sampan.api.kind import Kind
from sampan.api.registry import Registry
from sampan.apiserver.patch.fieldset import FieldSet, difference
from sampan.apiserver.patch.managed import Identity, Json, Managers, Owned, read, write

VERSION = "autoscaling/v1"
REPLICAS: FieldSet = {"f:spec": {"f:replicas": {}}}


class Owners:
    """Of one kind's objects, in whatever versions of it."""

    def __init__(self, registry: Registry, kind: Kind) -> None:
        self.registry, self.kind = registry, kind

    def of_scale(self, entries: list[Json] | None) -> list[Json]:
        found = read(entries) or {}
        owners: Managers = {}
        for key, owned in found.items():
            path = self._path(owned.version)
            if path and _has(owned.fields, path):
                owners[_as(key, VERSION)] = Owned(REPLICAS, owned.time, VERSION)
        return write(owners)

    def of_object(self, entries: list[Json] | None, scale: list[Json]) -> list[Json]:
        version = self.kind.names.api_version
        of_scale = {_as(key, ""): owned for key, owned in (read(scale) or {}).items() if _has(owned.fields, REPLICAS)}
        out: Managers = {}
        for key, owned in (read(entries) or {}).items():
            path = self._path(owned.version)
            if path and _has(owned.fields, path) and of_scale.pop(_as(key, ""), None) is None:
                owned.fields = difference(owned.fields, path)
            if owned.fields:
                out[key] = owned
        mine = self._path(version) or REPLICAS
        for key in of_scale:
            # upstream's entries of scaling have no time
            out[_as(key, version)] = Owned(mine, "", version)
        return write(out)

    def _path(self, api_version: str) -> FieldSet | None:
        """Where a version has its replicas."""
        group, _, version = api_version.rpartition("/")
        kind = self.registry.by_kind(group, version, self.kind.names.kind)
        if kind is None or (kind.custom and not kind.scale_paths):
            return None
        if not kind.scale_paths:
            return REPLICAS
        out: FieldSet = {}
        for step in reversed(kind.scale_paths[0].strip(".").split(".")):
            out = {"f:" + step: out}
        return out


def _has(fields: FieldSet, path: FieldSet) -> bool:
    ((step, below),) = path.items()
    if step not in fields:
        return False
    return _has(fields[step], below) if below else not fields[step] or "." in fields[step]


def _as(key: Identity, version: str) -> Identity:
    return Identity(key.manager, key.operation, version if key.operation == "Update" else "", key.subresource)

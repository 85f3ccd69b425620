"""Objects in the other versions of their kind, for the field sets of those who wrote in them.

Source: k8s.io/apimachinery/pkg/util/managedfields/internal/versionconverter.go
"""

from __future__ import annotations

from sampan.api.kind import Kind, Obj
from sampan.api.registry import Registry
from sampan.api.schema.nodes import Struct
from sampan.apiserver.patch.managed import Convert, Unknown


def converter(registry: Registry, kind: Kind) -> Convert:
    def convert(obj: Obj, version: str) -> tuple[Struct, Obj] | None:
        source, target = _kind(registry, obj["apiVersion"], kind), _kind(registry, version, kind)
        if target is None or source is None or _hub(source) != _hub(target):
            if kind.custom and version.partition("/")[0] == kind.names.group:
                # DEVIATION: upstream also knows the versions that are not served
                raise Unknown
            return None
        if source is target:
            return target.schema, obj
        if source.remote or target.remote:
            # DEVIATION: a webhook is not asked for this: who owns fields in another version keeps them
            raise Unknown
        return target.schema, target.from_storage(source.to_storage(obj))

    return convert


def _kind(registry: Registry, api_version: str, kind: Kind) -> Kind | None:
    group, _, version = api_version.rpartition("/")
    return registry.by_kind(group, version, kind.names.kind)


def _hub(kind: Kind) -> tuple[str, str, str]:
    group, version = kind.storage_version or (kind.names.group, kind.names.version)
    return group, "" if kind.custom else version, kind.names.resource

"""One stored resource: where its objects lie in the store, and their cache.

Kinds that are served in several versions, or under two groups (events), share one.
"""

from __future__ import annotations

from sampan.api.frozen import frozen
from sampan.api.kind import Kind
from sampan.apiserver.cache import Record, ResourceCache
from sampan.store.contract import KeyValue


def storage_prefix(group: str, resource: str) -> str:
    """`/registry/apps/deployments/`; the group without a name is `core`.

    DEVIATION: upstream leaves most groups out, and calls some resources by older names.
    """
    return f"/registry/{group or 'core'}/{resource}/"


@frozen
class Resource:
    cache: ResourceCache

    @property
    def kind(self) -> Kind:
        """The kind in the version that is stored."""
        return self.cache.kind

    def store_key(self, key: str) -> bytes:
        return (self.cache.prefix + key).encode()

    def record(self, kv: KeyValue) -> Record:
        """A record of a value that is not in the cache (an older revision)."""
        return Record(kv.key.decode()[len(self.cache.prefix) :], kv, self.cache)

"""Leases for events: one is shared by all events of a minute, so that few are needed.

Source: k8s.io/apiserver/pkg/storage/etcd3/lease_manager.go
"""

from __future__ import annotations

from collections.abc import Callable

from sampan.store.contract import NO_LEASE, LeaseId, Store

REUSE_SECONDS = 60


class EventLeases:
    def __init__(self, store: Store, ttl: int, clock: Callable[[], float]) -> None:
        self.store = store
        self.ttl = ttl
        self.clock = clock
        self._lease = NO_LEASE
        self._until = 0.0

    async def current(self) -> LeaseId:
        """A lease with at least `ttl` seconds to go."""
        if self.clock() >= self._until:
            self._lease = await self.store.grant(self.ttl + REUSE_SECONDS)
            self._until = self.clock() + REUSE_SECONDS
        return self._lease

"""NetworkPolicies of the cluster, enforced for the pods of one node.

Pods and Namespaces are only watched once there is a policy: a cluster without pays nothing. Changes are gathered while a
transaction is under way.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

from sampan.client import Informers, key_of
from sampan.network.nft import Nft, NftError
from sampan.network.policy import table
from sampan.network.policy.facts import Pod, pod_of
from sampan.network.policy.rules import TABLE, Compiler, Table

log = logging.getLogger("sampan.network.policy")
Obj = dict[str, Any]
POLICIES = "networkpolicies.networking.k8s.io"
RETRY_SECONDS = 1.0


class Policies:
    """`node`: our Node's name. `idle` is set while the kernel has all that was heard of."""

    def __init__(
        self, informers: Informers, node: str, *, namespace: Path | None = None, sync_seconds: float = 30.0
    ) -> None:
        self._informers = informers
        self._node = node
        self._namespace = namespace
        self._sync_seconds = sync_seconds
        self._policies = informers.get(POLICIES)
        self._policies.add_handler(self._wake, lambda _, new: self._wake(new), self._wake)
        self._pods: dict[str, Pod] = {}
        self._labels: dict[str, dict[str, str]] = {}
        self._watching = False
        self._applied: Table | None = None
        self._changed = asyncio.Event()
        self.idle = asyncio.Event()

    def _wake(self, _: Any = None) -> None:
        self.idle.clear()
        self._changed.set()

    def _pod(self, pod: Obj) -> None:
        key, now = key_of(pod), pod_of(pod)
        if self._pods.get(key) == now:
            return
        if now is None:
            del self._pods[key]
        else:
            self._pods[key] = now
        self._wake()

    def _pod_gone(self, pod: Obj) -> None:
        if self._pods.pop(key_of(pod), None) is not None:
            self._wake()

    def _labelled(self, namespace: Obj) -> None:
        name, labels = namespace["metadata"]["name"], namespace["metadata"].get("labels") or {}
        if self._labels.get(name) != labels:
            self._labels[name] = labels
            self._wake()

    def _unlabelled(self, namespace: Obj) -> None:
        self._labels.pop(namespace["metadata"]["name"], None)
        self._wake()

    async def _watch(self) -> None:
        pods, namespaces = self._informers.get("pods"), self._informers.get("namespaces")
        pods.add_handler(self._pod, lambda _, new: self._pod(new), self._pod_gone)
        namespaces.add_handler(self._labelled, lambda _, new: self._labelled(new), self._unlabelled)
        self._watching = True
        await pods.wait_synced()
        await namespaces.wait_synced()

    async def run(self) -> None:
        """Until cancelled."""
        await self._policies.wait_synced()
        nft = Nft(self._namespace)
        try:
            while True:
                self._changed.clear()
                try:
                    await self._sync(nft)
                except (NftError, OSError) as error:
                    self._applied = None
                    log.error("cannot change the rules: %s", error)
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                if not self._changed.is_set():
                    self.idle.set()
                try:
                    async with asyncio.timeout(self._sync_seconds):
                        await self._changed.wait()
                except TimeoutError:
                    await self._look(nft)
        finally:
            nft.close()

    async def _sync(self, nft: Nft) -> None:
        policies = self._policies.cache.list()
        if policies and not self._watching:
            await self._watch()
        wanted = Compiler(self._pods.values(), self._labels, self._node).compile(policies)
        before = self._applied
        if before is not None and before.structure() == wanted.structure():
            await asyncio.to_thread(nft.run, table.change(before, wanted))
        else:
            await asyncio.to_thread(nft.run, table.program(wanted) if wanted.chains else table.NOTHING)
        self._applied = wanted

    async def _look(self, nft: Nft) -> None:
        """Somebody may have flushed all rules of the machine."""
        if self._applied is not None and self._applied.chains:
            try:
                await asyncio.to_thread(nft.list, f"chain ip {TABLE} forward-ingress")
            except (NftError, OSError):
                log.warning("the table %s is gone: making it again", TABLE)
                self._applied = None

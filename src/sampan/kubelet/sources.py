"""What pods refer to in the API, as fresh as watches keep it: ConfigMaps, Secrets, Services; and what is fetched when it is
needed: claims, volumes, service account tokens.

A node may see nothing but what its own pods use, each object by its name: so there is one watch for every object, from when the first
pod is registered that refers to it until the last one is gone. Who must act when something changes is told by `listen`.

Source: kubernetes pkg/kubelet/util/manager/watch_based_manager.go, pkg/kubelet/{configmap,secret,token}
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sampan.api.errors import StatusError
from sampan.api.times import parse_time
from sampan.client import Client, Informer
from sampan.http import HttpError

log = logging.getLogger("sampan.kubelet")
Obj = dict[str, Any]
Clock = Callable[[], float]
#: resource, namespace, name
Key = tuple[str, str, str]
#: how long a new watch may take to tell what is there
SYNC_SECONDS = 10.0
MAX_TOKEN_SECONDS = 24 * 3600.0
_ONE = {"configmaps": "configmap", "secrets": "secret"}


class NotSynced(Exception):
    """The API server has not told (yet) what an object is, nor that there is none."""


@dataclass(slots=True)
class _Watched:
    informer: Informer
    task: asyncio.Task[None]
    users: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    renew: float
    expires: float


class Sources:
    """`clock`: seconds since 1970, by which tokens are renewed."""

    def __init__(self, client: Client, *, clock: Clock, sync_seconds: float = SYNC_SECONDS) -> None:
        self.client = client
        self._clock = clock
        self._sync_seconds = sync_seconds
        self._watched: dict[Key, _Watched] = {}
        self._pods: dict[str, frozenset[Key]] = {}
        self._listeners: list[Callable[[str], object]] = []
        self._services: tuple[Informer, asyncio.Task[None]] | None = None
        self._tokens: dict[tuple[str, str, str, str, int], _Token] = {}

    async def aclose(self) -> None:
        tasks = [each.task for each in self._watched.values()]
        if self._services is not None:
            tasks.append(self._services[1])
        self._watched.clear()
        self._services = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- who uses what -------------------------------------------------------------------------------------------------

    def listen(self, changed: Callable[[str], object]) -> None:
        """`changed(uid)` is called whenever something that a registered pod refers to is made, changed or deleted."""
        self._listeners.append(changed)

    def register(self, pod: Obj) -> None:
        """Begins to watch what it refers to; again and again is fine."""
        uid = pod["metadata"]["uid"]
        wanted, had = frozenset(references(pod)), self._pods.get(uid, frozenset())
        if wanted == had and uid in self._pods:
            return
        self._pods[uid] = wanted
        for key in wanted - had:
            self._watch(key).users.add(uid)
        for key in had - wanted:
            self._release(key, uid)

    def unregister(self, uid: str) -> None:
        for key in self._pods.pop(uid, frozenset()):
            self._release(key, uid)
        for known in [known for known in self._tokens if known[0] == uid]:
            del self._tokens[known]

    def _watch(self, key: Key) -> _Watched:
        found = self._watched.get(key)
        if found is None:
            resource, namespace, name = key
            # rarely looked at, and then all of it: nothing is kept decoded
            informer = Informer(
                self.client, resource, namespace=namespace, field_selector=f"metadata.name={name}", decoded_bytes=0
            )
            task = asyncio.create_task(informer.run(), name=f"watch of {_ONE[resource]} {namespace}/{name}")
            found = self._watched[key] = _Watched(informer, task)
            informer.add_handler(
                add=lambda obj: self._changed(key, obj),
                update=lambda _, obj: self._changed(key, obj),
                delete=lambda _: self._changed(key, None),
            )
        return found

    def _release(self, key: Key, uid: str) -> None:
        found = self._watched.get(key)
        if found is not None:
            found.users.discard(uid)
            if not found.users:
                del self._watched[key]
                found.task.cancel()

    def _changed(self, key: Key, obj: Obj | None) -> None:
        found = self._watched.get(key)
        if found is None:
            return
        if obj is not None and obj.get("immutable"):
            found.task.cancel()  # it cannot change any more; what is known of it stays
        if found.informer.has_synced:
            for uid in tuple(found.users):
                for listener in self._listeners:
                    listener(uid)

    # -- what there is -------------------------------------------------------------------------------------------------

    async def config_map(self, namespace: str, name: str) -> Obj:
        """Of a registered pod; not to be changed. Raises StatusError (not found), NotSynced."""
        return await self._get(("configmaps", namespace, name))

    async def secret(self, namespace: str, name: str) -> Obj:
        """As `config_map`."""
        return await self._get(("secrets", namespace, name))

    async def _get(self, key: Key) -> Obj:
        resource, namespace, name = key
        found = self._watched.get(key)
        if found is None:
            raise NotSynced(f'object "{namespace}"/"{name}" not registered')
        cached = found.informer.cache.get(name, namespace)
        if cached is None:
            await self._synced(found.informer, f"failed to sync {_ONE[resource]} cache")
            cached = found.informer.cache.get(name, namespace)
        if cached is None:
            details = {"name": name, "kind": _ONE[resource]}
            raise StatusError(404, "NotFound", f'{_ONE[resource]} "{name}" not found', details)
        return cached

    async def _synced(self, informer: Informer, failure: str) -> None:
        try:
            async with asyncio.timeout(self._sync_seconds):
                await informer.wait_synced()
        except TimeoutError:
            raise NotSynced(f"{failure}: timed out waiting for the condition") from None

    async def services(self, *, wait: bool = True) -> list[Obj]:
        """All of the cluster; without `wait`, those known by now. Raises NotSynced."""
        if self._services is None:
            informer = Informer(self.client, "services")
            self._services = informer, asyncio.create_task(informer.run(), name="watch of services")
        informer = self._services[0]
        if wait and not informer.has_synced:
            text = "services have not yet been read at least once, cannot construct envvars"
            try:
                await self._synced(informer, text)
            except NotSynced:
                raise NotSynced(text) from None
        return informer.cache.list()

    async def claim(self, namespace: str, name: str) -> Obj:
        """A PersistentVolumeClaim as it is now. Raises StatusError, HttpError."""
        return await self.client.get("persistentvolumeclaims", name, namespace)

    async def volume(self, name: str) -> Obj:
        """As `claim`, a PersistentVolume."""
        return await self.client.get("persistentvolumes", name)

    async def token(self, pod: Obj, audience: str, seconds: int) -> str:
        """Of the pod's service account, bound to the pod; a new one when four fifths of its life are over. Raises
        StatusError, HttpError."""
        meta, spec = pod["metadata"], pod["spec"]
        account = spec.get("serviceAccountName") or "default"
        key = (meta["uid"], meta["namespace"], account, audience, seconds)
        known = self._tokens.get(key)
        now = self._clock()
        if known is not None and now < known.renew:
            return known.value
        try:
            made = await self.client.create_token(
                account,
                meta["namespace"],
                audiences=[audience] if audience else [],
                expiration_seconds=seconds,
                bound_to={"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]},
            )
        except (StatusError, HttpError) as error:
            if known is None or now >= known.expires:
                raise
            log.warning("couldn't update token %s/%s: %s", meta["namespace"], account, error)
            return known.value
        status = made["status"]
        expires = parse_time(status["expirationTimestamp"])
        # what the server made of the wish counts: it may grant more than was asked for
        granted = made["spec"].get("expirationSeconds") or seconds
        renew = min(expires - 0.2 * granted, now + MAX_TOKEN_SECONDS)
        if meta["uid"] in self._pods:
            self._tokens[key] = _Token(status["token"], renew, expires)
        return str(status["token"])


def references(pod: Obj) -> Iterator[Key]:
    """The ConfigMaps and Secrets that a pod names, optional ones too."""
    namespace, spec = pod["metadata"]["namespace"], pod["spec"]
    for secret in spec.get("imagePullSecrets") or ():
        if secret.get("name"):
            yield "secrets", namespace, secret["name"]
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            for each in container.get("envFrom") or ():
                yield from _named(namespace, each.get("configMapRef"), each.get("secretRef"))
            for variable in container.get("env") or ():
                each = variable.get("valueFrom") or {}
                yield from _named(namespace, each.get("configMapKeyRef"), each.get("secretKeyRef"))
    for volume in spec.get("volumes") or ():
        yield from _named(namespace, volume.get("configMap"), volume.get("secret"), "secretName")
        for each in (volume.get("projected") or {}).get("sources") or ():
            yield from _named(namespace, each.get("configMap"), each.get("secret"))


def _named(namespace: str, config_map: Obj | None, secret: Obj | None, field: str = "name") -> Iterator[Key]:
    if config_map and config_map.get("name"):
        yield "configmaps", namespace, config_map["name"]
    if secret and secret.get(field):
        yield "secrets", namespace, secret[field]

"""All volumes of all pods of this node.

    mounted = await volumes.mount(pod)          # again and again: what is there stays, what has changed is brought up to date
    volumes.container_mounts(pod, container, mounted, Extra(...))
    volumes.update(pod)                         # the pod was changed: its labels may be in a file
    await volumes.unmount(uid)                  # once its containers have ended
    await volumes.remove(uid)                   # once the pod is gone

`keep` brings what is mounted up to date by itself: at once when a ConfigMap or Secret has changed, and every minute for tokens.
Whether something is there is read from disk, so that a kubelet that starts anew finds what another one made.

Source: kubernetes pkg/kubelet/volumemanager, pkg/volume/util/operationexecutor/operation_generator.go (GenerateMountVolumeFunc)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from sampan.client import Client
from sampan.kubelet.sources import Sources
from sampan.kubelet.volumes import (
    atomic,
    clean,
    config_map,
    containers,
    downward_api,
    empty_dir,
    host_path,
    mounts,
    persistent,
    projected,
    secret,
)
from sampan.kubelet.volumes.attempts import Attempts
from sampan.kubelet.volumes.errors import FAILED_MOUNT, SetUpFailed, VolumeError, words
from sampan.kubelet.volumes.places import place, uids
from sampan.kubelet.volumes.setting import Mounted, Obj, Setting

log = logging.getLogger("sampan.kubelet")
KINDS: dict[str, Callable[[Obj, Setting], Awaitable[Mounted]]] = {
    "emptyDir": empty_dir.set_up,
    "hostPath": host_path.set_up,
    "configMap": config_map.set_up,
    "secret": secret.set_up,
    "downwardAPI": downward_api.set_up,
    "projected": projected.set_up,
    "persistentVolumeClaim": persistent.set_up,
    "ephemeral": persistent.set_up_ephemeral,
}
#: those that follow what they show; by kind, the name of their directory
LIVE = {"configMap": "configmap", "secret": "secret", "downwardAPI": "downward-api", "projected": "projected"}
Warn = Callable[[Obj, str, str], object]
KEEP_SECONDS = 60.0


class Volumes:
    """`allocatable`: of the node, now. `warn(pod, reason, message)`: an event about a volume that is in use and cannot be
    brought up to date."""

    def __init__(
        self,
        root: Path,
        sources: Sources,
        client: Client,
        *,
        node: str,
        clock: Callable[[], float],
        allocatable: Callable[[], Mapping[str, str]] = dict,
        warn: Warn | None = None,
        host_paths: Sequence[tuple[str, str, bool]] = (),
    ) -> None:
        # mounts are known by their real paths
        self.root = Path(root).resolve()
        self._host_paths = host_paths
        self.sources = sources
        self.client = client
        self.node = node
        self._clock = clock
        self._allocatable = allocatable
        self._warn = warn or (lambda pod, reason, message: log.warning("%s: %s", reason, message))
        self._mounted: dict[str, dict[str, Mounted]] = {}
        self._pods: dict[str, Obj] = {}
        self._attempts = Attempts()
        self._locks: dict[str, asyncio.Lock] = {}
        self._stale: set[str] = set()
        self._waker = asyncio.Event()
        self._shared = False
        sources.listen(self._changed)

    def start(self) -> None:
        """Lets mounts in volumes reach containers that ask for it. Raises OSError."""
        self.root.mkdir(0o750, parents=True, exist_ok=True)
        self._shared = mounts.share(self.root)

    def stop(self) -> None:
        """Undoes `start`, once no pod needs it any more."""
        if self._shared and not uids(self.root):
            mounts.unmount(self.root)
            self._shared = False

    # -- of a pod ------------------------------------------------------------------------------------------------------

    async def mount(self, pod: Obj) -> dict[str, Mounted]:
        """By the names in the pod. Raises VolumeError, having made all that can be made; what has just failed is not tried again at once,
        and not told again."""
        uid = pod["metadata"]["uid"]
        self.update(pod)
        if uid in self._pods and uid not in self._stale:
            return dict(self._mounted[uid])
        return await self.refresh(pod)

    def mounted(self, uid: str) -> Mapping[str, Mounted]:
        """What is there of a pod's, by the names in the pod."""
        return self._mounted.get(uid) or {}

    async def refresh(self, pod: Obj) -> dict[str, Mounted]:
        """As `mount`, and what follows the API is brought up to date now, tokens too."""
        uid = pod["metadata"]["uid"]
        self.sources.register(pod)
        async with self._lock(uid):
            self._stale.discard(uid)
            done = await self._all(pod)
            self._pods[uid] = pod
        return done

    async def _all(self, pod: Obj) -> dict[str, Mounted]:
        uid = pod["metadata"]["uid"]
        done = self._mounted.setdefault(uid, {})
        at = Setting(
            pod, place(self.root, uid), self.sources, self._allocatable(), self._of_api, self._clock, self._host_paths
        )
        at.place.volumes.mkdir(0o750, parents=True, exist_ok=True)
        errors: list[str] = []
        for volume in pod["spec"].get("volumes") or ():
            kind = next((key for key in volume if key != "name"), "emptyDir")
            there = volume["name"] in done
            if (not there or kind in LIVE) and self._attempts.due(uid, volume["name"]):
                await self._one(volume, kind, at, done, errors)
        missing = [each["name"] for each in pod["spec"].get("volumes") or () if each["name"] not in done]
        if missing:
            raise VolumeError([*errors, *self._attempts.overdue(uid, missing)])
        return dict(done)

    async def _one(self, volume: Obj, kind: str, at: Setting, done: dict[str, Mounted], errors: list[str]) -> None:
        uid, name = at.pod["metadata"]["uid"], volume["name"]
        try:
            if kind not in KINDS:
                raise persistent.unsupported(volume, name)
            done[name] = await KINDS[kind](volume if kind in volume else {**volume, kind: {}}, at)
        except VolumeError as error:
            messages: Sequence[str] = error.messages
        except SetUpFailed as error:
            messages = [error.message(name)]
        except (OSError, ValueError) as error:
            messages = [SetUpFailed(words(error) if isinstance(error, OSError) else str(error)).message(name)]
        else:
            self._attempts.succeeded(uid, name)
            return
        self._attempts.failed(uid, name)
        directory = at.place.volume(LIVE[kind], name) if kind in LIVE else None
        if directory is None or not atomic.is_written(directory):
            errors += messages
            return
        # it goes on with what it has, and a kubelet that starts anew finds it
        done[name] = Mounted(directory, read_only=True)
        for message in messages:
            self._warn(at.pod, FAILED_MOUNT, message)

    def update(self, pod: Obj) -> None:
        """If it is mounted, `keep` brings it up to date."""
        uid = pod["metadata"]["uid"]
        known = self._pods.get(uid)
        if known is not None and known is not pod:
            self._pods[uid] = pod
            if any(known["metadata"].get(key) != pod["metadata"].get(key) for key in ("labels", "annotations")) or (
                known["spec"] != pod["spec"]
            ):
                self._changed(uid)

    def _changed(self, uid: str) -> None:
        self._attempts.forget(uid)  # what was missing may be there
        if uid in self._mounted:  # or on its way there: `keep` waits for that
            self._stale.add(uid)
            self._waker.set()

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(KEEP_SECONDS):
                    await self._waker.wait()
            except TimeoutError:
                self._stale.update(self._pods)
            self._waker.clear()
            while self._stale:
                await self._keep_one(self._stale.pop())
                await asyncio.sleep(0)  # nothing else may have had to wait, and others want their turn

    async def _keep_one(self, uid: str) -> None:
        async with self._lock(uid):
            pod = self._pods.get(uid)
            if pod is None:
                return  # unmounted meanwhile, or it has never been complete
            try:
                await self._all(pod)
            except VolumeError as error:
                for message in error.messages:
                    self._warn(pod, error.reason, message)
            except Exception:
                log.exception("volumes of pod %s", uid)

    def container_mounts(
        self, pod: Obj, container: Obj, mounted: Mapping[str, Mounted], extra: containers.Extra
    ) -> list[Any]:
        """`pb.Mount`s for one start of a container. Raises ConfigError."""
        where = place(self.root, pod["metadata"]["uid"])
        return containers.mounts_of(pod, container, mounted, where, extra)

    async def unmount(self, uid: str) -> None:
        """Its volumes, not what its containers left (termination messages). Raises OSError: something is in use."""
        async with self._lock(uid):
            self._forget(uid)
            await clean.volumes(place(self.root, uid))

    async def remove(self, uid: str) -> None:
        """All there is of it. Raises OSError."""
        async with self._lock(uid):
            self._forget(uid)
            await clean.everything(place(self.root, uid))
        self._locks.pop(uid, None)

    async def orphans(self, known: Collection[str]) -> list[str]:
        """Removes what is left of pods that are not known (any more); their uids. What is in use stays, and is tried again the next
        time."""
        out = []
        for uid in uids(self.root):
            if uid not in known:
                try:
                    await self.remove(uid)
                except OSError as error:
                    log.error("there were errors cleaning up orphaned pod %s: %s", uid, error)
                else:
                    out.append(uid)
        return out

    async def _of_api(self) -> Obj:
        return await self.client.get("nodes", self.node)

    def _forget(self, uid: str) -> None:
        self._mounted.pop(uid, None)
        self._pods.pop(uid, None)
        self._attempts.forget(uid)
        self._stale.discard(uid)
        self.sources.unregister(uid)

    def _lock(self, uid: str) -> asyncio.Lock:
        return self._locks.setdefault(uid, asyncio.Lock())

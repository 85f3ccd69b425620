"""A pull: name, manifest, platform, config, layers; and the same from a file instead of a registry.

Source: containerd pull.go (order, messages)
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sampan.runtime import apart, manifests, names
from sampan.runtime.errors import CriError, Invalid
from sampan.runtime.layers import Fetch, Layers, Limits
from sampan.runtime.manifests import Descriptor, Manifest
from sampan.runtime.registry import Credentials, Registry, check, digest_of
from sampan.runtime.store import Image, Store, delete

log = logging.getLogger("runtime")
PROGRESS_SECONDS = 10.0


class Progress:
    """One pull, in the log: its beginning, how far it is every now and then, its end and how that was."""

    def __init__(self, reference: names.Reference) -> None:
        self._reference = reference
        self._loop = asyncio.get_running_loop()
        self._began = self._told = self._loop.time()
        self._done = self._all = 0

    def begin(self, size: int) -> None:
        self._all = size
        log.info("pulling %s: %s", self._reference, _megabytes(size))

    def add(self, size: int) -> None:
        self._done += size
        if self._loop.time() - self._told >= PROGRESS_SECONDS:
            self._told = self._loop.time()
            log.info("pulling %s: %s of %s", self._reference, _megabytes(self._done), _megabytes(self._all))

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, _: object, error: BaseException | None, *__: object) -> None:
        seconds, size = self._loop.time() - self._began, _megabytes(self._done)
        how = "called off" if isinstance(error, asyncio.CancelledError) else f"failed: {error}" if error else "done"
        log.info("pulling %s: %s after %.1f s and %s", self._reference, how, seconds, size)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


class Puller:
    def __init__(self, store: Store, registry: Registry, limits: Limits) -> None:
        self._store = store
        self._registry = registry
        self._limits = limits
        self._layers = Layers(store, limits)

    async def pull(self, text: str, auth: Credentials) -> Image:
        """Raises CriError."""
        try:
            reference = names.parse(text)
        except Invalid as error:
            raise Invalid(f'failed to parse image reference "{text}": {error}') from None
        try:
            try:
                data, said = await self._registry.document(reference, reference.digest or reference.tag, auth)
            except CriError as error:
                raise type(error)(f'failed to resolve reference "{reference}": {error}') from None
            with Progress(reference) as progress:
                return await self._image(reference, data, said, auth, progress)
        except CriError as error:
            raise type(error)(f'failed to pull and unpack image "{reference}": {error}') from None

    async def _image(
        self, reference: names.Reference, data: bytes, said: str, auth: Credentials, progress: Progress
    ) -> Image:
        top, found = digest_of(data), manifests.document(data)
        kind = manifests.media_type(found, said)
        manifest_digest = top
        documents = [data]
        for _ in range(3):  # an index may hold an index
            if kind not in manifests.INDEXES:
                break
            chosen = manifests.choose(found, manifest_digest)
            manifest_digest = chosen.digest
            data, said = await self._registry.document(reference, chosen.digest, auth)
            documents.append(data)
            found = manifests.document(data)
            kind = manifests.media_type(found, said or chosen.media_type)
        if kind not in manifests.MANIFESTS:
            raise Invalid(f"media type {kind!r} is not supported")
        manifest = manifests.manifest(found)
        config = await self._config(reference, manifest, auth)

        def fetch(layer: Descriptor) -> Fetch:
            return lambda file: self._registry.blob(reference, layer, auth, file, progress.add)

        diff_ids = manifests.diff_ids(manifests.document(config), len(manifest.layers), manifest_digest)
        progress.begin(sum(layer.size for layer in manifest.layers))
        sources = [(layer.size, fetch(layer)) for layer in manifest.layers]
        with self._store.holding(diff_ids):
            await self._all(diff_ids, sources)
            for each in documents:
                self._store.put_blob(each)
            tags = (str(reference),) if not reference.digest else ()
            return self._add(config, diff_ids, tags=tags, digests=(f"{reference.name}@{reference.digest or top}",))

    async def _config(self, reference: names.Reference, manifest: Manifest, auth: Credentials) -> bytes:
        if manifest.config.size > manifests.MAX_DOCUMENT:
            raise Invalid(f"image config of {manifest.config.size} bytes is larger than {manifests.MAX_DOCUMENT}")
        file = self._store.ingest / uuid.uuid4().hex
        try:
            await self._registry.blob(reference, manifest.config, auth, file)
            return file.read_bytes()
        finally:
            file.unlink(missing_ok=True)

    async def _all(self, diff_ids: Sequence[str], sources: Sequence[tuple[int, Fetch]]) -> None:
        wanted = dict(zip(diff_ids, sources, strict=True))
        try:
            async with asyncio.TaskGroup() as group:
                for diff_id, (size, fetch) in wanted.items():
                    group.create_task(self._layers.ensure(diff_id, size, fetch))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    def _add(self, config: bytes, layers: tuple[str, ...], **more: Any) -> Image:
        manifests.settings(manifests.document(config))  # what cannot be run is not an image
        size = len(config) + sum(self._store.info(layer).size for layer in layers)
        return self._store.add(Image(self._store.put_blob(config), layers, size, **more))

    # -- from files ----------------------------------------------------------------------------------------------------

    async def load(self, archive: Path, also: Sequence[str] = (), pinned: bool = False) -> list[Image]:
        """All images of a `docker save` or OCI archive; `also`: more names, where it has a single image."""
        extra = tuple(str(names.parse(name)) for name in also)
        work = self._store.ingest / uuid.uuid4().hex
        work.mkdir()
        try:
            found = await self._read(archive, work)
            if extra and len(found) != 1:
                raise Invalid(f"{archive} has {len(found)} images: names can be given to one alone")
            return [await self._loaded(each, work, extra, pinned) for each in found]
        finally:
            await delete(work)

    async def _read(self, archive: Path, work: Path) -> list[dict[str, Any]]:
        room = str(max(0, shutil.disk_usage(work).free - self._limits.keep_free))
        failed = f"failed to read {archive}"
        found = await apart.run("sampan.runtime.archive", str(archive), str(work), room, failed=failed)
        images: list[dict[str, Any]] = found["images"]
        return images

    async def _loaded(self, found: dict[str, Any], work: Path, also: tuple[str, ...], pinned: bool) -> Image:
        config = (work / found["config"]).read_bytes()
        diff_ids = manifests.diff_ids(manifests.document(config), len(found["layers"]), found["name"])
        tags = tuple(dict.fromkeys((*(str(names.parse(name)) for name in found["tags"]), *also)))

        def fetch(name: str) -> Fetch:
            async def link(file: Path) -> None:
                os.link(work / name, file)

            return link

        with self._store.holding(diff_ids):
            await self._all(diff_ids, [(0, fetch(name)) for name in found["layers"]])
            digests: tuple[str, ...] = ()
            if found["manifest"]:
                data = (work / found["manifest"]).read_bytes()
                check(data, found["digest"])
                self._store.put_blob(data)
                digests = tuple(dict.fromkeys(f"{names.parse(tag).name}@{found['digest']}" for tag in tags))
            return self._add(config, diff_ids, tags=tags, digests=digests, pinned=pinned)

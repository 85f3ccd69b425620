"""Images on disk: documents by digest, layers unpacked once by the digest of their tar, and one index of what there is.

    index.json              images, names, sizes: written beside and renamed, so that it is the old one or the new one
    blobs/sha256/HEX        manifests and configs
    layers/HEX/fs           what overlayfs mounts
    layers/HEX/info.json    its size
    ingest/                 whatever is on its way; emptied at the start

A layer comes into being by a rename, whole; it goes by a rename out and is then deleted. So a crash leaves nothing half,
only things that nobody asks for, and those the next `collect` takes away. Compressed layers are not kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sampan.runtime import names
from sampan.runtime.errors import Invalid


@dataclass(frozen=True, slots=True)
class Image:
    """`id`: the digest of its config. `tags` and `digests` are whole names."""

    id: str
    layers: tuple[str, ...]
    size: int
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class LayerInfo:
    size: int
    inodes: int


class Store:
    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs, self._layers, self.ingest = root / "blobs" / "sha256", root / "layers", root / "ingest"
        self._images: dict[str, Image] = {}
        self._info: dict[str, LayerInfo] = {}
        self._held: Counter[str] = Counter()
        self._old: list[Path] = []
        #: images that nobody may remove
        self.permanent: set[str] = set()

    def open(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)  # set-uid files of images are nobody's business
        self._set_aside()
        for each in (self._blobs, self._layers, self.ingest):
            each.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            for found in json.loads((self.root / "index.json").read_bytes())["images"]:
                lists = {key: tuple(found[key]) for key in ("layers", "tags", "digests")}
                image = Image(**{**found, **lists})
                if all(self.has_layer(layer) for layer in image.layers) and self._blob(image.id).exists():
                    self._images[image.id] = image

    def _set_aside(self) -> None:
        """What was on its way when we were killed: out of sight at once, deleted by the first `collect`."""
        old = self.root / f"ingest.{uuid.uuid4().hex}"
        with contextlib.suppress(FileNotFoundError):
            self.ingest.rename(old)
        for directory in (self.root, self._blobs):
            for each in directory.glob(".*.????????"):
                each.unlink()  # documents that were being written
        self._old = [each for each in self.root.glob("ingest.*") if each.is_dir()]

    # -- images --------------------------------------------------------------------------------------------------------

    def images(self) -> list[Image]:
        return list(self._images.values())

    def find(self, text: str) -> Image | None:
        """By ID (whole, or its beginning), by tag or by digest."""
        if (image := self._images.get(text) or self._images.get(f"sha256:{text}")) is not None:
            return image
        try:
            wanted = str(names.parse(text))
        except Invalid:
            wanted = ""
        for image in self._images.values():
            if wanted and (wanted in image.tags or wanted in image.digests):
                return image
        bare = text.removeprefix("sha256:")
        if len(bare) < 12 or set(bare) - set("0123456789abcdef"):
            return None
        found = [image for key, image in self._images.items() if key.startswith(f"sha256:{bare}")]
        return found[0] if len(found) == 1 else None

    def config(self, image: Image) -> dict[str, Any]:
        found = json.loads(self._blob(image.id).read_bytes())
        return found if isinstance(found, dict) else {}

    def add(self, image: Image) -> Image:
        """With the names it has already; another image loses those that are this one's now."""
        known = self._images.get(image.id)
        if known is not None:
            image = replace(
                image,
                tags=tuple(dict.fromkeys((*known.tags, *image.tags))),
                digests=tuple(dict.fromkeys((*known.digests, *image.digests))),
                pinned=known.pinned or image.pinned,
            )
        for other in self.images():
            if other.id != image.id and set(other.tags) & set(image.tags):
                kept = tuple(tag for tag in other.tags if tag not in image.tags)
                self._images[other.id] = replace(other, tags=kept)
        self._images[image.id] = image
        self._save()
        return image

    def remove(self, image: Image) -> None:
        if image.id not in self.permanent and self._images.pop(image.id, None) is not None:
            self._save()

    def _save(self) -> None:
        write(self.root / "index.json", json.dumps({"images": [asdict(image) for image in self.images()]}).encode())

    # -- what they are made of -----------------------------------------------------------------------------------------

    def put_blob(self, data: bytes) -> str:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if not self._blob(digest).exists():
            write(self._blob(digest), data)
        return digest

    def _blob(self, digest: str) -> Path:
        return self._blobs / digest.removeprefix("sha256:")

    def fs(self, layer: str) -> Path:
        return self._layers / layer.removeprefix("sha256:") / "fs"

    def has_layer(self, layer: str) -> bool:
        return self.fs(layer).is_dir()

    def info(self, layer: str) -> LayerInfo:
        found = self._info.get(layer)
        if found is None:
            data = json.loads((self.fs(layer).parent / "info.json").read_bytes())
            found = self._info[layer] = LayerInfo(data["size"], data["inodes"])
        return found

    def put_layer(self, layer: str, made: Path, info: LayerInfo) -> None:
        """`made` has `fs` in it, complete."""
        write(made / "info.json", json.dumps(asdict(info)).encode())
        with contextlib.suppress(OSError):  # somebody was faster
            made.rename(self.fs(layer).parent)

    @contextlib.contextmanager
    def holding(self, layers: Iterable[str]) -> Iterator[None]:
        """None of them goes while an image of theirs is made."""
        held = Counter(layers)
        self._held += held
        try:
            yield
        finally:
            self._held -= held

    def usage(self) -> LayerInfo:
        """Of everything."""
        found = [self.info("sha256:" + each.name) for each in self._layers.iterdir() if (each / "info.json").exists()]
        blobs = [each.stat().st_size for each in self._blobs.iterdir()]
        return LayerInfo(sum(each.size for each in found) + sum(blobs), sum(each.inodes for each in found) + len(blobs))

    async def collect(self, used: Iterable[str]) -> None:
        """Delete the layers and documents of no image, except `used` and those held."""
        keep = {*used, *self._held}
        blobs: set[str] = set()
        for image in self.images():
            keep.update(image.layers)
            blobs.add(image.id)
            blobs.update(digest.rpartition("@")[2] for digest in image.digests)
        for each in list(self._layers.iterdir()):
            if f"sha256:{each.name}" not in keep:
                self._info.pop(f"sha256:{each.name}", None)
                each.rename(self.ingest / f"gone-{uuid.uuid4().hex}")
        if not self._held:
            for each in list(self._blobs.iterdir()):
                if f"sha256:{each.name}" not in blobs:
                    each.unlink()
        old, self._old = self._old, []
        await delete(*old, *self.ingest.glob("gone-*"))


def write(path: Path, data: bytes) -> None:
    """All of it or nothing, whenever the process ends."""
    made = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    with made.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    made.rename(path)


async def delete(*paths: Path) -> None:
    """Trees, large ones too, without keeping the loop from its work."""
    if paths:
        process = await asyncio.create_subprocess_exec("rm", "-rf", "--one-file-system", "--", *map(str, paths))
        await process.wait()

"""An image on the shelf as a `docker save` archive, which every runtime can load.

Source: https://github.com/moby/docker-image-spec/blob/main/v1.2.md (combined image JSON and file system changesets)
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

from sampan.builder.shelf import Image, Shelf
from sampan.runtime import names


def config_of(image: Image) -> bytes:
    return json.dumps(image.config).encode()


def identity(image: Image) -> str:
    return f"sha256:{hashlib.sha256(config_of(image)).hexdigest()}"


def write(shelf: Shelf, image: Image, tags: Sequence[str], target: Path) -> None:
    """Raises OSError."""
    config = config_of(image)
    name = f"{identity(image).removeprefix('sha256:')}.json"
    layers = [f"{digest.removeprefix('sha256:')}/layer.tar" for digest in image.layers]
    manifest = json.dumps([{"Config": name, "RepoTags": [_short(tag) for tag in tags], "Layers": layers}]).encode()
    with tarfile.open(target, "w") as tar:
        for each, data in (("manifest.json", manifest), (name, config)):
            info = tarfile.TarInfo(each)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for digest, each in dict(zip(image.layers, layers, strict=True)).items():
            tar.add(shelf.tar(digest), each)


def _short(tag: str) -> str:
    """Docker's way to write it."""
    found = names.parse(tag)
    return str(found).removeprefix("docker.io/library/").removeprefix("docker.io/")

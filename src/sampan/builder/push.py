"""An image from the shelf to a registry: what it lacks of layers, compressed, in pieces; then the manifest.

Anonymously: who needs a login is told so.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md (Push)
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

from sampan.builder.archive import config_of
from sampan.builder.shelf import Image, Shelf
from sampan.builder.steps import Say
from sampan.http.client import HttpClient
from sampan.http.connection import Reply
from sampan.http.errors import HttpError
from sampan.runtime import names
from sampan.runtime.errors import CriError, Unauthorized, Unavailable
from sampan.runtime.hosts import is_local

PIECE, SECONDS = 8 << 20, 120.0
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Pusher:
    def __init__(self, client: HttpClient, target: names.Reference, say: Say) -> None:
        self._client, self._say = client, say
        scheme = "http" if is_local(target.domain) else "https"
        domain = "registry-1.docker.io" if target.domain == "docker.io" else target.domain
        self._base, self._target = f"{scheme}://{domain}/v2/{target.path}", target

    async def push(self, shelf: Shelf, image: Image) -> str:
        """The manifest's digest. Raises CriError, OSError."""
        layers = []
        for digest in image.layers:
            file = shelf.work() / "layer.tar.gz"
            await asyncio.to_thread(_pack, shelf.tar(digest), file)
            layers.append(await self._blob(file, LAYER))
        file = shelf.work() / "config.json"
        file.write_bytes(config_of(image))
        config = await self._blob(file, CONFIG)
        manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}).encode()
        await self._call(
            "PUT", f"{self._base}/manifests/{self._target.tag}", manifest, (("Content-Type", MANIFEST),), 201
        )
        return f"sha256:{hashlib.sha256(manifest).hexdigest()}"

    async def _blob(self, file: Path, kind: str) -> dict[str, Any]:
        digest = f"sha256:{await asyncio.to_thread(_sha, file)}"
        size = await asyncio.to_thread(lambda: file.stat().st_size)
        found: dict[str, Any] = {"mediaType": kind, "size": size, "digest": digest}
        if (await self._call("HEAD", f"{self._base}/blobs/{digest}", b"", (), 200, 404)).code == 200:
            self._say(f"{digest[7:19]}: there already")
            return found
        self._say(f"{digest[7:19]}: pushing {size / 1e6:.1f} MB")
        reply = await self._call("POST", f"{self._base}/blobs/uploads/", b"", (), 202)
        where, at = urljoin(self._base, reply.headers["location"]), 0
        with await asyncio.to_thread(open, file, "rb") as source:
            while data := await asyncio.to_thread(source.read, PIECE):
                headers = (
                    ("Content-Type", "application/octet-stream"),
                    ("Content-Range", f"{at}-{at + len(data) - 1}"),
                )
                reply = await self._call("PATCH", where, data, headers, 202)
                where, at = urljoin(where, reply.headers["location"]), at + len(data)
        sign = "&" if "?" in where else "?"
        await self._call("PUT", f"{where}{sign}digest={quote(digest)}", b"", (), 201)
        return found

    async def _call(
        self, method: str, url: str, body: bytes, headers: tuple[tuple[str, str], ...], *well: int
    ) -> Reply:
        try:
            reply = await self._client.request(method, url, body=body, headers=headers, timeout=SECONDS)
        except HttpError as error:
            raise Unavailable(f"cannot push {self._target}: {error}") from None
        if reply.code in well:
            return reply
        if reply.code in (401, 403):
            raise Unauthorized(f"{self._target.domain} wants a login")
        raise CriError(
            f"cannot push {self._target}: {method} {url}: {reply.code}: {reply.body[:300].decode(errors='replace')}"
        )


def _pack(tar: Path, target: Path) -> None:
    """The same each time."""
    with open(tar, "rb") as source, open(target, "wb") as out, gzip.GzipFile("", "wb", 6, out, mtime=0) as packed:
        shutil.copyfileobj(source, packed, 1 << 20)


def _sha(file: Path) -> str:
    with open(file, "rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()

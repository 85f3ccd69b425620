"""CRI's ImageService, and the import that CRI lacks.

Source: containerd internal/cri/server/images (rules, messages)
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sampan.cri import pb
from sampan.runtime import names
from sampan.runtime.errors import Invalid
from sampan.runtime.manifests import settings
from sampan.runtime.pull import Puller
from sampan.runtime.registry import Credentials
from sampan.runtime.store import Image, Store


class Images:
    """`used`: the layers that containers stand on, which stay when their image goes. `clock`: seconds since 1970."""

    def __init__(
        self, store: Store, puller: Puller, *, used: Callable[[], Iterable[str]], clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._puller = puller
        self._used = used
        self._clock = clock

    async def ListImages(self, request: Any) -> Any:
        return pb.ListImagesResponse(images=self._listed(request.filter))

    async def StreamImages(self, request: Any) -> AsyncIterator[Any]:
        for image in self._listed(request.filter):
            yield pb.StreamImagesResponse(images=[image])

    def _listed(self, wanted: Any) -> list[Any]:
        if not wanted.image.image:
            return [self._shown(image) for image in self._store.images()]
        found = self._store.find(wanted.image.image)
        return [self._shown(found)] if found else []

    async def ImageStatus(self, request: Any) -> Any:
        found = self._store.find(request.image.image)
        if found is None:
            return pb.ImageStatusResponse()
        info = {"info": json.dumps({"imageSpec": self._store.config(found)})} if request.verbose else {}
        return pb.ImageStatusResponse(image=self._shown(found), info=info)

    async def PullImage(self, request: Any) -> Any:
        found = self._store.find(request.image.image)
        if found is not None and found.id in self._store.permanent:
            return pb.PullImageResponse(image_ref=found.id)  # it is in no registry
        image = await self._puller.pull(request.image.image, credentials(request.image.image, request.auth))
        return pb.PullImageResponse(image_ref=image.id)

    async def RemoveImage(self, request: Any) -> Any:
        found = self._store.find(request.image.image)
        if found is not None:
            self._store.remove(found)
            await self._store.collect(self._used())
        return pb.RemoveImageResponse()

    async def ImageFsInfo(self, _: Any) -> Any:
        used = self._store.usage()
        usage = pb.FilesystemUsage(
            timestamp=int(self._clock() * 1e9),
            fs_id=pb.FilesystemIdentifier(mountpoint=str(self._store.root)),
            used_bytes=pb.UInt64Value(value=used.size),
            inodes_used=pb.UInt64Value(value=used.inodes),
        )
        return pb.ImageFsInfoResponse(image_filesystems=[usage])

    async def Import(self, request: Any) -> Any:
        images = await self._puller.load(Path(request.path), list(request.names), request.pinned)
        return pb.ImportResponse(images=[self._shown(image) for image in images])

    def _shown(self, image: Image) -> Any:
        name = settings(self._store.config(image)).user.partition(":")[0]
        shown = pb.Image(
            id=image.id, repo_tags=image.tags, repo_digests=image.digests, size=image.size, pinned=image.pinned
        )
        if name.isdigit():
            shown.uid.value = int(name)
        else:
            shown.username = name
        return shown


def credentials(image: str, auth: Any) -> Credentials:
    """What the kubelet passes. Raises Invalid."""
    server = auth.server_address
    if server:
        host = urlsplit(server if "://" in server else f"//{server}").netloc
        if host not in (names.parse(image).domain, "index.docker.io", "registry-1.docker.io"):
            return Credentials()  # meant for another registry
    username, password = auth.username, auth.password
    if auth.auth and not username:
        try:
            # the field is padded with NULs by some
            text = base64.b64decode(auth.auth, validate=True).decode().rstrip("\0")
        except (binascii.Error, UnicodeDecodeError):
            raise Invalid("invalid auth: not base64") from None
        username, colon, password = text.partition(":")
        if not colon:
            raise Invalid(f"invalid decoded auth: {'*' * 8}")
    return Credentials(username, password, auth.identity_token, auth.registry_token)

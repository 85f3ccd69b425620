"""What a registry keeps, on disk: blobs by digest, and which repository has which of them.

    blobs/HEX    repositories/NAME/_layers/HEX, _manifests/HEX (its type), _tags/TAG (its digest)    uploads/

A blob comes in by a rename, whole and checked. One that no repository has any more is deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from sampan.registry.errors import Refused


def hex_of(digest: str) -> str:
    return digest.removeprefix("sha256:")


class Upload:
    """A blob that is coming, in one piece or several. `write` takes a piece; `keep` makes it part of the blob, `abort` drops it."""

    def __init__(self, directory: Path, repository: str) -> None:
        self.id = str(uuid.uuid4())
        self.repository = repository
        self.file = directory / self.id
        self.size = 0
        self._kept = hashlib.sha256()
        self._out = open(self.file, "wb", buffering=0)  # noqa: SIM115 - closed by `close`
        self._begin()

    def _begin(self) -> None:
        self._coming, self._length, self.error = self._kept.copy(), 0, ""

    def write(self, data: bytes) -> None:
        if self.error:
            return
        try:
            if self._out.write(data) != len(data):
                self.error = "no space left on device"
        except OSError as error:
            self.error = error.strerror or str(error)
        self._coming.update(data)
        self._length += len(data)

    def abort(self) -> None:
        if not self._out.closed:
            self._out.seek(self.size)
            self._out.truncate()
        self._begin()

    def keep(self) -> None:
        """Raises Refused."""
        if self.error:
            error = self.error
            self.abort()
            raise Refused("UNKNOWN", error)
        self.size += self._length
        self._kept = self._coming
        self._begin()

    @property
    def digest(self) -> str:
        return f"sha256:{self._kept.hexdigest()}"

    def close(self) -> None:
        self._out.close()
        self.file.unlink(missing_ok=True)


class Depot:
    def __init__(self, root: Path) -> None:
        """Raises OSError. What was being uploaded when it ended is dropped: its clients begin again."""
        self.root = root
        shutil.rmtree(root / "uploads", ignore_errors=True)
        for name in ("blobs", "repositories", "uploads"):
            (root / name).mkdir(parents=True, exist_ok=True)
        self.uploads: dict[str, Upload] = {}

    def _of(self, repository: str) -> Path:
        return self.root / "repositories" / repository

    def blob(self, digest: str) -> Path:
        return self.root / "blobs" / hex_of(digest)

    # -- uploads -------------------------------------------------------------------------------------------------------

    def begin(self, repository: str) -> Upload:
        upload = Upload(self.root / "uploads", repository)
        self.uploads[upload.id] = upload
        return upload

    def finish(self, upload: Upload, digest: str) -> None:
        """Raises Refused."""
        if upload.digest != digest:
            self.drop(upload)
            raise Refused("DIGEST_INVALID", f"digest does not match: {digest} != {upload.digest}")
        os.replace(upload.file, self.blob(digest))
        self.link(upload.repository, digest)
        self.drop(upload)

    def drop(self, upload: Upload) -> None:
        self.uploads.pop(upload.id, None)
        upload.close()

    # -- blobs ---------------------------------------------------------------------------------------------------------

    def link(self, repository: str, digest: str) -> None:
        _write(self._of(repository) / "_layers" / hex_of(digest), "")

    def has(self, repository: str, digest: str) -> bool:
        return (self._of(repository) / "_layers" / hex_of(digest)).exists() and self.blob(digest).exists()

    def unlink(self, repository: str, digest: str) -> None:
        """Raises Refused."""
        try:
            (self._of(repository) / "_layers" / hex_of(digest)).unlink()
        except FileNotFoundError:
            raise Refused("BLOB_UNKNOWN", digest) from None
        self._sweep(digest)

    def _sweep(self, digest: str) -> None:
        wanted = hex_of(digest)
        for repository in self.repositories():
            if any((self._of(repository) / kind / wanted).exists() for kind in ("_layers", "_manifests")):
                return
        self.blob(digest).unlink(missing_ok=True)

    # -- manifests -----------------------------------------------------------------------------------------------------

    def put_manifest(self, repository: str, data: bytes, media_type: str, tag: str = "") -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        upload = Upload(self.root / "uploads", repository)
        upload.write(data)
        try:
            upload.keep()
            os.replace(upload.file, self.blob(digest))
        finally:
            upload.close()
        _write(self._of(repository) / "_manifests" / hex_of(digest), media_type)
        if tag:
            _write(self._of(repository) / "_tags" / tag, digest)
        return digest

    def manifest(self, repository: str, reference: str) -> tuple[str, str, bytes]:
        """Digest, type and text. Raises Refused."""
        try:
            digest = reference
            if ":" not in reference:
                digest = (self._of(repository) / "_tags" / reference).read_text()
            kind = (self._of(repository) / "_manifests" / hex_of(digest)).read_text()
            return digest, kind, self.blob(digest).read_bytes()
        except FileNotFoundError:
            detail = {"Tag": reference} if ":" not in reference else {"Name": repository, "Revision": reference}
            raise Refused("MANIFEST_UNKNOWN", detail) from None

    def has_manifest(self, repository: str, digest: str) -> bool:
        return (self._of(repository) / "_manifests" / hex_of(digest)).exists()

    def delete_manifest(self, repository: str, reference: str) -> None:
        """With all its tags; a tag alone, where that is named. Raises Refused."""
        if ":" not in reference:
            self.manifest(repository, reference)
            (self._of(repository) / "_tags" / reference).unlink()
            return
        try:
            (self._of(repository) / "_manifests" / hex_of(reference)).unlink()
        except FileNotFoundError:
            raise Refused("MANIFEST_UNKNOWN", {"Name": repository, "Revision": reference}) from None
        for tag in self.tags(repository):
            if (self._of(repository) / "_tags" / tag).read_text() == reference:
                (self._of(repository) / "_tags" / tag).unlink()
        self._sweep(reference)

    def tags(self, repository: str) -> list[str]:
        """Raises Refused."""
        if not (self._of(repository) / "_manifests").is_dir():
            raise Refused("NAME_UNKNOWN", {"name": repository})
        with contextlib.suppress(FileNotFoundError):
            return sorted(os.listdir(self._of(repository) / "_tags"))
        return []

    def repositories(self) -> Iterator[str]:
        """In order."""
        top = self.root / "repositories"
        found = {
            Path(path).relative_to(top).as_posix()
            for path, names, _ in os.walk(top)
            if "_layers" in names or "_manifests" in names
        }
        yield from sorted(found)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.parent / f".{uuid.uuid4().hex}"
    scratch.write_text(text)
    os.replace(scratch, path)

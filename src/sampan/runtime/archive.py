"""What is in a `docker save` or OCI archive, taken out by a process of its own: `python -m sampan.runtime.archive FILE DIR ...`.

Members are found by name inside the archive alone and written under numbers of our own, so that no name in it can lead anywhere.
Prints the images: their config, layers and manifest as files in DIR, and their names.

Source: https://github.com/opencontainers/image-spec/blob/main/image-layout.md, https://github.com/moby/docker-image-spec
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import sys
import tarfile
from typing import IO, Any

from sampan.runtime import manifests
from sampan.runtime.errors import CriError, Invalid
from sampan.runtime.unpack import confine

PIECE = 1 << 20
_LINKS = 8


class Archive:
    def __init__(self, file: tarfile.TarFile, target: str, limit: int) -> None:
        self._file = file
        self._target = target
        self._left = limit
        self._members = {posixpath.normpath(member.name): member for member in file}
        self._taken: dict[str, tuple[str, str]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def _open(self, name: str) -> IO[bytes]:
        for _ in range(_LINKS):
            name = posixpath.normpath(name)
            member = self._members.get(name)
            if member is None:
                raise Invalid(f"{name} is missing")
            if member.issym():  # old versions of Docker share layers so
                name = posixpath.join(posixpath.dirname(name), member.linkname)
            elif member.islnk():
                name = member.linkname
            else:
                found = self._file.extractfile(member)
                if found is None:
                    raise Invalid(f"{name} is not a file")
                return found
        raise Invalid(f"too many links at {name}")

    def document(self, name: str) -> bytes:
        data = self._open(name).read(manifests.MAX_DOCUMENT + 1)
        if len(data) > manifests.MAX_DOCUMENT:
            raise Invalid(f"{name} is larger than {manifests.MAX_DOCUMENT} bytes")
        return data

    def take(self, name: str, digest: str = "") -> str:
        """The file it is in now; checked, if it has a digest."""
        if name not in self._taken:
            file, made = self._open(name), hashlib.sha256()
            number = str(len(self._taken))
            with open(os.path.join(self._target, number), "xb") as out:
                while data := file.read(PIECE):
                    self._left -= len(data)
                    if self._left < 0:
                        raise Invalid("archive is larger than allowed")
                    made.update(data)
                    out.write(data)
            self._taken[name] = number, "sha256:" + made.hexdigest()
        number, found = self._taken[name]
        if digest and found != digest:
            raise Invalid(f"unexpected commit digest {found}, expected {digest}: failed precondition")
        return number


def blob(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def oci(archive: Archive) -> list[dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    top = manifests.document(archive.document("index.json"))
    entries = top.get("manifests")
    for entry in entries if isinstance(entries, list) else ():
        wanted = manifests.descriptor(entry)
        found = manifests.document(archive.document(blob(wanted.digest)))
        if manifests.media_type(found, wanted.media_type) in manifests.INDEXES:
            wanted = manifests.choose(found, wanted.digest)
            found = manifests.document(archive.document(blob(wanted.digest)))
        if manifests.media_type(found, wanted.media_type) not in manifests.MANIFESTS:
            continue
        manifest = manifests.manifest(found)
        image = out.setdefault(
            wanted.digest,
            {
                "name": wanted.digest,
                "digest": wanted.digest,
                "manifest": archive.take(blob(wanted.digest), wanted.digest),
                "config": archive.take(blob(manifest.config.digest), manifest.config.digest),
                "layers": [archive.take(blob(layer.digest), layer.digest) for layer in manifest.layers],
                "tags": [],
            },
        )
        annotations = entry.get("annotations")
        name = _name(annotations if isinstance(annotations, dict) else {})
        if name:
            image["tags"].append(name)
    return list(out.values())


def _name(annotations: dict[str, Any]) -> str:
    """containerd and Docker say it whole; of the standard's a bare tag is no name."""
    whole = annotations.get("io.containerd.image.name")
    name = annotations.get("org.opencontainers.image.ref.name")
    if isinstance(whole, str) and whole:
        return whole
    return name if isinstance(name, str) and (":" in name or "/" in name) else ""


def docker(archive: Archive) -> list[dict[str, Any]]:
    try:
        found = json.loads(archive.document("manifest.json"))
        return [
            {
                "name": str(image["Config"]),
                "digest": "",
                "manifest": "",
                "config": archive.take(str(image["Config"])),
                "layers": [archive.take(str(layer)) for layer in image["Layers"]],
                "tags": [str(tag) for tag in image.get("RepoTags") or ()],
            }
            for image in found
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Invalid(f"manifest.json is not Docker's: {error!r}") from None


def read(path: str, target: str, limit: int) -> list[dict[str, Any]]:
    """Raises CriError."""
    try:
        with tarfile.open(path, mode="r:*") as file:
            archive = Archive(file, target, limit)
            if "manifest.json" in archive:  # Docker's, which names its images whole, even where both are there
                return docker(archive)
            if "index.json" in archive:
                return oci(archive)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise Invalid(str(error)) from None
    raise Invalid("neither a Docker nor an OCI archive: it has no manifest.json and no index.json")


def main(arguments: list[str]) -> int:
    path, target, limit = arguments
    confine()
    try:
        found: dict[str, Any] = {"images": read(path, target, int(limit))}
    except CriError as error:
        found = {"error": str(error)}
    except MemoryError:
        found = {"error": "archive needs more memory than allowed"}
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

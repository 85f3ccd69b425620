"""The registry's HTTP interface: `/v2/` as every client of images speaks it.

Blobs go to and from the disk in pieces, and no larger than one piece are in memory. Manifests must name what is there.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md; distribution registry/handlers
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from sampan.http.server.messages import Request, Response, Sink, Writer
from sampan.http.server.relay import until_closed
from sampan.registry.depot import Depot, Upload
from sampan.registry.errors import Refused

PIECE = 1 << 20
MOST_MANIFEST = 4 << 20
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TARGET = re.compile(r"/v2/(.+)/(blobs/uploads|blobs|manifests|tags)(?:/([^/]*))?")
_VERSION = ("Docker-Distribution-Api-Version", "registry/2.0")
_JSON = ("Content-Type", "application/json; charset=utf-8")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
Query = dict[str, list[str]]


class Registry:
    """`app` and `sinks` are what `sampan.http.server` asks for."""

    def __init__(self, depot: Depot) -> None:
        self.depot = depot

    def app(self, request: Request) -> Response:
        try:
            reply = self._answer(request)
        except Refused as refused:
            reply = refused.response()
        reply.headers = (_VERSION, *reply.headers)
        return reply

    def sinks(self, method: str, target: str, headers: dict[str, str]) -> Sink | None:
        """Where the body of a blob goes."""
        path, _, query = target.partition("?")
        found = _TARGET.fullmatch(unquote(path))
        if found is None or found[2] != "blobs/uploads" or method not in ("POST", "PATCH", "PUT"):
            return None
        if method == "POST":
            return self.depot.begin(found[1]) if "digest" in parse_qs(query) and _NAME.fullmatch(found[1]) else None
        return self.depot.uploads.get(found[3] or "")

    def _answer(self, request: Request) -> Response:
        path, query = unquote(request.raw_path), parse_qs(request.query, keep_blank_values=True)
        if path in ("/v2", "/v2/"):
            return Response(200, (_JSON,), b"{}")
        if path == "/v2/_catalog":
            return self._listed("repositories", {}, list(self.depot.repositories()), path, query)
        found = _TARGET.fullmatch(path)
        if found is None:
            return Response(404, (("Content-Type", "text/plain; charset=utf-8"),), b"404 page not found\n")
        name, kind, which = found[1], found[2], found[3] or ""
        if not _NAME.fullmatch(name) or len(name) > 255:
            raise Refused("NAME_INVALID", name)
        verb = "GET" if request.method == "HEAD" else request.method
        if kind == "tags" and which == "list" and verb == "GET":
            return self._listed("tags", {"name": name}, self.depot.tags(name), path, query)
        known: dict[tuple[str, str], Callable[[Request, str, str, Query], Response]] = {
            ("blobs", "GET"): self._blob, ("blobs", "DELETE"): self._delete_blob,
            ("manifests", "GET"): self._manifest, ("manifests", "PUT"): self._put_manifest,
            ("manifests", "DELETE"): self._delete_manifest,
            ("blobs/uploads", "POST"): self._begin, ("blobs/uploads", "PATCH"): self._piece,
            ("blobs/uploads", "PUT"): self._finish, ("blobs/uploads", "GET"): self._progress,
            ("blobs/uploads", "DELETE"): self._cancel,
        }  # fmt: skip
        answer = known.get((kind, verb))
        if answer is None:
            raise Refused("UNSUPPORTED")
        return answer(request, name, which, query)

    def _listed(self, key: str, more: dict[str, str], found: Sequence[str], path: str, query: Query) -> Response:
        last, most = query.get("last", [""])[0], query.get("n", [""])[0]
        left = [each for each in found if each > last]
        headers = [_JSON]
        if most:
            if not most.isdigit():
                raise Refused("PAGINATION_NUMBER_INVALID", {"n": most})
            if 0 < int(most) < len(left):
                left = left[: int(most)]
                headers.append(("Link", f'<{path}?last={quote(left[-1])}&n={most}>; rel="next"'))
        return Response(200, headers, json.dumps({**more, key: left}).encode() + b"\n")

    # -- blobs ---------------------------------------------------------------------------------------------------------

    def _blob(self, request: Request, name: str, which: str, query: Query) -> Response:
        digest = _digest(which)
        if not self.depot.has(name, digest):
            raise Refused("BLOB_UNKNOWN", digest)
        file = self.depot.blob(digest)
        size = file.stat().st_size
        headers = [
            ("Content-Type", "application/octet-stream"), ("Docker-Content-Digest", digest), ("Etag", f'"{digest}"'),
            ("Accept-Ranges", "bytes"), ("Cache-Control", "max-age=31536000"),
        ]  # fmt: skip
        start, end, code = 0, size, 200
        if wanted := _RANGE.fullmatch(request.headers.get("range", "")):
            start, end, code = int(wanted[1]), min(size, int(wanted[2] or size) + 1), 206
            if start >= end:
                return Response(416, (("Content-Range", f"bytes */{size}"),))
            headers.append(("Content-Range", f"bytes {start}-{end - 1}/{size}"))
        headers.append(("Content-Length", str(end - start)))
        if request.method == "HEAD":
            return Response(code, headers)
        return Response(code, headers, stream=lambda writer: until_closed(writer, _send(writer, file, start, end)))

    def _delete_blob(self, request: Request, name: str, which: str, query: Query) -> Response:
        self.depot.unlink(name, _digest(which))
        return Response(202)

    def _begin(self, request: Request, name: str, which: str, query: Query) -> Response:
        if "digest" in query:
            upload: Upload = request.scratch["sink"]
            upload.keep()
            return self._done(upload, query["digest"][0])
        digest, source = query.get("mount", [""])[0], query.get("from", [""])[0]
        if digest and source and self.depot.has(source, _digest(digest)):
            self.depot.link(name, digest)
            return self._created(name, digest)
        return self._state(202, self.depot.begin(name))

    def _piece(self, request: Request, name: str, which: str, query: Query) -> Response:
        upload = self._upload(name, which)
        given = re.fullmatch(r"(\d+)-(\d+)", request.headers.get("content-range", ""))
        if given and int(given[1]) != upload.size:
            upload.abort()
            reply = Refused("RANGE_INVALID").response()
            reply.headers = (*reply.headers, *self._state(416, upload).headers)
            return reply
        upload.keep()
        return self._state(202, upload)

    def _finish(self, request: Request, name: str, which: str, query: Query) -> Response:
        upload = self._upload(name, which)
        if "digest" not in query:
            upload.abort()
            raise Refused("DIGEST_INVALID", "digest missing")
        upload.keep()
        return self._done(upload, query["digest"][0])

    def _done(self, upload: Upload, digest: str) -> Response:
        self.depot.finish(upload, _digest(digest))
        return self._created(upload.repository, digest)

    def _created(self, name: str, digest: str) -> Response:
        return Response(201, (("Location", f"/v2/{name}/blobs/{digest}"), ("Docker-Content-Digest", digest)))

    def _progress(self, request: Request, name: str, which: str, query: Query) -> Response:
        return self._state(204, self._upload(name, which))

    def _cancel(self, request: Request, name: str, which: str, query: Query) -> Response:
        self.depot.drop(self._upload(name, which))
        return Response(204)

    def _upload(self, name: str, which: str) -> Upload:
        upload = self.depot.uploads.get(which)
        if upload is None or upload.repository != name:
            raise Refused("BLOB_UPLOAD_UNKNOWN")
        return upload

    def _state(self, code: int, upload: Upload) -> Response:
        where = f"/v2/{upload.repository}/blobs/uploads/{upload.id}"
        return Response(
            code,
            (("Location", where), ("Range", f"0-{max(0, upload.size - 1)}"), ("Docker-Upload-Uuid", upload.id)),
        )

    # -- manifests -----------------------------------------------------------------------------------------------------

    def _manifest(self, request: Request, name: str, which: str, query: Query) -> Response:
        digest, kind, data = self.depot.manifest(name, _reference(which))
        headers = (("Content-Type", kind), ("Docker-Content-Digest", digest), ("Etag", f'"{digest}"'))
        return Response(200, headers, data)

    def _put_manifest(self, request: Request, name: str, which: str, query: Query) -> Response:
        reference = _reference(which)
        if len(request.body) > MOST_MANIFEST:
            raise Refused("MANIFEST_INVALID", "too large")
        try:
            found = json.loads(request.body)
        except (ValueError, RecursionError):
            raise Refused("MANIFEST_INVALID", "not JSON") from None
        if not isinstance(found, dict) or found.get("schemaVersion") != 2:
            raise Refused("MANIFEST_INVALID", "not a manifest of schema version 2")
        said = request.headers.get("content-type", "").partition(";")[0].strip()
        own = str(found.get("mediaType") or "")
        if own and said and own != said:
            raise Refused("MANIFEST_INVALID", f"if present, mediaType in manifest should be '{said}' not '{own}'")
        self._complete(name, found)
        whole = ":" in reference
        if whole and _sha(request.body) != reference:
            raise Refused("DIGEST_INVALID")
        kind = own or said or "application/vnd.oci.image.manifest.v1+json"
        digest = self.depot.put_manifest(name, request.body, kind, "" if whole else reference)
        return Response(201, (("Location", f"/v2/{name}/manifests/{digest}"), ("Docker-Content-Digest", digest)))

    def _complete(self, name: str, manifest: dict[str, Any]) -> None:
        """Raises Refused for what it names and the repository has not."""
        listed = [manifest.get("config"), *(_items(manifest, "layers"))] if "manifests" not in manifest else []
        for each in listed:
            digest = _digest_of(each)
            if not self.depot.has(name, digest) and not (isinstance(each, dict) and each.get("urls")):
                raise Refused("MANIFEST_BLOB_UNKNOWN", {"digest": digest})
        for each in _items(manifest, "manifests"):
            if not self.depot.has_manifest(name, _digest_of(each)):
                raise Refused("MANIFEST_UNKNOWN", {"digest": _digest_of(each)})

    def _delete_manifest(self, request: Request, name: str, which: str, query: Query) -> Response:
        self.depot.delete_manifest(name, _reference(which))
        return Response(202)


def _items(manifest: dict[str, Any], key: str) -> list[Any]:
    found = manifest.get(key, [])
    if not isinstance(found, list):
        raise Refused("MANIFEST_INVALID", f"{key} is not a list")
    return found


def _digest_of(descriptor: object) -> str:
    found = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(found, str) or not _DIGEST.fullmatch(found):
        raise Refused("MANIFEST_INVALID", "a descriptor has no digest")
    return found


def _digest(text: str) -> str:
    if not _DIGEST.fullmatch(text):
        raise Refused("DIGEST_INVALID", text)
    return text


def _reference(text: str) -> str:
    if ":" in text:
        return _digest(text)
    if not _TAG.fullmatch(text):
        raise Refused("TAG_INVALID", text)
    return text


def _sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


async def _send(writer: Writer, file: Path, start: int, end: int) -> None:
    with await asyncio.to_thread(open, file, "rb") as source:
        source.seek(start)
        while start < end and (data := await asyncio.to_thread(source.read, min(PIECE, end - start))):
            start += len(data)
            writer.write(data)
            await writer.drain()

"""`/openapi/v2` and `/openapi/v3`: which document, in which form, with which caching.

Source: k8s.io/kube-openapi/pkg/handler/handler.go, pkg/handler3/handler.go
"""

from __future__ import annotations

import email.utils
import hashlib
import time
from collections.abc import Mapping

import orjson

from sampan.api.registry import Registry

Document = tuple[int, list[tuple[str, str]], bytes]
JSON = "application/json"
#: with a dot: an `@` in a reply's media type makes kubectl 1.27 and older give up
PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
YEAR = 365 * 24 * 3600


class OpenApi:
    """The documents as bytes, made when first asked for and again when the registry changes."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._generation = -1
        self._cache: dict[str, tuple[bytes, str]] = {}
        #: of the JSON document: what stands before the paths, the paths, the definitions
        self._built_in_json: tuple[bytes, bytes, bytes] | None = None
        self._built_in_protobuf: bytes | None = None

    def serve(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Document | None:
        if self._generation != self.registry.generation:
            self._generation = self.registry.generation
            self._cache = {key: found for key, found in self._cache.items() if self._still(key, found)}
        accept = headers.get("accept", "")
        if path == "/openapi/v2":
            return self._v2(accept, headers)
        if path == "/openapi/v3":
            return 200, [("Cache-Control", "no-cache, private"), ("Content-Type", JSON)], self._index()
        if path.startswith("/openapi/v3/"):
            return self._v3(path.removeprefix("/openapi/v3/"), query, headers)
        return None

    def _still(self, key: str, found: tuple[bytes, str]) -> bool:
        """A v3 document lives until its group-version changes."""
        return key.startswith(("api/", "apis/")) and self._paths().get(key) is not None and found[1] == self._etag(key)

    def _etag(self, path: str) -> str:
        return self._hash(*self._paths()[path])

    # -- v3 ------------------------------------------------------------------------------------------------------------

    def _paths(self) -> dict[str, tuple[str, str]]:
        out = {}
        for group, versions in self.registry.groups():
            for version in versions:
                out[f"apis/{group}/{version}" if group else f"api/{version}"] = (group, version)
        return out

    def _found(self, path: str) -> tuple[bytes, str] | None:
        if path not in self._cache:
            gv = self._paths().get(path)
            if gv is None:
                return None
            from sampan.apiserver.openapi import v3

            self._cache[path] = (v3.document(self.registry, *gv), self._hash(*gv))
        return self._cache[path]

    def _index(self) -> bytes:
        if "index" not in self._cache:
            paths = {}
            for path, (group, version) in self._paths().items():
                # a hash of what the document is made from, so that the index needs none of the documents
                digest = self._hash(group, version)
                paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
            self._cache["index"] = _hashed(orjson.dumps({"paths": paths}))
        return self._cache["index"][0]

    def _hash(self, group: str, version: str) -> str:
        names = self.registry.names(group, version)
        defined = [kind.digest for item in names if (kind := self.registry.get(group, version, item.resource))]
        seed = f"{group}/{version} {names!r} {defined!r}"
        return hashlib.sha512(seed.encode()).hexdigest().upper()

    def _v3(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Document | None:
        accept = headers.get("accept", "")
        if accept and not any(word in accept for word in (JSON, "*/*", "application/*")):
            return 406, [("Content-Type", "text/plain")], b"406 not acceptable\n"
        found = self._found(path)
        if found is None:
            return None
        body = found[0]
        etag = self._hash(*self._paths()[path])
        asked = query.get("hash", "")
        if asked and asked != etag:
            return 301, [("Location", f"/openapi/v3/{path}?hash={etag}")], b""
        out = [("Content-Type", JSON), ("ETag", f'"{etag}"'), ("Vary", "Accept")]
        if asked:
            expires = email.utils.formatdate(time.time() + YEAR, usegmt=True)
            out += [("Cache-Control", "public, immutable"), ("Expires", expires)]
        else:
            out.append(("Cache-Control", "no-cache, private"))
        if headers.get("if-none-match", "").strip('"') == etag:
            return 304, out, b""
        return 200, out, body

    # -- v2 ------------------------------------------------------------------------------------------------------------

    def _v2(self, accept: str, headers: Mapping[str, str]) -> Document:
        protobuf = "proto-openapi.spec.v2" in accept and not accept.strip().startswith(JSON)
        key = "v2pb" if protobuf else "v2"
        if key not in self._cache:
            self._cache[key] = _hashed(self._v2_protobuf() if protobuf else self._v2_json())
        body, etag = self._cache[key]
        out = [
            ("Content-Type", PROTOBUF if protobuf else JSON),
            ("ETag", f'"{etag}"'),
            ("Vary", "Accept"),
            ("Cache-Control", "no-cache, private"),
        ]
        if headers.get("if-none-match", "").strip('"') == etag:
            return 304, out, b""
        return 200, out, body

    def _v2_protobuf(self) -> bytes:
        from sampan.apiserver.openapi import gnostic, v2

        if self._built_in_protobuf is None:
            self._built_in_protobuf = gnostic.document(v2.document(self.registry))
        return self._built_in_protobuf + gnostic.more(*v2.custom(self.registry))

    def _v2_json(self) -> bytes:
        from sampan.apiserver.openapi import v2

        if self._built_in_json is None:
            document = v2.document(self.registry)
            found = orjson.dumps(document.pop("paths"))[1:-1], orjson.dumps(document.pop("definitions"))[1:-1]
            self._built_in_json = (orjson.dumps(document)[:-1], *found)
        head, paths, definitions = self._built_in_json
        more = [b"," + orjson.dumps(part)[1:-1] if part else b"" for part in v2.custom(self.registry)]
        return b"".join((head, b',"paths":{', paths, more[0], b'},"definitions":{', definitions, more[1], b"}}"))


def _hashed(body: bytes) -> tuple[bytes, str]:
    return body, hashlib.sha512(body).hexdigest().upper()

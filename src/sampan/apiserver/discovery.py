"""Discovery: which groups, versions and resources there are, in both of its forms.

Aggregated (one document for all) for clients that ask for it, the older one document per group-version for the rest, in
protobuf too. Built when first asked for, and again when the registry changes.

Source: k8s.io/apiserver/pkg/endpoints/discovery; staging api/apidiscovery/v2
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from sampan.api.errors import StatusError
from sampan.api.kind import Names
from sampan.api.registry import Registry
from sampan.apiserver.negotiation import JSON, PROTOBUF, negotiate

Json = dict[str, Any]
Document = tuple[int, list[tuple[str, str]], bytes]
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class Discovery:
    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._generation = -1
        self._cache: dict[tuple[str, str], tuple[bytes, str]] = {}

    def serve(self, path: str, headers: Mapping[str, str]) -> Document | None:
        """The document at `path` (without a slash at its end), or None."""
        if self._generation != self.registry.generation:
            self._generation, self._cache = self.registry.generation, {}
        accept = headers.get("accept", "")
        whole = path in ("/api", "/apis") and _wants_whole(accept)
        media = AGGREGATED if whole else _media(accept) if PROTOBUF in accept else JSON
        found = self._cache.get((path, media))
        if found is None:
            document = self._aggregated(path) if whole else self._legacy(path)
            if document is None:
                return None
            body = _protobuf(document) if media == PROTOBUF else orjson.dumps(document)
            found = self._cache[path, media] = (body, hashlib.sha512(body).hexdigest().upper())
        body, etag = found
        out = [
            ("Cache-Control", "public" if whole else "no-cache, private"),
            ("Content-Type", media),
            ("Vary", "Accept"),
        ]
        if whole:
            out.append(("ETag", f'"{etag}"'))
            if headers.get("if-none-match", "").strip('"') == etag:
                return 304, out, b""
        return 200, out, body

    # -- aggregated ----------------------------------------------------------------------------------------------------

    def _aggregated(self, path: str) -> Json:
        items = []
        for group, versions in self.registry.groups():
            if (group == "") != (path == "/api"):
                continue
            meta: Json = {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None}
            listed = [
                {"version": version, "resources": self._resources(group, version), "freshness": "Current"}
                for version in versions
            ]
            items.append({"metadata": meta, "versions": listed})
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": items,
        }

    def _resources(self, group: str, version: str) -> list[Json]:
        return [self._resource(names) for names in self.registry.names(group, version)]

    @staticmethod
    def _resource(names: Names) -> Json:
        def kind(group: str, version: str, kind: str) -> Json:
            return {"group": group, "version": version, "kind": kind}

        out: Json = {
            "resource": names.resource,
            "responseKind": kind(names.group, names.version, names.kind),
            "scope": "Namespaced" if names.namespaced else "Cluster",
            "singularResource": names.singular,
            "verbs": list(names.verbs),
        }
        if names.short:
            out["shortNames"] = list(names.short)
        if names.categories:
            out["categories"] = list(names.categories)
        if names.subresources:
            out["subresources"] = [
                {
                    "subresource": sub.name,
                    "responseKind": kind(sub.group, sub.version, sub.kind),
                    "verbs": list(sub.verbs),
                }
                for sub in names.subresources
            ]
        return out

    # -- one document per group-version ----------------------------------------------------------------------------------

    def _legacy(self, path: str) -> Json | None:
        if path == "/api":
            address = [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": address}
        if path == "/apis":
            groups = [self._group(group, versions) for group, versions in self.registry.groups() if group]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        _, first, *rest = path.split("/")
        if first == "api" and rest == ["v1"]:
            return self._list("", "v1")
        if first == "apis" and len(rest) == 1:
            versions = dict(self.registry.groups()).get(rest[0])
            return {"kind": "APIGroup", "apiVersion": "v1", **self._group(rest[0], versions)} if versions else None
        if first == "apis" and len(rest) == 2 and self.registry.names(*rest):
            return self._list(*rest)
        return None

    @staticmethod
    def _group(group: str, versions: list[str]) -> Json:
        listed = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
        return {"name": group, "versions": listed, "preferredVersion": listed[0]}

    def _list(self, group: str, version: str) -> Json:
        shown = f"{group}/{version}" if group else version
        resources: list[Json] = []
        for names in self.registry.names(group, version):
            item: Json = {
                "name": names.resource,
                "singularName": names.singular,
                "namespaced": names.namespaced,
                "kind": names.kind,
                "verbs": list(names.verbs),
            }
            if names.short:
                item["shortNames"] = list(names.short)
            if names.categories:
                item["categories"] = list(names.categories)
            if "list" in names.verbs:
                item["storageVersionHash"] = storage_hash(group, version, names.kind)
            resources.append(item)
            for sub in names.subresources:
                other: Json = {
                    "name": f"{names.resource}/{sub.name}",
                    "singularName": "",
                    "namespaced": names.namespaced,
                }
                if (sub.group, sub.version) != (group, version):
                    other |= {"group": sub.group, "version": sub.version}
                resources.append({**other, "kind": sub.kind, "verbs": list(sub.verbs)})
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": shown, "resources": resources}


def _wants_whole(accept: str) -> bool:
    """The client puts the aggregated form before the plain one."""
    for clause in accept.split(","):
        words = {word.strip() for word in clause.split(";")}
        if {"g=apidiscovery.k8s.io", "as=APIGroupDiscoveryList"} <= words:
            if "v=v2" in words:
                return True
        elif clause.split(";")[0].strip() in ("application/json", "*/*"):
            return False
    return False


def _media(accept: str) -> str:
    """JSON for whatever else is asked for."""
    try:
        found = negotiate(accept)
    except StatusError:
        return JSON
    return PROTOBUF if found.media == PROTOBUF and not found.view else JSON


def _protobuf(document: Json) -> bytes:
    from sampan.apiserver import protobuf

    return protobuf.of(document)


def storage_hash(group: str, version: str, kind: str) -> str:
    """The first eight bytes of a SHA-256, in base64: equal where objects are stored alike."""
    text = f"{group}/{version}/{kind}" if group else f"/{version}/{kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()

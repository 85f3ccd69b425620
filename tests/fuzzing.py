"""Requests that no client would send: to every endpoint, in every format, with something wrong anywhere.

Seeded, so that a number is the same requests every time. Bodies are objects as a kind's schema lets them through
(`objects.py`), broken in a place or two; or bytes that are nothing.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import quote

import yaml

from sampan.api.kind import Kind, Names
from sampan.api.registry import Registry
from tests.objects import TEXTS, Maker

JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
PATCHES = (
    "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)  # fmt: skip
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1 << 31, 1 << 63, -(1 << 63), 1 << 64, 10**30, 1e308, -0.0, 0.5, "", " ", "a" * 300, "\x00", "é\u202e",
    "\ud800", "1e999999999", "-1", "9" * 400, "1Gi" * 10, "0x10", "NaN", "../..", "a/b/c", "%2e%2e", "2026-13-45T99:99:99Z",
    [], [None], [[]], [1, "a", {}], {}, {"": ""}, {"a": None}, {"$patch": "delete"}, {"$patch": "replace"}, {"$retainKeys": ["x"]},
    {"$setElementOrder/containers": [{"name": 1}]}, {"$deleteFromPrimitiveList/finalizers": [1]}, {"metadata": 5},
    {"matchLabels": {"-": "!"}}, {"matchExpressions": [{"key": "", "operator": "Near", "values": [""]}]},
)  # fmt: skip
QUERIES = (
    "", "", "", "dryRun=All", "dryRun=Some", "fieldValidation=Strict", "fieldValidation=Ignore", "fieldValidation=Odd",
    "fieldManager=" + "x" * 200, "fieldManager=%00", "force=maybe", "force=true&fieldManager=m", "pretty=%ff", "limit=-5", "limit=1e9",
    "limit=1&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIuLi9hIn0", "continue=bnVsbA", "continue=W10", "continue=e30",
    "continue=eyJ2IjoxLCJydiI6IngiLCJzdGFydCI6NX0", "resourceVersion=-1", "resourceVersion=0&resourceVersionMatch=Exact",
"resourceVersionMatch=NotOlderThan", "labelSelector=a+in+(", "labelSelector=!",
    "labelSelector=a%3D%3D%3Db", "labelSelector=a>x", "labelSelector=%ff%fe", "labelSelector=" + "a," * 500, "fieldSelector=metadata.name",
    "fieldSelector=metadata.name%3D%5C", "fieldSelector=spec.nodeName!=x,status.phase%3D%3DRunning", "fieldSelector=%00%3D1",
    "gracePeriodSeconds=-1", "gracePeriodSeconds=x", "propagationPolicy=Odd", "orphanDependents=1&propagationPolicy=Orphan",
    "includeObject=Odd", "timeoutSeconds=-9", "timeout=1h", "timeout=-1s", "a=b&a=c&a=", "%zz", "&&&===",
)  # fmt: skip
WATCHES = (
    "watch=1&timeoutSeconds=1", "watch=1&resourceVersion=x", "watch=1&resourceVersion=1", "watch=1&sendInitialEvents=true",
    "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1",
    "watch=1&resourceVersionMatch=Odd", "watch=1&limit=-1&continue=x", "watch=true&timeoutSeconds=-1",
)  # fmt: skip
ACCEPTS = (
    "", "", "*/*", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "text/html", "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=Table;v=v9;g=meta.k8s.io", "application/json;as=Odd", ";;;", "application/json;q=x", "\x7f", "a" * 5000,
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
)  # fmt: skip
NAMES = ("a", "1.2.3.4", "exempt", "default", "x" * 300, "%00", "%ff", "A_B", "a%2fb", ".", "%20", "é")


@dataclass
class Sent:
    """`main`: where an object would be, had it been stored."""

    method: str
    target: str
    body: bytes = b""
    media: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    main: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.target} {self.media} {self.headers} {self.body[:2000]!r}"


class Fuzz:
    """`known`: right objects by group, version and resource, which get further than what is random throughout."""

    def __init__(self, registry: Registry, seed: int, known: Mapping[tuple[str, str, str], Any] | None = None) -> None:
        self.registry = registry
        self.known = known or {}
        self.random = Random(seed)
        self.maker = Maker(seed)

    def request(self, names: Names) -> Sent:
        pick = self.random.choice
        base = f"/apis/{names.group}/{names.version}" if names.group else f"/api/{names.version}"
        if names.namespaced and self.random.random() < 0.95:
            base += f"/namespaces/{'default' if self.random.random() < 0.9 else pick(('none', 'kube-system', '%00'))}"
        base += f"/{names.resource}"
        kind = self.registry.get(names.group, names.version, names.resource)
        assert kind is not None
        sub = pick(names.subresources) if names.subresources and self.random.random() < 0.4 else None
        name = quote(pick(NAMES), safe="%") if self.random.random() < 0.2 else "a"
        method = pick(("POST", "POST", "POST", "PUT", "PATCH", "PATCH", "GET", "DELETE"))
        one = f"{base}/{name}"
        path = f"{one}/{sub.name}" if sub else one
        if not sub and (method == "POST" or self.random.random() < 0.05):
            path = base
        elif sub and "create" in sub.verbs and method in ("PUT", "PATCH"):
            method = "POST"
        query = pick(QUERIES) if self.random.random() < 0.25 else ""
        if method == "GET" and self.random.random() < 0.5:
            path, query = (base, pick((*QUERIES, *WATCHES))) if not sub else (path, query)
        sent = Sent(method, f"{path}?{query}" if query else path, main=one)
        if self.random.random() < 0.1:
            sent.headers["accept"] = pick(ACCEPTS)
        if method in ("POST", "PUT", "PATCH", "DELETE"):
            self._fill(sent, kind, sub)
        return sent

    def _fill(self, sent: Sent, kind: Kind, sub: Any) -> None:
        body = self._object(kind, sub)
        roll = self.random.random()
        if sent.method == "DELETE":
            body = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": {"uid": "x"}}
        for _ in range(self.random.choice((0, 0, 1, 1, 2, 4))):
            body = self.broken(body)
        if sent.method == "PATCH":
            sent.media = self.random.choice(PATCHES)
            if sent.media == PATCHES[0]:
                body = self._operations(body)
        elif roll < 0.15:
            sent.media = YAML
        elif roll < 0.25:
            sent.media, sent.body = PROTOBUF, self._protobuf()
            return
        elif roll < 0.30:
            sent.media = self.random.choice(
                ("", "text/plain", "application/json; charset=utf-16", "*/*", ";", "application/jsonx")
            )
        if roll > 0.95:
            sent.body = self._rubbish(body)
        elif sent.media == YAML:
            sent.body = yaml.dump(json.loads(json.dumps(body)), allow_unicode=True).encode(errors="surrogatepass")
        else:
            sent.body = json.dumps(body).encode()

    def _object(self, kind: Kind, sub: Any) -> Any:
        struct = kind.schema
        out: dict[str, Any]
        names = (kind.names.group, kind.names.version, kind.names.kind)
        if sub is not None:
            names = (sub.group, sub.version, sub.kind)
            struct = self.registry.struct(*names) or struct
        right = self.known.get((kind.names.group, kind.names.version, kind.names.resource))
        if right is not None and struct is kind.schema and self.random.random() < 0.8:
            out = {**copy.deepcopy(right), "apiVersion": kind.names.api_version, "kind": kind.names.kind}
            for key in ("uid", "creationTimestamp", "resourceVersion", "generation"):
                out["metadata"].pop(key, None)
            out["metadata"]["name"] = right["metadata"]["name"] if self.random.random() < 0.3 else "a"
            return out
        if kind.custom:
            out = {"spec": {"cronSpec": "x", "replicas": 1, "free": {"a": [1]}}, "status": {"replicas": 1}}
        else:
            out = self.maker.struct(struct, 0, wanted=("spec", "status", "data", "rules", "webhooks"))
        out["metadata"] = {"name": "a"}
        for key in ("labels", "annotations", "finalizers", "ownerReferences"):
            if self.random.random() < 0.2:
                out["metadata"][key] = self.random.choice(ODD)
        group, version, word = names
        out["apiVersion"], out["kind"] = f"{group}/{version}" if group else version, word
        return out

    def broken(self, body: Any) -> Any:
        """With something odd somewhere."""
        body = copy.deepcopy(body)
        here = body
        while True:
            if isinstance(here, dict) and here:
                key: Any = self.random.choice(list(here))
            elif isinstance(here, list) and here:
                key = self.random.randrange(len(here))
            else:
                return self.random.choice(ODD) if here is body else body
            below = here[key]
            if isinstance(below, (dict, list)) and below and self.random.random() < 0.75:
                here = below
                continue
            roll = self.random.random()
            if roll < 0.15:
                del here[key]
            elif roll < 0.3 and isinstance(here, dict):
                here[self.random.choice(("$patch", "x" * 300, "", "é", "metadata", "kind", "spec"))] = below
            elif roll < 0.4 and isinstance(here, list):
                here.append(copy.deepcopy(below))
            else:
                here[key] = copy.deepcopy(self._odd(below))
            return body

    def _odd(self, value: Any) -> Any:
        """Mostly of the same type, or it would be refused by that alone."""
        if self.random.random() < 0.3:
            return self.random.choice(ODD)
        same = [item for item in ODD if type(item) is type(value)]
        if isinstance(value, str):
            same.extend(TEXTS)
        return self.random.choice(same or ODD)

    def _operations(self, body: Any) -> Any:
        if self.random.random() < 0.1:
            return body
        paths = (
            "",
            "/",
            "/metadata",
            "/metadata/labels",
            "/spec",
            "/spec/-",
            "/spec/containers/0",
            "/metadata/name",
            "/~",
            "/~2",
            "//",
            "x",
            "/spec/99999999999",
        )
        return [
            self.broken({
                "op": self.random.choice(("add", "remove", "replace", "move", "copy", "test", "odd")),
                "path": self.random.choice(paths), "from": self.random.choice(paths),
                "value": self.random.choice((*ODD, body)),
            }) if self.random.random() < 0.2 else {
                "op": self.random.choice(("add", "remove", "replace", "move", "copy", "test")),
                "path": self.random.choice(paths), "from": self.random.choice(paths), "value": self.random.choice(ODD),
            }
            for _ in range(self.random.choice((1, 1, 2, 5)))
        ]  # fmt: skip

    def _protobuf(self) -> bytes:
        """The envelope of something, whose content is mostly nothing."""
        inner = self.random.randbytes(self.random.choice((0, 3, 20, 80)))
        if self.random.random() < 0.5:
            inner = b"\x0a" + bytes([min(len(inner), 127)]) + inner
        if self.random.random() < 0.1:
            for _ in range(400):
                inner = b"\x0a" + _varint(len(inner)) + inner
        gvk = b"\x0a\x02v1\x12\x03Pod" if self.random.random() < 0.3 else b""
        meta = b"\x0a" + bytes([len(gvk)]) + gvk if gvk else b""
        return b"k8s\x00" + meta + b"\x12" + _varint(len(inner)) + inner

    def _rubbish(self, body: Any) -> bytes:
        good = json.dumps(body).encode()
        return self.random.choice(
            (b"", b"null", b"[]", b"{", b"\xff\xfe{}", b"\xef\xbb\xbf{}", good[: len(good) // 2], good + b"}", good + good,
             good.replace(b":", b"::", 1), good.replace(b'"', b"'"), b'{"a":' * 500, b"[" * 2000, b'"\\ud800"', b"1e400", b"-",
             b'{"metadata":{"name":"a"},"metadata":{"name":"b"}}', self.random.randbytes(60))
        )  # fmt: skip


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])

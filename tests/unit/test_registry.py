"""The registry as clients of images speak to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sampan.http.client import HttpClient
from sampan.http.connection import Reply
from sampan.http.server.limits import Limits
from sampan.http.server.listener import Server
from sampan.registry.app import Registry
from sampan.registry.depot import Depot

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Caller:
    def __init__(self, client: HttpClient, base: str) -> None:
        self.client, self.base = client, base

    async def __call__(self, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        given = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return await self.client.request(method, self.base + path, body=body, headers=given)

    async def push(self, name: str, data: bytes) -> str:
        reply = await self("POST", f"/v2/{name}/blobs/uploads/?digest={sha(data)}", data)
        assert reply.code == 201 and reply.headers["location"] == f"/v2/{name}/blobs/{sha(data)}"
        return sha(data)


@pytest.fixture
async def call(tmp_path: Path) -> AsyncIterator[Caller]:
    registry = Registry(Depot(tmp_path))
    # bodies of blobs are of any length, whatever the limit of others is
    server = Server(registry.app, ssl_context=None, hosts=("127.0.0.1",), port=0, limits=Limits(body=2000),
                    sinks=registry.sinks)  # fmt: skip
    await server.start()
    async with HttpClient() as client:
        yield Caller(client, f"http://127.0.0.1:{server.port}")
    await server.shutdown(0)


def code(reply: Reply) -> tuple[int, str]:
    found: dict[str, Any] = json.loads(reply.body)
    return reply.code, found["errors"][0]["code"]


async def test_blobs(call: Caller) -> None:
    assert (await call("GET", "/v2/")).headers["docker-distribution-api-version"] == "registry/2.0"
    data = b"x" * 3_000_000
    digest = await call.push("shop/web", data)
    reply = await call("GET", f"/v2/shop/web/blobs/{digest}")
    assert reply.body == data and reply.headers["docker-content-digest"] == digest
    assert (await call("HEAD", f"/v2/shop/web/blobs/{digest}")).headers["content-length"] == "3000000"
    part = await call("GET", f"/v2/shop/web/blobs/{digest}", Range="bytes=2999990-")
    assert (part.code, part.body) == (206, b"x" * 10)
    # others have it only when they ask for it
    assert code(await call("GET", f"/v2/other/blobs/{digest}")) == (404, "BLOB_UNKNOWN")
    assert (await call("POST", f"/v2/other/blobs/uploads/?mount={digest}&from=shop/web")).code == 201
    assert (await call("DELETE", f"/v2/shop/web/blobs/{digest}")).code == 202
    assert (await call("HEAD", f"/v2/other/blobs/{digest}")).code == 200
    assert code(await call("DELETE", f"/v2/shop/web/blobs/{digest}")) == (404, "BLOB_UNKNOWN")


async def test_a_blob_in_pieces(call: Caller) -> None:
    begun = await call("POST", "/v2/a/blobs/uploads/")
    where = begun.headers["location"]
    assert begun.code == 202
    assert (await call("PATCH", where, b"one", Content_Range="0-2")).headers["range"] == "0-2"
    wrong = await call("PATCH", where, b"zzz", Content_Range="7-9")
    assert code(wrong) == (416, "RANGE_INVALID") and wrong.headers["range"] == "0-2"
    assert (await call("PATCH", where, b"two", Content_Range="3-5")).code == 202
    assert (await call("GET", where)).headers["range"] == "0-5"
    done = await call("PUT", f"{where}?digest={sha(b'onetwo!')}", b"!")
    assert done.code == 201
    assert (await call("GET", done.headers["location"])).body == b"onetwo!"
    assert code(await call("PATCH", where, b"more")) == (404, "BLOB_UPLOAD_UNKNOWN")
    # what is not what it says it is, is not kept
    where = (await call("POST", "/v2/a/blobs/uploads/")).headers["location"]
    assert code(await call("PUT", f"{where}?digest={sha(b'right')}", b"wrong")) == (400, "DIGEST_INVALID")
    assert code(await call("GET", where)) == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_manifests(call: Caller) -> None:
    config = {"digest": sha(b"{}"), "size": 2, "mediaType": "application/vnd.oci.image.config.v1+json"}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}).encode()
    put = ("PUT", "/v2/a/b/manifests/v1", manifest)
    assert code(await call(*put, Content_Type=MANIFEST)) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert code(await call("GET", "/v2/a/b/tags/list")) == (404, "NAME_UNKNOWN")
    await call.push("a/b", b"{}")
    assert (await call(*put, Content_Type=MANIFEST)).headers["docker-content-digest"] == sha(manifest)
    for reference in ("v1", sha(manifest)):
        got = await call("GET", f"/v2/a/b/manifests/{reference}")
        assert (got.body, got.headers["content-type"]) == (manifest, MANIFEST)
    await call("PUT", "/v2/a/b/manifests/v2", manifest)
    assert json.loads((await call("GET", "/v2/a/b/tags/list")).body) == {"name": "a/b", "tags": ["v1", "v2"]}
    page = await call("GET", "/v2/a/b/tags/list?n=1")
    assert json.loads(page.body)["tags"] == ["v1"]
    assert page.headers["link"] == '</v2/a/b/tags/list?last=v1&n=1>; rel="next"'
    assert json.loads((await call("GET", "/v2/_catalog")).body) == {"repositories": ["a/b"]}
    assert (await call("DELETE", "/v2/a/b/manifests/v1")).code == 202
    assert code(await call("GET", "/v2/a/b/manifests/v1")) == (404, "MANIFEST_UNKNOWN")
    assert (await call("DELETE", f"/v2/a/b/manifests/{sha(manifest)}")).code == 202
    assert code(await call("GET", "/v2/a/b/manifests/v2")) == (404, "MANIFEST_UNKNOWN")


async def test_what_is_refused(call: Caller) -> None:
    assert code(await call("GET", "/v2/Upper/tags/list")) == (400, "NAME_INVALID")
    assert code(await call("GET", "/v2/a/../../b/tags/list")) == (400, "NAME_INVALID")
    assert code(await call("GET", "/v2/a/blobs/sha256:12")) == (400, "DIGEST_INVALID")
    assert code(await call("PUT", "/v2/a/manifests/v1", b"no")) == (400, "MANIFEST_INVALID")
    assert code(await call("PATCH", "/v2/a/manifests/v1")) == (405, "UNSUPPORTED")
    assert (await call("PUT", "/v2/a/manifests/v1", b" " * 3000)).code == 413

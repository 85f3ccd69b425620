"""Replies in Kubernetes' protobuf.

`protobuf_golden.jsonl` holds objects and what client-go 1.20.2 (the newest that Debian has the source of) makes of them, of
kinds whose fields are still the same; `metadata.clusterName`, which it had and nobody has now, was taken out of it. The
whole API was compared with it so, and its typed clients, informers and metadata clients ran against `sampan up`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.api.errors import StatusError
from sampan.api.schema import facts, protobuf, protobuf_write
from sampan.api.schema.decode import decode
from sampan.apiserver import protobuf as replies
from sampan.apiserver.negotiation import JSON, PROTOBUF, YAML, negotiate
from sampan.apiserver.verbs.watch import FRAME
from sampan.http.server.messages import Response
from sampan.http.server.websocket_stream import MessageWriter
from tests.conftest import Local
from tests.protobuf import made, structs
from tests.unit.test_crd import CRONTABS, crontab, define, definition

KINDS = list(structs())
GOLDEN = [
    json.loads(line) for line in (Path(__file__).parent.parent / "protobuf_golden.jsonl").read_text().splitlines()
]
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PARTIAL = f"{PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


@pytest.mark.parametrize(
    ("obj", "expected"), GOLDEN, ids=lambda value: value["kind"] if isinstance(value, dict) else ""
)
def test_bytes_are_those_of_client_go(obj: dict[str, Any], expected: str) -> None:
    want = base64.b64decode(expected)
    if obj["kind"] == "CustomResourceDefinition":  # its status has a new field, which is always written
        assert (
            protobuf_write.encode(facts.struct("apiextensions_v1", "CustomResourceDefinitionSpec"), obj["spec"]) in want
        )
    else:
        assert replies.of(obj) == want


@settings(max_examples=60)
@given(st.sampled_from(KINDS), st.integers(0, 1 << 32), st.sampled_from((0.2, 0.5, 0.9)))
def test_what_is_written_is_read_again(kind: tuple[str, str, Any], seed: int, fullness: float) -> None:
    _there_and_back(*kind, seed, fullness)


def test_every_kind_can_be_written_and_read() -> None:
    for kind in KINDS:
        _there_and_back(*kind, 7, 0.5)


def _there_and_back(api_version: str, kind: str, struct: Any, seed: int, fullness: float) -> None:
    raw = made(struct, random.Random(seed), fullness)
    obj = decode(struct, raw, strict=None)
    again = protobuf.message(struct, protobuf_write.encode(struct, obj))
    assert decode(struct, again, strict=None) == obj


@pytest.mark.parametrize(
    ("header", "custom", "media", "view"),
    [
        (PROTOBUF, False, PROTOBUF, ""),
        (f"{PROTOBUF}, {JSON}", False, PROTOBUF, ""),
        (f"{JSON}, {PROTOBUF}", False, JSON, ""),
        (f"{PROTOBUF};q=0.5, {JSON}", False, JSON, ""),
        (f"*/*, {PROTOBUF}", False, PROTOBUF, ""),
        (f"{PROTOBUF};stream=watch", False, PROTOBUF, ""),
        (f"{PROTOBUF}, {YAML}", True, YAML, ""),
        (PARTIAL, True, PROTOBUF, "PartialObjectMetadata"),
        (f"{PROTOBUF};as=Table;g=meta.k8s.io;v=v1, {JSON};as=Table;g=meta.k8s.io;v=v1", False, JSON, "Table"),
    ],
)
def test_negotiation(header: str, custom: bool, media: str, view: str) -> None:
    accept = negotiate(header, custom)
    assert (accept.media, accept.view) == (media, view)
    assert accept.errors == (JSON if view else media)


@pytest.mark.parametrize(("header", "custom"), [(PROTOBUF, True), (f"{PROTOBUF};as=Table;g=meta.k8s.io;v=v1", False)])
def test_what_has_no_protobuf_is_406(header: str, custom: bool) -> None:
    with pytest.raises(StatusError) as caught:
        negotiate(header, custom)
    assert caught.value.code == 406 and PROTOBUF in caught.value.message


def _read(reply: Response) -> dict[str, Any]:
    """As JSON, whatever came."""
    body = reply.body if isinstance(reply.body, bytes) else b"".join(reply.body)
    assert dict(reply.headers)["Content-Type"] == PROTOBUF
    api_version, kind, raw = protobuf.envelope(body)
    struct = replies.struct_of(api_version or "v1", kind)
    return {"kind": kind, "apiVersion": api_version, **decode(struct, protobuf.message(struct, raw), strict=None)}


async def test_every_verb_answers_in_protobuf(api: Local) -> None:
    async def ask(method: str, target: str, body: Any = None, media: str = JSON, accept: str = PROTOBUF) -> Any:
        return _read(await api.raw(method, target, body, media, accept=accept))

    made = await ask("POST", CONFIG_MAPS, {"metadata": {"name": "a"}, "data": {"k": "v"}})
    one = f"{CONFIG_MAPS}/a"
    assert made["data"] == {"k": "v"} and made == await ask("GET", one) == (await api("GET", one))[1]
    sent = b"".join(
        protobuf_write.enveloped("v1", "ConfigMap", [protobuf_write.encode(facts.struct("core_v1", "ConfigMap"), made)])
    )
    assert await ask("PUT", one, sent, PROTOBUF) == made
    patched = await ask("PATCH", one, {"data": {"l": "w"}}, "application/merge-patch+json")
    assert patched["data"] == {"k": "v", "l": "w"}
    listed = await ask("GET", CONFIG_MAPS + "?limit=1")
    assert (listed["kind"], listed["items"][0]["metadata"]) == ("ConfigMapList", patched["metadata"])
    assert listed["metadata"]["remainingItemCount"] == 1 and listed["metadata"]["continue"]
    assert await ask("GET", one, accept=PARTIAL) == {
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": patched["metadata"],
    }  # fmt: skip
    for version in ("v1", "v1beta1"):
        seen = await ask(
            "GET", CONFIG_MAPS, accept=PARTIAL.replace("v=v1", f"v={version}").replace("Metadata;", "MetadataList;")
        )
        assert seen["kind"] == "PartialObjectMetadataList" and seen["metadata"]["resourceVersion"]
        assert patched["metadata"] in [item["metadata"] for item in seen["items"]]
    gone = await ask("DELETE", one)
    assert (gone["kind"], gone["status"], gone["details"]["name"]) == ("Status", "Success", "a")
    missing = await ask("GET", one)
    assert (missing["code"], missing["reason"]) == (404, "NotFound")
    answer = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    review = await ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", answer)
    assert review["status"]["allowed"] is True
    token = await ask("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", {"spec": {}})
    assert token["kind"] == "TokenRequest" and token["status"]["token"]


async def test_other_versions_and_kinds_that_convert(api: Local) -> None:
    event = {"metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p"}, "note": "n", "reason": "r",
             "type": "Normal", "action": "a", "reportingController": "x/y", "reportingInstance": "z",
             "eventTime": "2026-11-28T21:00:00.123456Z"}  # fmt: skip
    new = _read(await api.raw("POST", "/apis/events.k8s.io/v1/namespaces/default/events", event, accept=PROTOBUF))
    old = _read(await api.raw("GET", "/api/v1/namespaces/default/events/e", accept=PROTOBUF))
    assert (new["note"], new["eventTime"]) == (old["message"], old["eventTime"]) == ("n", event["eventTime"])


async def test_a_large_list_is_made_beside_the_loop_and_once(api: Local) -> None:
    for number in range(6):
        body = {"metadata": {"name": f"c{number}"}, "data": {"k": "x" * 60_000}}
        assert (await api("POST", CONFIG_MAPS, body))[0] == 201
    cache = next(found for prefix, found in api.server.api.cache.resources.items() if "configmaps" in prefix)
    assert all(record.other is None for record in cache.list(""))
    listed = _read(await api.raw("GET", CONFIG_MAPS, accept=PROTOBUF))
    assert [item["metadata"]["name"] for item in listed["items"]][:6] == [f"c{number}" for number in range(6)]
    record = cache.records["default/c0"]
    assert record.other is not None and len(record.other) == 1
    kept = next(iter(record.other.values()))
    assert _read(await api.raw("GET", CONFIG_MAPS + "/c0", accept=PROTOBUF))["data"]["k"] == "x" * 60_000
    assert [kept is made for made in record.other.values()] == [True]


class Writer:
    """What a watch writes, event by event: told of after two of them, ended after three."""

    closed = False

    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.begun = asyncio.Event()
        self.end: Any = None

    def write(self, data: bytes) -> None:
        assert int.from_bytes(data[:4], "big") == len(data) - 4
        (_, _, kind), (_, _, raw) = protobuf.fields(data[4:])
        assert isinstance(kind, bytes) and isinstance(raw, bytes)
        ((_, _, body),) = protobuf.fields(raw)
        assert isinstance(body, bytes)
        reply = Response(200, [("Content-Type", PROTOBUF)], body)
        self.events.append((kind.decode(), _read(reply)["kind"], _read(reply)))
        if len(self.events) == 2:
            self.begun.set()
        elif len(self.events) == 3:
            self.end()

    def pending(self) -> int:
        return 0

    async def drain(self) -> None:
        return None

    def on_close(self, callback: Any) -> None:
        self.end = callback

    def abort(self) -> None:
        raise AssertionError


async def test_watches_are_frames(api: Local) -> None:
    query = "?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    await api("POST", CONFIG_MAPS, {"metadata": {"name": "a"}, "data": {"k": "v"}})
    plain, partial = Writer(), Writer()
    for writer, accept in ((plain, PROTOBUF), (partial, PARTIAL)):
        target = CONFIG_MAPS + query + "&fieldSelector=metadata.name%3Da"
        reply = await api.raw("GET", target, accept=f"{accept};stream=watch")
        assert dict(reply.headers)["Content-Type"] == f"{PROTOBUF};stream=watch" and reply.stream is not None
        task = asyncio.ensure_future(reply.stream(writer))
        await writer.begun.wait()
        await api("PATCH", CONFIG_MAPS + "/a", {"data": {"k": accept}}, "application/merge-patch+json")
        await task
    assert [event[:2] for event in plain.events] == [
        ("ADDED", "ConfigMap"),
        ("BOOKMARK", "ConfigMap"),
        ("MODIFIED", "ConfigMap"),
    ]
    assert plain.events[1][2]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert plain.events[2][2]["data"] == {"k": PROTOBUF}
    assert {kind for _, kind, _ in partial.events} == {"PartialObjectMetadata"}
    assert partial.events[2][2]["metadata"]["name"] == "a"


async def test_discovery(api: Local) -> None:
    versions, groups, group, resources = [
        _read(await api.raw("GET", path, accept=f"{PROTOBUF}, */*"))
        for path in ("/api", "/apis", "/apis/apps", "/apis/apps/v1")
    ]
    assert (versions["kind"], versions["versions"]) == ("APIVersions", ["v1"])
    assert group["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert {key: value for key, value in group.items() if key not in ("kind", "apiVersion")} in groups["groups"]
    scale = next(item for item in resources["resources"] if item["name"] == "deployments/scale")
    assert (scale["group"], scale["verbs"]) == ("autoscaling", ["get", "patch", "update"])
    assert resources["resources"] == (await api("GET", "/apis/apps/v1"))[1]["resources"]


async def test_a_websocket_has_messages_without_lengths() -> None:
    sent: list[str | bytes] = []
    socket = SimpleNamespace(send=sent.append)
    frame = protobuf_write.event("ADDED", replies.of({"kind": "Status", "apiVersion": "v1"}))
    MessageWriter(socket, FRAME).write(frame)  # type: ignore[arg-type]  # all that it needs of one
    MessageWriter(socket, 0).write(b"{}\n")  # type: ignore[arg-type]
    assert sent == [frame[4:], "{}"]


async def test_custom_resources_have_protobuf_of_their_metadata_alone(api: Local) -> None:
    await define(api, definition())
    assert (await api("POST", CRONTABS, crontab("a")))[0] == 201
    refused = await api.raw("GET", CRONTABS, accept=PROTOBUF)
    assert refused.code == 406 and _read(refused)["reason"] == "NotAcceptable"
    code, listed = await api("GET", CRONTABS, accept=f"{PROTOBUF}, {JSON}")
    assert (code, len(listed["items"])) == (200, 1)
    seen = _read(await api.raw("GET", CRONTABS, accept=PARTIAL.replace("Metadata;", "MetadataList;")))
    assert seen["items"][0]["metadata"]["uid"] == listed["items"][0]["metadata"]["uid"]

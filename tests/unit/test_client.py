"""Calls in process, against the real server and against ones that say what a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.api.user import User
from sampan.client import (
    Client,
    Discovery,
    HttpError,
    Resource,
    StatusError,
    errors,
    of_object,
    resource,
    retry_on_conflict,
)
from sampan.client.watch import Watch, parse
from sampan.http import ProtocolError, TimedOut
from sampan.http.server.messages import Request, Response, Writer
from sampan.testing.inprocess import InProcessTransport
from tests.conftest import Local
from tests.virtual import ADMIN, admin, virtually


@pytest.fixture
async def client(api: Local) -> AsyncIterator[Client]:
    made = admin(api.server, "tester/1.0")
    yield made
    await made.aclose()


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", "labels": {"set": "x"}}, "data": data}


def pod(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


async def test_every_verb(client: Client) -> None:
    made = await client.create("configmaps", config_map("a", k="1"))
    assert made["metadata"]["managedFields"][0]["manager"] == "tester"
    assert (await client.get("configmaps", "a", "default")) == made
    made["data"]["k"] = "2"
    updated = await client.update("configmaps", made)
    with pytest.raises(StatusError) as stale:
        await client.update("configmaps", made)
    assert errors.is_conflict(stale.value) and not errors.is_already_exists(stale.value)
    with pytest.raises(StatusError) as again:
        await client.create("configmaps", config_map("a"))
    assert errors.is_already_exists(again.value) and not errors.is_conflict(again.value)
    merged = await client.patch("configmaps", "a", {"data": {"m": "3"}}, "default")
    assert merged["data"] == {"k": "2", "m": "3"}
    steps = [{"op": "test", "path": "/data/k", "value": "2"}, {"op": "remove", "path": "/data/k"}]
    assert (await client.patch("configmaps", "a", steps, "default", type="json"))["data"] == {"m": "3"}
    applied = {"kind": "ConfigMap", "apiVersion": "v1", **config_map("a", s="4")}
    out = await client.apply("configmaps", applied, field_manager="owner", force=True)
    assert out["data"] == {"m": "3", "s": "4"}
    with pytest.raises(StatusError) as wrong:
        await client.delete("configmaps", "a", "default", uid="other")
    assert errors.is_conflict(wrong.value)
    await client.delete("configmaps", "a", "default", uid=updated["metadata"]["uid"])
    with pytest.raises(StatusError, match='configmaps "a" not found') as gone:
        await client.get("configmaps", "a", "default")
    assert errors.is_not_found(gone.value)


async def test_lists_pages_and_collections(client: Client) -> None:
    for number in range(7):
        await client.create("configmaps", config_map(f"c{number}"))
    sizes = [len(page["items"]) async for page in client.pages("configmaps", "default", label_selector="set", limit=3)]
    assert sizes == [3, 3, 1]
    items = await client.items("configmaps", "default", label_selector="set=x")
    assert [item["metadata"]["name"] for item in items] == [f"c{n}" for n in range(7)]
    assert (items[0]["kind"], items[0]["apiVersion"]) == ("ConfigMap", "v1")
    await client.delete_collection("configmaps", "default", label_selector="set=x")
    assert await client.items("configmaps", "default", label_selector="set=x") == []


async def test_watches(client: Client) -> None:
    await client.create("configmaps", config_map("old"))
    watch = await client.watch("configmaps", "default", initial=True, label_selector="set=x")
    assert (await anext(watch)).object["metadata"]["name"] == "old"
    assert (await anext(watch)).type == "BOOKMARK"
    await client.create("configmaps", config_map("new"))
    await client.delete("configmaps", "old", "default")
    assert [(await anext(watch)).type for _ in range(2)] == ["ADDED", "DELETED"]
    await watch.aclose()
    with pytest.raises(StatusError) as refused:
        await client.watch("configmaps", "default", resource_version="nonsense")
    assert errors.is_invalid(refused.value)


async def test_subresources(client: Client) -> None:
    made = await client.create("pods", pod("p"))
    node = {"metadata": {"name": "n"}}
    await client.create("nodes", node)
    await client.bind("p", "default", "n", uid=made["metadata"]["uid"])
    bound = await client.get("pods", "p", "default")
    assert bound["spec"]["nodeName"] == "n"
    bound["status"]["phase"] = "Running"
    assert (await client.update_status("pods", bound))["status"]["phase"] == "Running"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    await client.create("deployments.apps", {"metadata": {"name": "d", "namespace": "default"}, "spec": spec})
    await client.set_scale("deployments.apps", "d", "default", 3)
    assert (await client.get_scale("deployments.apps", "d", "default"))["spec"]["replicas"] == 3
    await client.evict("p", "default", grace_seconds=0)
    with pytest.raises(StatusError, match="not found"):
        await client.get("pods", "p", "default")
    assert b"gitVersion" in await client.raw("GET", "/version")


def test_resources_by_name_and_kind() -> None:
    assert resource("deployments.apps").root == "/apis/apps/v1"
    assert resource("events").group == "" and resource("events.events.k8s.io").group == "events.k8s.io"
    assert resource("horizontalpodautoscalers.autoscaling").version == "v2"
    assert resource("horizontalpodautoscalers.v1.autoscaling").version == "v1"
    assert of_object({"kind": "Pod", "apiVersion": "v1"}) is resource("pods")
    with pytest.raises(
        KeyError, match=r'^no built-in resource is named "boats.example.com"; of a custom one give Resource'
    ):
        resource("boats.example.com")
    with pytest.raises(KeyError):
        resource("widgets")
    widgets = Resource("example.com", "v1", "widgets", "Widget")
    assert Client.path(widgets, "ns", "a:b c", "status") == "/apis/example.com/v1/namespaces/ns/widgets/a:b%20c/status"
    assert Client.path("nodes", "ignored", "n") == "/api/v1/nodes/n"


async def test_discovery_with_and_without_aggregation(api: Local) -> None:
    def legacy(request: Request) -> Any:
        request.headers["accept"] = "application/json"
        return api.server.handler(request)

    found = await Discovery(admin(api.server)).all()
    old = await Discovery(Client(InProcessTransport(legacy, ADMIN))).all()
    pods = next(each for each in found if each.resource == resource("pods"))
    assert "eviction" in pods.subresources and "deletecollection" in pods.verbs
    assert {each.resource for each in found} == {each.resource for each in old}
    assert {each.resource for each in found if each.preferred} == {each.resource for each in old if each.preferred}
    discovery = Discovery(admin(api.server))
    assert await discovery.of_kind("autoscaling/v1", "HorizontalPodAutoscaler") is not None
    assert resource("horizontalpodautoscalers.autoscaling") in {each.resource for each in await discovery.preferred()}
    assert await discovery.of_kind("example.com/v1", "Widget") is None


async def test_a_conflict_is_tried_again_a_few_times(client: Client) -> None:
    await client.create("configmaps", config_map("a", k="0"))
    tries = 0

    async def count() -> str:
        nonlocal tries
        tries += 1
        mine = await client.get("configmaps", "a", "default")
        if tries != 3:
            await client.patch("configmaps", "a", {"data": {"k": f"faster {tries}"}}, "default")
        mine["data"]["k"] = "mine"
        return str((await client.update("configmaps", mine))["data"]["k"])

    assert await retry_on_conflict(count) == "mine" and tries == 3
    with pytest.raises(StatusError) as lost:
        await retry_on_conflict(count)
    assert errors.is_conflict(lost.value) and tries == 8


# -- what a server may do -------------------------------------------------------------------------------------------


def talking_to(app: Any, timeout: float | None = 60.0) -> Client:
    return Client(InProcessTransport(app, User("someone")), timeout=timeout)


def status(code: int, reason: str, *headers: tuple[str, str], **details: Any) -> Response:
    body = {"kind": "Status", "code": code, "reason": reason, "message": reason, "details": details}
    return Response(code, [("Content-Type", "application/json"), *headers], json.dumps(body).encode())


def test_retries_when_asked_to_and_not_for_ever() -> None:
    asked: list[float] = []

    def app(request: Request) -> Response:
        asked.append(asyncio.get_running_loop().time())
        if len(asked) < 3 or request.raw_path.endswith("never"):
            return status(429, "TooManyRequests", ("Retry-After", "2"))
        return Response(200, (), b"{}")

    async def test() -> None:
        client = talking_to(app)
        await client.create("pods", pod("p"))
        assert asked == [0, 2, 4]
        with pytest.raises(StatusError) as busy:
            await client.get("pods", "never", "default")
        assert errors.is_too_many_requests(busy.value) and errors.retry_after(busy.value) == 2
        assert len(asked) == 3 + 11
        with pytest.raises(TimedOut):
            await talking_to(app, 5.0).get("pods", "never", "default")

    virtually(test)


async def test_replies_that_are_no_status() -> None:
    client = talking_to(lambda request: Response(404, (("Content-Type", "text/plain"),), b"404 page not found\n"))
    with pytest.raises(StatusError) as missing:
        await client.get("pods", "p", "default")
    assert missing.value.message == "the server could not find the requested resource"
    assert errors.is_not_found(missing.value) and "404 page not found" in str(missing.value.details)
    client = talking_to(lambda request: Response(500, (("Content-Type", "application/json"),), b"{"))
    with pytest.raises(StatusError) as broken:
        await client.get("pods", "p", "default")
    assert broken.value.reason == "InternalError" and errors.is_retriable(broken.value)
    assert broken.value.message == 'an error on the server ("{") has prevented the request from succeeding'
    with pytest.raises(ProtocolError, match="json parse error"):
        await talking_to(lambda request: Response(200, (), b"{")).get("pods", "p", "default")


async def test_what_was_begun_is_finished_when_the_caller_leaves() -> None:
    begun, finished = asyncio.Event(), asyncio.Event()

    async def app(request: Request) -> Response:
        begun.set()
        await asyncio.sleep(0)
        finished.set()
        return Response(200, (), b"{}")

    call = asyncio.create_task(talking_to(app).create("pods", pod("p")))
    await begun.wait()
    call.cancel()
    await finished.wait()
    assert call.cancelled()


async def test_the_handler_hears_that_a_watcher_left() -> None:
    left: list[str] = []

    async def stream(writer: Writer) -> None:
        done = asyncio.Event()
        writer.on_close(done.set)
        writer.write(b'{"type":"ADDED","object":{"metadata":{}}}\n')
        await done.wait()
        left.append("left")

    client = talking_to(lambda request: Response(200, (), stream=stream))
    async with await client.watch("pods") as watch:
        assert (await anext(watch)).type == "ADDED"
    assert left == ["left"]


# -- lines of a watch -----------------------------------------------------------------------------------------------

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(("ADDED", "MODIFIED", "DELETED", "BOOKMARK")),
        st.dictionaries(st.text(max_size=4), st.text(max_size=6), max_size=2),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


class Chunks:
    code = 200
    headers: dict[str, str] = {}

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks[::-1]

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> bytes:
        if not self.chunks:
            raise StopAsyncIteration
        return self.chunks.pop()

    async def read(self, max_body: int = 0) -> bytes:
        return b""

    async def aclose(self) -> None:
        self.chunks = []


@settings(max_examples=15, deadline=None)
@given(EVENTS, st.integers(1, 50))
def test_events_are_the_same_however_they_are_cut(events: list[tuple[str, dict[str, str], bool]], size: int) -> None:
    lines = b""
    for kind, obj, compact in events:
        separators = (",", ":") if compact else (", ", ": ")
        lines += json.dumps({"type": kind, "object": obj}, separators=separators).encode() + b"\n"

    async def read() -> list[tuple[str, Any]]:
        watch = Watch(Chunks([lines[at : at + size] for at in range(0, len(lines), size)]))
        return [(event.type, event.object) async for event in watch]

    with pytest.raises(StopIteration) as done:  # nothing waits: no loop is needed
        read().send(None)
    assert done.value.value == [(kind, obj) for kind, obj, _ in events]


async def test_error_events_come_after_what_was_before_them() -> None:
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    line = b'{"type":"ADDED","object":{}}\n' + json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n"
    watch = Watch(Chunks([line]))
    assert (await anext(watch)).type == "ADDED"
    with pytest.raises(StatusError) as expired:
        await anext(watch)
    assert errors.is_gone(expired.value)
    with pytest.raises(ProtocolError):
        parse(b"nonsense")
    assert issubclass(ProtocolError, HttpError)

"""Informers over a real server in virtual time: what they mirror, and what becomes of them when things break."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from sampan.api.selectors import parse_label_selector
from sampan.client import (
    NODE,
    OWNER,
    Cache,
    CacheMutated,
    Client,
    HttpError,
    Informer,
    Informers,
    by_node,
    by_owner,
    key_of,
    split_key,
)
from sampan.client.watch import Event
from sampan.http.server.messages import Request, Response
from sampan.testing.inprocess import InProcessTransport
from tests.virtual import ADMIN, admin, server, virtually

Obj = dict[str, Any]


def config_map(name: str, value: str = "", **labels: str) -> Obj:
    return {
        "metadata": {"name": name, "namespace": "kube-public", "labels": {"t": "t", **labels}},
        "data": {"v": value},
    }


class Heard:
    """What handlers were told, in order."""

    def __init__(self, informer: Informer) -> None:
        self.all: list[str] = []
        informer.add_handler(self.add, self.update, self.delete)

    def add(self, obj: Obj) -> None:
        self.all.append(f"+{obj['metadata']['name']}={obj['data']['v']}")

    def update(self, old: Obj, new: Obj) -> None:
        self.all.append(f"~{new['metadata']['name']}={old['data']['v']}{new['data']['v']}")

    def delete(self, obj: Obj) -> None:
        self.all.append(f"-{obj['metadata']['name']}={obj['data']['v']}")

    def take(self) -> list[str]:
        out, self.all = self.all, []
        return out


async def settle() -> None:
    """Until everything that can happen now has happened."""
    await asyncio.sleep(0.001)


Fault = Callable[[Request], Response | HttpError | None]


class Flaky(InProcessTransport):
    """`fault` may answer in the server's stead; `asked` are the queries of lists and watches."""

    fault: Fault = staticmethod(lambda request: None)

    def __init__(self, app: Any) -> None:
        super().__init__(self.answer, ADMIN)
        self.real = app
        self.asked: list[tuple[float, str]] = []

    def answer(self, request: Request) -> Any:
        if request.method == "GET":
            self.asked.append((asyncio.get_running_loop().time(), request.query))
            fault = self.fault(request)
            if isinstance(fault, HttpError):
                raise fault
            if fault is not None:
                return fault
        return self.real(request)

    async def cut(self) -> None:
        """End all watches, as a server that restarts does."""
        for stream in tuple(self._streams):
            await stream.aclose()


async def world(informing: Callable[[Client], Informer]) -> tuple[Client, Flaky, Informer, Heard, asyncio.Task[None]]:
    api = await server()
    flaky = Flaky(api.handler)
    client = admin(api)
    for name in ("a", "b"):
        await client.create("configmaps", config_map(name, "1"))
    informer = informing(Client(flaky))
    heard = Heard(informer)
    task = asyncio.create_task(informer.run())
    await informer.wait_synced()
    return client, flaky, informer, heard, task


def config_maps(client: Client) -> Informer:
    return Informer(client, "configmaps", label_selector="t", rng=random.Random(1))


def test_mirrors_what_is_there_and_what_changes() -> None:
    async def test() -> None:
        client, _, informer, heard, _ = await world(config_maps)
        assert heard.take() == ["+a=1", "+b=1"]
        await client.create("configmaps", config_map("c", "1"))
        await client.patch("configmaps", "a", {"data": {"v": "2"}}, "kube-public")
        await client.delete("configmaps", "b", "kube-public")
        await settle()
        assert heard.take() == ["+c=1", "~a=12", "-b=1"]
        assert informer.cache.keys() == ["kube-public/a", "kube-public/c"]
        late = Heard(informer)
        assert late.take() == ["+a=2", "+c=1"]
        found = informer.cache.get("a", "kube-public")
        assert found is not None and found["data"] == {"v": "2"} and found["kind"] == "ConfigMap"
        assert "managedFields" not in found["metadata"]

    virtually(test)


def test_resumes_from_where_it_was() -> None:
    async def test() -> None:
        client, flaky, informer, heard, _ = await world(config_maps)
        heard.take()
        before = informer.version
        await flaky.cut()
        await client.create("configmaps", config_map("c", "1"))
        await asyncio.sleep(10)
        assert heard.take() == ["+c=1"]
        assert "sendInitialEvents" in flaky.asked[0][1] and "sendInitialEvents" not in flaky.asked[1][1]
        assert f"resourceVersion={before}" in flaky.asked[1][1]

    virtually(test)


GONE = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version: 1 (2)"}


@pytest.mark.parametrize("as_event", [True, False])
def test_lists_again_when_its_revision_is_too_old_and_tells_the_difference(as_event: bool) -> None:
    def gone(request: Request) -> Response | None:
        if "resourceVersion=" not in request.query:
            return None
        if as_event:

            async def stream(writer: Any) -> None:
                writer.write(b'{"type":"ERROR","object":%b}\n' % orjson.dumps(GONE))

            return Response(200, (), stream=stream)
        return Response(410, (("Content-Type", "application/json"),), orjson.dumps(GONE))

    async def test() -> None:
        client, flaky, _, heard, _ = await world(config_maps)
        heard.take()
        flaky.fault = gone
        await flaky.cut()
        await client.create("configmaps", config_map("c", "1"))
        await client.patch("configmaps", "a", {"data": {"v": "2"}}, "kube-public")
        await client.delete("configmaps", "b", "kube-public")
        await asyncio.sleep(10)
        assert heard.take() == ["-b=1", "~a=12", "+c=1"]

    virtually(test)


def test_pages_where_the_server_has_no_watch_list() -> None:
    def refuse(request: Request) -> Response | None:
        body = {"kind": "Status", "code": 422, "reason": "Invalid", "message": "sendInitialEvents is forbidden"}
        if "sendInitialEvents" in request.query:
            return Response(422, (("Content-Type", "application/json"),), orjson.dumps(body))
        return None

    async def test() -> None:
        api = await server()
        client = admin(api)
        for number in range(3):
            await client.create("configmaps", config_map(f"c{number}", "1"))
        flaky = Flaky(api.handler)
        flaky.fault = refuse
        informer = config_maps(Client(flaky))
        heard = Heard(informer)
        task = asyncio.create_task(informer.run())
        await informer.wait_synced()
        assert heard.take() == ["+c0=1", "+c1=1", "+c2=1"]
        await settle()
        await client.delete("configmaps", "c1", "kube-public")
        await settle()
        assert heard.take() == ["-c1=1"]
        assert not task.done()

    virtually(test)


def test_waits_longer_each_time_nobody_answers() -> None:
    async def test() -> None:
        client, flaky, _, heard, _ = await world(config_maps)
        heard.take()
        flaky.asked.clear()
        flaky.fault = lambda request: HttpError("dial tcp 127.0.0.1:6443: connect: connection refused")
        await flaky.cut()
        await asyncio.sleep(200)
        times = [at for at, _ in flaky.asked]
        gaps = [after - before for before, after in itertools.pairwise(times)]
        assert 0.8 <= gaps[0] < 1.6 or 1.6 <= gaps[0] < 3.2
        assert all(30 <= gap < 60 for gap in gaps[6:]) and len(times) < 15
        flaky.fault = lambda request: None
        await client.create("configmaps", config_map("c", "1"))
        await asyncio.sleep(60)
        assert heard.take() == ["+c=1"]

    virtually(test)


def test_an_object_made_anew_between_two_watches_is_a_deletion_and_an_addition() -> None:
    async def test() -> None:
        client, flaky, _, heard, _ = await world(config_maps)
        heard.take()
        flaky.fault = lambda request: HttpError("down")
        await flaky.cut()
        await client.delete("configmaps", "a", "kube-public")
        await client.create("configmaps", config_map("a", "9"))
        flaky.fault = lambda request: (
            Response(410, (("Content-Type", "application/json"),), orjson.dumps(GONE))
            if "resourceVersion=" in request.query
            else None
        )
        await asyncio.sleep(60)
        assert heard.take() == ["-a=1", "+a=9"]

    virtually(test)


def test_a_handler_that_fails_harms_nobody() -> None:
    async def test() -> None:
        client, _, informer, heard, task = await world(config_maps)
        informer.add_handler(add=lambda obj: 1 // 0)
        late = Heard(informer)
        await client.create("configmaps", config_map("c", "1"))
        await settle()
        assert heard.take()[-1] == late.take()[-1] == "+c=1"
        assert not task.done()

    virtually(test)


def test_resyncs_when_asked_to() -> None:
    async def test() -> None:
        _, _, _, heard, _ = await world(lambda c: Informer(c, "configmaps", label_selector="t", resync=30))
        heard.take()
        await asyncio.sleep(45)
        assert heard.take() == ["~a=11", "~b=11"]

    virtually(test)


def test_a_run_can_be_repeated() -> None:
    async def test() -> list[tuple[float, str]]:
        _, flaky, informer, _, _ = await world(config_maps)
        flaky.fault = lambda request: HttpError("down")
        await flaky.cut()
        await asyncio.sleep(100)
        flaky.fault = lambda request: None
        await asyncio.sleep(1000)
        assert len(informer.cache) == 2
        return [(at, query.replace(informer.version, "N")) for at, query in flaky.asked]

    assert virtually(test) == virtually(test)


def test_metadata_alone() -> None:
    async def test() -> None:
        client = admin(await server())
        await client.create("configmaps", config_map("a", "1"))
        async with Informers(client) as informers:
            informer = informers.get("configmaps", metadata_only=True)
            informers.start()
            await informers.wait_synced()
            await client.create("configmaps", config_map("b", "1"))
            await settle()
            for name in ("a", "b"):
                found = informer.cache.get(name, "kube-public")
                assert found is not None and found["kind"] == "PartialObjectMetadata" and "data" not in found
        page = await client.list("configmaps", "kube-public", metadata_only=True)
        assert page["items"][0]["kind"] == "PartialObjectMetadata"

    virtually(test)


def test_a_family_shares_and_stops_and_tells_of_mutations() -> None:
    async def test() -> None:
        api = await server()
        client = admin(api)
        await client.create("configmaps", config_map("a", "1"))
        informers = Informers(client, rng=random.Random(1), detect_mutation=True)
        informer = informers.get("configmaps")
        informers.start()
        assert informers.get("configmaps") is informer
        late = informers.get("pods", indexers={NODE: by_node})
        await informers.wait_synced()
        assert late.has_synced and informer.has_synced
        found = informer.cache.get("a", "kube-public")
        assert found is not None
        found["data"]["v"] = "mine"
        with pytest.raises(CacheMutated, match="kube-public/a was changed"):
            await informers.aclose()

    virtually(test)


# -- the cache alone --------------------------------------------------------------------------------------------------


def pod(name: str, namespace: str = "n", node: str = "", owner: str = "", **labels: str) -> Obj:
    owners = [{"uid": owner, "controller": True}] if owner else []
    meta = {"name": name, "namespace": namespace, "uid": name, "ownerReferences": owners, "labels": labels}
    return {"metadata": meta, "spec": {"nodeName": node} if node else {}}


def filled(*pods: Obj, **options: Any) -> Cache:
    cache = Cache(indexers={OWNER: by_owner, NODE: by_node}, **options)
    for each in pods:
        cache.put(cache.make(each))
    return cache


def names(objs: list[Obj]) -> list[str]:
    return [obj["metadata"]["name"] for obj in objs]


def test_indexes_follow_changes() -> None:
    cache = filled(pod("a", owner="rs"), pod("b", owner="rs", node="x"), pod("c", "m"))
    assert names(cache.by_index(OWNER, "rs")) == ["a", "b"]
    assert names(cache.by_index(NODE, "")) == ["a", "c"]
    cache.put(cache.make(pod("a", owner="rs", node="x")))
    assert names(cache.by_index(NODE, "x")) == ["b", "a"]
    cache.remove("n/b")
    assert cache.index_keys(OWNER, "rs") == ["n/a"] and names(cache.list("n")) == ["a"]
    cache.remove("n/a")
    assert cache.index_values(OWNER) == [""] and cache.index_values("namespace") == ["m"]
    with pytest.raises(KeyError):
        cache.by_index("unknown", "")
    with pytest.raises(ValueError, match="already started"):
        cache.add_indexers({"more": by_node})


def test_selectors_match_without_decoding() -> None:
    cache = filled(pod("a", app="x"), pod("b", app="y"), pod("c", app="x"), decoded_bytes=1)
    assert names(cache.list("n", parse_label_selector("app=x"))) == ["a", "c"]
    assert cache.record("n/a").labels is cache.record("n/c").labels  # type: ignore[union-attr]
    decoded = [record.key for record in cache.records() if record.obj is not None]
    assert decoded == ["n/c"]


def test_one_object_is_one_object_while_it_is_in_use() -> None:
    cache = filled(*(pod(f"p{number}") for number in range(10)), decoded_bytes=500)
    first = cache.get("p9", "n")
    assert cache.get("p9", "n") is first
    for number in range(9):
        cache.get(f"p{number}", "n")
    assert cache.get("p9", "n") == first
    assert sum(len(r.raw) for r in cache.records() if r.obj is not None) <= 500


def test_mutations_are_found_at_the_next_change() -> None:
    cache = filled(pod("a"), pod("b"), detect_mutation=True)
    cache.check()
    cache.list()[0]["metadata"]["labels"]["new"] = "1"
    with pytest.raises(CacheMutated):
        cache.put(cache.make(pod("c")))


def test_what_is_no_object_is_refused() -> None:
    wrongs: tuple[Any, ...] = ({}, [], {"metadata": {}})
    for wrong in wrongs:
        with pytest.raises(HttpError, match="object has no meta"):
            filled().make(wrong)


def test_keys() -> None:
    assert key_of(pod("a")) == "n/a" and split_key("n/a") == ("n", "a")
    assert key_of({"metadata": {"name": "x"}}) == "x" and split_key("x") == ("", "x")


def test_a_server_in_this_process_gives_objects_to_who_shares_them_and_bytes_to_others() -> None:

    async def test() -> None:
        api = await server()
        client = admin(api)
        plain = await client.watch("configmaps", "kube-public")
        shared = await client.watch("configmaps", "kube-public", shared=True)
        made = await client.create("configmaps", config_map("a", "1"))
        made["data"]["v"] = "2"
        changed = await client.update("configmaps", made)
        await client.delete("configmaps", "a", "kube-public")
        for watch, decoded in ((plain, False), (shared, True)):
            events: list[Event] = []
            while not any(event.type == "DELETED" for event in events):
                events += await watch.batch()
            events = [event for event in events if event.object["metadata"]["name"] == "a"]
            assert [event.type for event in events] == ["ADDED", "MODIFIED", "DELETED"]
            assert [event.raw == b"" for event in events] == [decoded, decoded, False]
            # whatever way it came, it is what a reader of bytes would have read
            assert events[1].object == changed and next(iter(events[1].object["metadata"])) == "resourceVersion"
            assert all(event.size > 100 for event in events)
        await plain.aclose()
        await shared.aclose()
        await api.stop()

    virtually(test)


def test_what_informers_share_nobody_has_changed() -> None:
    """Each takes managedFields out of its own copy of metadata; the store and other readers keep theirs."""

    async def test() -> None:
        api = await server()
        client = admin(api)
        informers = [Informer(client, "configmaps", namespace="kube-public", label_selector="t=t") for _ in range(2)]
        tasks = [asyncio.create_task(informer.run()) for informer in informers]
        for informer in informers:
            await informer.wait_synced()
        await client.create("configmaps", config_map("a", "1"))
        await settle()
        one, other = (informer.cache.get("a", "kube-public") for informer in informers)
        assert one is not None and other is not None and one == other
        assert one["metadata"] is not other["metadata"] and one["data"] is other["data"]
        assert "managedFields" not in one["metadata"]
        stored = await client.get("configmaps", "a", "kube-public")
        assert stored["metadata"].pop("managedFields") and stored == one
        for task in tasks:
            task.cancel()
        await api.stop()

    virtually(test)

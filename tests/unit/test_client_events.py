"""Events as people read them, from a real server in virtual time."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from sampan.client import Client, EventRecorder, HttpError, SeriesRecorder, reference
from tests.virtual import admin, clock, server, virtually

POD = {
    "kind": "Pod", "apiVersion": "v1",
    "metadata": {"name": "web", "namespace": "kube-public", "uid": "u", "resourceVersion": "7"},
}  # fmt: skip


async def recorder() -> tuple[Client, EventRecorder]:
    client = admin(await server())
    made = EventRecorder(client, "kubelet", host="node-1", clock=clock, rng=random.Random(1))
    made.start()
    return client, made


async def events(client: Client, namespace: str = "kube-public") -> list[dict[str, Any]]:
    return await client.items("events", namespace)


def test_an_event_says_who_what_and_when() -> None:
    async def test() -> None:
        client, told = await recorder()
        told.event(reference(POD, "spec.containers{app}"), "Normal", "Pulled", "pulled it", annotations={"a": "b"})
        await told.flush()
        (event,) = await events(client)
        name, _, instant = event["metadata"]["name"].partition(".")
        assert (name, int(instant, 16) - int(1.7e18) in range(256)) == ("web", True)
        assert event["metadata"]["annotations"] == {"a": "b"}
        assert event["involvedObject"] == {
            "kind": "Pod", "apiVersion": "v1", "name": "web", "namespace": "kube-public", "uid": "u",
            "resourceVersion": "7", "fieldPath": "spec.containers{app}",
        }  # fmt: skip
        assert event["source"] == {"component": "kubelet", "host": "node-1"}
        assert (event["reportingComponent"], event["reportingInstance"]) == ("kubelet", "node-1")
        assert event["firstTimestamp"] == event["lastTimestamp"] == "2023-11-14T22:13:20Z"
        assert (event["count"], event["type"], event["reason"], event["message"]) == (
            1,
            "Normal",
            "Pulled",
            "pulled it",
        )
        with pytest.raises(ValueError, match="unsupported event type"):
            told.event(POD, "Odd", "r", "m")

    virtually(test)


def test_components_that_tell_of_one_thing_at_one_instant_do_not_collide() -> None:
    async def test() -> None:
        client = admin(await server())
        for number in range(4):
            made = EventRecorder(client, f"component-{number}", clock=lambda: 1.7e9, rng=random.Random(number))
            made.start()
            made.event(POD, "Normal", "Pulled", "pulled it")
            await made.aclose()
        tried = await client.raw("GET", "/metrics")
        assert len(await events(client)) == 4 and b'code="409"' not in tried

    virtually(test)


def test_the_same_again_is_counted() -> None:
    async def test() -> None:
        client, told = await recorder()
        for _ in range(3):
            told.event(POD, "Warning", "BackOff", "no")
            await asyncio.sleep(60)
        (event,) = await events(client)
        assert (event["count"], event["firstTimestamp"][-9:], event["lastTimestamp"][-9:]) == (
            3, "22:13:20Z", "22:15:20Z",
        )  # fmt: skip
        await client.delete_collection("events", "kube-public")
        told.event(POD, "Warning", "BackOff", "no")
        await told.flush()
        (event,) = await events(client)
        assert event["count"] == 4

    virtually(test)


def test_similar_ones_are_combined_and_too_many_dropped() -> None:
    async def test() -> None:
        client, told = await recorder()
        for number in range(40):
            told.event(POD, "Warning", "Failed", f"attempt {number}")
        await told.flush()
        found = await events(client)
        messages = [event["message"] for event in found if not event["message"].startswith("(")]
        assert messages == [f"attempt {number}" for number in range(9)]
        (combined,) = [event for event in found if event["message"].startswith("(")]
        # 25 of a source about an object, of which nine were written as they were
        assert combined["message"] == "(combined from similar events): attempt 24" and combined["count"] == 16

    virtually(test)


def test_names_that_cannot_be_are_replaced() -> None:
    async def test() -> None:
        client, told = await recorder()
        told.event({"kind": "User", "name": "Bad_Name"}, "Normal", "R", "m")
        await told.flush()
        (event,) = await events(client, "default")
        assert "bad" not in event["metadata"]["name"].lower() and len(event["metadata"]["name"]) == 36

    virtually(test)


def test_recording_outlives_a_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.client.recorder.Recorder.max_queued", 20)

    async def test() -> None:
        client, told = await recorder()
        real, away = client.transport.request, True

        async def request(*arguments: Any, **more: Any) -> Any:
            if away:
                raise HttpError("connection refused")
            return await real(*arguments, **more)

        told.client.transport.request = request  # type: ignore[method-assign]
        for number in range(30):
            told.event({**POD, "metadata": {**POD["metadata"], "name": f"p{number}"}}, "Normal", "R", "m")  # type: ignore[dict-item]
        assert told.dropped == 10
        await asyncio.sleep(15)
        away = False
        await told.flush()
        assert len(await events(client)) == 20
        await told.aclose()

    virtually(test)


def test_series() -> None:
    async def test() -> None:
        client = admin(await server())
        told = SeriesRecorder(client, "default-scheduler", instance="host-1", clock=clock, rng=random.Random(1))
        async with told:
            for _ in range(5):
                told.event(POD, "Warning", "FailedScheduling", "Scheduling", "0/1 nodes are available")
                await told.flush()
                await asyncio.sleep(1)
            (event,) = await events(client)
            assert event["message"] == "0/1 nodes are available" and event["reportingComponent"] == "default-scheduler"
            assert event["series"]["count"] == 2
            await asyncio.sleep(800)
            (event,) = await events(client)
            assert event["series"]["count"] == 5
            told.event(POD, "Warning", "FailedScheduling", "Scheduling", "0/1 nodes are available")
            await told.flush()
            assert len(await events(client)) == 2  # the series was over

    virtually(test)

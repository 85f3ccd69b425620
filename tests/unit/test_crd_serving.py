"""Definitions over time and place: restarts, several API servers, conversion webhooks."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sampan.apiserver.config import ApiServerConfig
from sampan.apiserver.server import ApiServer
from sampan.cluster.certificates import Pki
from tests.conftest import Local
from tests.unit.test_crd import (
    CRDS,
    CRONTABS,
    GROUP,
    MERGE,
    Sink,
    condition,
    crontab,
    define,
    definition,
    until,
    version,
)
from tests.webhook_server import Webhook, serving

BETA = CRONTABS.replace("/v1/", "/v1beta1/")


def certificate(pki: Pki) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    return x509.load_pem_x509_certificate(pki.path("admin.crt").read_bytes()).public_bytes(Encoding.DER)


async def started(pki: Pki, directory: Path) -> Local:
    config = ApiServerConfig(port=0, store="sqlite", data_dir=directory, client_ca_file=pki.path("ca.crt"))
    server = ApiServer(config)
    await server.start()
    return Local(server, certificate(pki))


@pytest.mark.slow
async def test_after_a_restart_all_is_as_it_was(pki: Pki, tmp_path: Path) -> None:
    first = await started(pki, tmp_path)
    crd = await define(first, definition(version(subresources={"status": {}})))
    await first("POST", CRONTABS, crontab("a", image="x"))
    label = {"kube-aggregator.kubernetes.io/automanaged": "true"}
    spec = {"group": "gone.example.com", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 100}
    stale = {"metadata": {"name": "v1.gone.example.com", "labels": label}, "spec": spec}
    services = "/apis/apiregistration.k8s.io/v1/apiservices"
    assert (await first("POST", services, stale))[0] == 201
    await first.server.stop(0)

    second = await started(pki, tmp_path)
    code, found = await second("GET", f"{CRONTABS}/a")
    assert code == 200 and found["spec"] == {"cronSpec": "x", "replicas": 3, "image": "x"}

    async def swept() -> bool:
        return (await second("GET", f"{services}/v1.gone.example.com"))[0] == 404

    await until(swept)
    assert (await second("GET", f"{services}/v1.{GROUP}"))[0] == 200
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["zone"] = {
        "type": "string",
        "default": "north",
    }
    crd["metadata"]["resourceVersion"] = (await second("GET", f"{CRDS}/crontabs.{GROUP}"))[1]["metadata"][
        "resourceVersion"
    ]
    assert (await second("PUT", f"{CRDS}/crontabs.{GROUP}", crd))[0] == 200
    held = crontab("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await second("POST", CRONTABS, held)
    await second("DELETE", f"{CRDS}/crontabs.{GROUP}")
    await second.server.stop(0)

    # the third finds an object of before the change, and a clean-up that was interrupted
    third = await started(pki, tmp_path)

    async def only_held() -> bool:
        return [item["metadata"]["name"] for item in (await third("GET", CRONTABS))[1]["items"]] == ["held"]

    await until(only_held)
    _, found = await third("GET", f"{CRONTABS}/held")
    assert found["spec"]["zone"] == "north"
    await third("PATCH", f"{CRONTABS}/held", {"metadata": {"finalizers": None}}, MERGE)

    async def gone() -> bool:
        return (await third("GET", f"{CRDS}/crontabs.{GROUP}"))[0] == 404

    await until(gone)
    await third.server.stop(0)


# -- conversion webhooks -------------------------------------------------------------------------------------------------


@pytest.fixture
async def webhook(pki: Pki) -> AsyncIterator[Webhook]:
    async with serving(pki) as made:
        made.answer = convert
        yield made


def convert(request: dict[str, Any]) -> dict[str, Any]:
    """v1beta1 calls `spec.image` by another name: `spec.picture`."""
    out = []
    for item in request["objects"]:
        new = copy.deepcopy(item)
        new["apiVersion"] = request["desiredAPIVersion"]
        old, name = ("image", "picture") if new["apiVersion"].endswith("v1beta1") else ("picture", "image")
        if old in new["spec"]:
            new["spec"][name] = new["spec"].pop(old)
        out.append(new)
    return {"result": {"status": "Success"}, "convertedObjects": out}


def converting(webhook: Webhook) -> dict[str, Any]:
    beta = version("v1beta1", storage=False)
    properties = beta["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    properties["picture"] = properties.pop("image")
    client = {"clientConfig": webhook.config("/convert"), "conversionReviewVersions": ["v1"]}
    return definition(version(), beta, conversion={"strategy": "Webhook", "webhook": client})


async def test_a_webhook_converts_what_is_read_and_written(api: Local, webhook: Webhook) -> None:
    await define(api, converting(webhook))
    code, made = await api("POST", BETA, crontab("a", "v1beta1", picture="p"))
    assert code == 201 and made["spec"]["picture"] == "p" and made["apiVersion"] == f"{GROUP}/v1beta1"
    _, stored = await api("GET", f"{CRONTABS}/a")
    assert stored["spec"] == {"cronSpec": "x", "replicas": 3, "image": "p"}
    for target in (f"{BETA}/a", BETA, f"{BETA}?limit=1", f"{BETA}?labelSelector=!x"):
        _, found = await api("GET", target)
        shown = found["items"][0] if "items" in found else found
        assert (shown["apiVersion"], shown["spec"]["picture"]) == (f"{GROUP}/v1beta1", "p")
    asked = len(webhook.seen)
    await api("GET", BETA)
    assert len(webhook.seen) == asked, "what was converted is kept"
    code, patched = await api("PATCH", f"{BETA}/a", {"spec": {"picture": "q"}}, MERGE)
    assert code == 200 and patched["spec"]["picture"] == "q"
    assert (await api("GET", f"{CRONTABS}/a"))[1]["spec"]["image"] == "q"
    code, applied = await api(
        "PATCH", f"{BETA}/b?fieldManager=m", crontab("b", "v1beta1", picture="r"), "application/apply-patch+yaml"
    )
    assert code == 201 and applied["spec"]["picture"] == "r"
    code, deleted = await api("DELETE", f"{BETA}?labelSelector=!x")
    assert code == 200 and {item["spec"]["picture"] for item in deleted["items"]} == {"q", "r"}


async def test_watches_see_converted_objects(api: Local, webhook: Webhook) -> None:
    await define(api, converting(webhook))
    await api("POST", CRONTABS, crontab("a", image="1"))
    seen: list[bytes] = []
    reply = await api.raw("GET", f"{BETA}?watch=1&timeoutSeconds=60")
    assert reply.stream is not None
    watching = asyncio.ensure_future(reply.stream(Sink(seen)))

    async def came(number: int) -> None:
        async def enough() -> bool:
            return b"".join(seen).count(b"\n") == number

        await until(enough)

    await came(1)
    await api("POST", CRONTABS, crontab("b", image="2"))
    await api("PATCH", f"{CRONTABS}/b", {"spec": {"image": "3"}}, MERGE)
    await api("DELETE", f"{CRONTABS}/a")

    await came(4)
    events = [json.loads(line) for line in b"".join(seen).splitlines()]
    told = [(event["type"], event["object"]["spec"]["picture"]) for event in events]
    assert told == [("ADDED", "1"), ("ADDED", "2"), ("MODIFIED", "3"), ("DELETED", "1")]
    watching.cancel()


async def test_a_webhook_that_lies_or_fails_is_told_of(api: Local, webhook: Webhook) -> None:
    await define(api, converting(webhook))
    await api("POST", CRONTABS, crontab("a", image="1"))
    prefix = f"Internal error occurred: conversion webhook for {GROUP}/v1, Kind=CronTab failed: "

    async def refusal(answer: Any) -> str:
        webhook.answer = answer
        code, status = await api("GET", f"{BETA}/a")
        assert code == 500 and status["message"].startswith(prefix), status
        return str(status["message"].removeprefix(prefix))

    failed = {"result": {"status": "Failure", "message": "cannot"}}
    assert await refusal(lambda request: failed) == "cannot"
    assert (
        await refusal(lambda request: {**convert(request), "convertedObjects": []})
        == "expected 1 converted objects, got 0"
    )
    assert "expected response.uid" in await refusal(lambda request: {**convert(request), "uid": "other"})

    def renamed(request: dict[str, Any]) -> dict[str, Any]:
        out = convert(request)
        out["convertedObjects"][0]["metadata"]["name"] = "other"
        return out

    assert "must be equal to input metadata.name a" in await refusal(renamed)

    def labelled(request: dict[str, Any]) -> dict[str, Any]:
        out = convert(request)
        out["convertedObjects"][0]["metadata"] |= {"labels": {"by": "hook"}, "finalizers": ["x/y"]}
        return out

    webhook.answer = labelled
    _, found = await api("GET", f"{BETA}/a")
    assert found["metadata"]["labels"] == {"by": "hook"} and "finalizers" not in found["metadata"]


async def test_a_definition_in_progress_is_told_by_its_conditions(api: Local, webhook: Webhook) -> None:
    crd = await define(api, converting(webhook))
    assert condition(crd, "Established")["status"] == "True"
    assert crd["spec"]["conversion"]["strategy"] == "Webhook"

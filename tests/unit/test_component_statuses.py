"""ComponentStatus: the scheduler and the controllers are well while they watch, the store while it answers."""

from __future__ import annotations

import asyncio
from typing import Any

from sampan.store.contract import Range, Unavailable
from tests.conftest import Local
from tests.unit.test_metrics import Written

STATUSES = "/api/v1/componentstatuses"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


async def health(api: Local) -> dict[str, tuple[str, str]]:
    code, found = await api("GET", STATUSES)
    assert (code, found["kind"]) == (200, "ComponentStatusList")
    return {
        item["metadata"]["name"]: (condition["status"], condition["message"])
        for item in found["items"]
        for condition in item["conditions"]
    }


async def test_who_watches_is_well(api: Local) -> None:
    assert {name: status for name, (status, _) in (await health(api)).items()} == {
        "controller-manager": "False", "etcd-0": "True", "scheduler": "False",
    }  # fmt: skip
    pods = "/api/v1/pods?watch=1"
    reply = await api.raw("GET", pods, user_agent="sampan (kube-controller-manager, kube-scheduler)")
    assert reply.stream is not None
    writer = Written()
    watch = asyncio.ensure_future(reply.stream(writer))
    await asyncio.sleep(0)
    assert await health(api) == dict.fromkeys(("controller-manager", "etcd-0", "scheduler"), ("True", "ok"))
    writer.gone()
    await watch
    assert (await health(api))["scheduler"][0] == "False"


async def test_a_lease_tells_too(api: Local) -> None:
    lease: dict[str, Any] = {
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "kube-scheduler"},
        "spec": {"holderIdentity": "x", "leaseDurationSeconds": 15, "renewTime": "2100-01-01T00:00:00.000000Z"},
    }  # fmt: skip
    assert (await api("POST", LEASES, lease))[0] == 201
    assert (await health(api))["scheduler"] == ("True", "ok")
    stale = {"spec": {"renewTime": "2020-01-01T00:00:00.000000Z"}}
    assert (await api("PATCH", LEASES + "/kube-scheduler", stale, "application/merge-patch+json"))[0] == 200
    assert (await health(api))["scheduler"][0] == "False"


async def test_a_store_that_fails(api: Local) -> None:
    async def broken(*args: Any, **more: Any) -> Range:
        raise Unavailable("the disk is full")

    api.server.api.store.range = broken  # type: ignore[method-assign]
    assert (await health(api))["etcd-0"] == ("False", "the disk is full")


async def test_one_and_none_and_selected(api: Local) -> None:
    code, found = await api("GET", STATUSES + "/etcd-0", accept=TABLE)
    assert (code, found["rows"][0]["cells"]) == (200, ["etcd-0", "Healthy", "ok", ""])
    code, found = await api("GET", STATUSES + "/nobody")
    assert (code, found["message"]) == (404, 'componentstatuses "nobody" not found')
    _, found = await api("GET", STATUSES + "?fieldSelector=metadata.name%3Detcd-0")
    assert [item["metadata"]["name"] for item in found["items"]] == ["etcd-0"]
    assert (await api("GET", STATUSES + "?labelSelector=a%3Db"))[1]["items"] == []
    reply = await api.raw("GET", STATUSES)
    assert ("Warning", '299 - "v1 ComponentStatus is deprecated in v1.19+"') in list(reply.headers)

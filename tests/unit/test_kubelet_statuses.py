"""Statuses on their way to the API server, and calls to a runtime that are not left half done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sampan.client import Client
from sampan.http import ConnectFailed
from sampan.kubelet.cri import whole
from sampan.kubelet.status import status
from sampan.kubelet.statuses import Statuses
from sampan.testing import Cluster
from sampan.testing.inprocess import InProcessTransport
from sampan.testing.parts import ADMIN
from tests.unit.test_kubelet_plan import Obj, seen
from tests.unit.test_kubelet_status import FACTS, with_sandbox


class Door(InProcessTransport):
    """Counts what goes through, and can be shut."""

    writes = 0
    shut = False

    async def request(self, method: str, *arguments: Any, **more: Any) -> Any:
        if self.shut:
            raise ConnectFailed("it is away")
        self.writes += method != "GET"
        return await super().request(method, *arguments, **more)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(controllers=(), scheduler=False) as cluster:
        yield cluster


@pytest.fixture
def door(cluster: Cluster) -> Door:
    return Door(cluster.server.handler, ADMIN)


@pytest.fixture
async def statuses(cluster: Cluster, door: Door) -> AsyncIterator[Statuses]:
    def latest(uid: str) -> Obj | None:
        found = cluster.get("pod/p")
        return found if found is not None and found["metadata"]["uid"] == uid else None

    made = Statuses(Client(door, user_agent="kubelet"), latest)
    yield made
    await made.aclose()


async def made(cluster: Cluster) -> Obj:
    spec = {"nodeName": "n", "containers": [{"name": "a", "image": "image:1"}]}
    return await cluster.client.create("pods", {"metadata": {"name": "p"}, "spec": spec}, "default")


def running(pod: Obj, before: Obj) -> Obj:
    return status(pod, with_sandbox(seen("a")), before, FACTS)


@pytest.mark.slow  # the first write of a process loads what patches are made of
async def test_a_status_is_told_once(cluster: Cluster, statuses: Statuses, door: Door) -> None:
    pod = await made(cluster)
    uid = pod["metadata"]["uid"]
    told = running(pod, statuses.get(pod))
    statuses.set(uid, pod, told)
    assert statuses.get(pod) == told  # before anybody else knows
    found = await cluster.wait_for("pod/p", "status.phase=Running")
    assert found["status"]["containerStatuses"][0]["ready"] and door.writes == 1
    statuses.set(uid, found, running(found, statuses.get(found)))
    statuses.seen(uid, found)
    await cluster.client.patch("pods", "p", {"metadata": {"labels": {"a": "b"}}}, "default")
    statuses.seen(uid, await cluster.wait_for("pod/p", "metadata.labels.a=b"))
    assert door.writes == 1


async def test_what_others_wrote_over_it_is_written_again(cluster: Cluster, statuses: Statuses) -> None:
    pod = await made(cluster)
    uid = pod["metadata"]["uid"]
    statuses.set(uid, pod, running(pod, {}))
    await cluster.wait_for("pod/p", "Ready")
    unready = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    await cluster.client.patch("pods", "p", unready, "default", type="strategic", subresource="status")
    statuses.seen(uid, await cluster.wait_for("pod/p", "Ready=False"))
    await cluster.wait_for("pod/p", "Ready")


async def test_while_the_server_is_away_the_newest_is_kept(cluster: Cluster, statuses: Statuses, door: Door) -> None:
    pod = await made(cluster)
    uid = pod["metadata"]["uid"]
    door.shut = True
    statuses.set(uid, pod, running(pod, {}))
    statuses.set(uid, pod, status(pod, with_sandbox(seen("a", "exited", 1)), {}, FACTS))
    await asyncio.sleep(0)  # the first try fails
    door.shut = False
    found = await cluster.wait_for("pod/p", "status.phase=Running")
    assert found["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 1 and door.writes == 1


async def test_a_pod_that_is_over_is_deleted_if_somebody_asked_for_it(cluster: Cluster, statuses: Statuses) -> None:
    pod = await made(cluster)
    uid = pod["metadata"]["uid"]
    statuses.set(uid, pod, running(pod, {}))
    await cluster.wait_for("pod/p", "Ready")
    await cluster.client.delete("pods", "p", "default", grace_seconds=30)
    deleting = cluster.get("pod/p")
    assert deleting is not None
    statuses.over(uid, deleting)
    await cluster.wait_for("pod/p", "deleted")


async def test_another_pod_of_its_name_is_left_alone(cluster: Cluster, statuses: Statuses) -> None:
    old = await made(cluster)
    await cluster.client.delete("pods", "p", "default", grace_seconds=0)
    new = await made(cluster)
    statuses.set(old["metadata"]["uid"], old, running(old, {}))
    statuses.set(new["metadata"]["uid"], new, status(new, with_sandbox(), {}, FACTS))
    found = await cluster.wait_for("pod/p", lambda pod: bool(pod["status"].get("containerStatuses")))
    assert found["status"]["phase"] == "Pending" and found["metadata"]["uid"] == new["metadata"]["uid"]


async def test_who_is_cancelled_waits_for_what_is_being_made() -> None:
    begun, go, made = asyncio.Event(), asyncio.Event(), []

    async def make() -> None:
        begun.set()
        await go.wait()
        made.append(1)

    task = asyncio.create_task(whole(make()))
    await begun.wait()
    task.cancel()
    asyncio.get_running_loop().call_soon(go.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert made == [1]


def test_an_event_of_what_is_known_is_no_news() -> None:
    from sampan.cri import pb

    there = with_sandbox(seen("a"))
    event = pb.ContainerEventResponse(
        pod_sandbox_status=pb.PodSandboxStatus(id="box", state=pb.SANDBOX_READY),
        containers_statuses=[pb.ContainerStatus(id="a-2.0", state=pb.CONTAINER_RUNNING)],
    )
    assert there.says(event)
    event.containers_statuses[0].state = pb.CONTAINER_EXITED
    assert not there.says(event)

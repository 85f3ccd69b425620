"""A component's own port: who may ask what, how it is, what it counts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sampan.client import Client, WorkQueue
from sampan.client.metrics import Page, Requests, queues_onto
from sampan.cluster.secure_port import NO_PORT, SecurePort
from sampan.http.server.messages import Request, Response

Obj = dict[str, Any]


class Reviews(Client):
    """An API server at which one token is `monitor`, who may get all but /configz."""

    def __init__(self) -> None:
        self.asked: list[Obj] = []

    async def create(self, what: Any, obj: Obj, *_: Any, **__: Any) -> Obj:
        spec = obj["spec"]
        self.asked.append(spec)
        if what == "tokenreviews":
            groups = ["system:authenticated"]
            known = {"authenticated": True, "user": {"username": "monitor", "groups": groups}}
            return {"status": known if spec["token"] == "good" else {"authenticated": False}}
        return {
            "status": {"allowed": spec["user"] == "monitor" and spec["nonResourceAttributes"]["path"] != "/configz"}
        }


@pytest.fixture
def served() -> SecurePort:
    return SecurePort("kube-scheduler", Reviews(), NO_PORT, started=1.0, clock=lambda: 0.0)


async def ask(served: SecurePort, path: str, token: str = "", query: str = "") -> Response:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return await served.app(Request("GET", path, query, headers, list(headers.items()), b""))


def body(reply: Response) -> Obj:
    assert isinstance(reply.body, bytes)
    found: Obj = json.loads(reply.body)
    return found


async def test_who_may_ask(served: SecurePort) -> None:
    assert [(await ask(served, path)).code for path in ("/healthz", "/livez", "/readyz", "/metrics")] == [
        200,
        200,
        200,
        403,
    ]
    said = body(await ask(served, "/metrics"))
    assert (said["reason"], said["message"]) == (
        "Forbidden",
        'forbidden: User "system:anonymous" cannot get path "/metrics"',
    )
    assert (await ask(served, "/healthz", "bad")).code == 401
    assert (await ask(served, "/metrics", "good")).code == 200
    assert body(await ask(served, "/configz", "good"))["message"].startswith('forbidden: User "monitor"')
    attributes = {"path": "/configz", "verb": "get"}
    assert served._client.asked[-1]["nonResourceAttributes"] == attributes  # type: ignore[attr-defined]


async def test_how_it_is(served: SecurePort) -> None:
    served.ready["sched-handler-sync"] = lambda: "handlers are not fully synchronized"
    not_ready = await ask(served, "/readyz")
    assert not_ready.code == 500
    assert not_ready.body == b"[+]ping ok\n[-]sched-handler-sync failed: reason withheld\nreadyz check failed\n"
    alone = await ask(served, "/readyz/sched-handler-sync", "good")
    assert alone.body == b"internal server error: handlers are not fully synchronized\n"
    assert (await ask(served, "/readyz", query="exclude=sched-handler-sync")).code == 200
    with served.shows(lambda page: None, health=["job-controller"]):
        told = (await ask(served, "/healthz", query="verbose")).body
        assert told == b"[+]ping ok\n[+]job-controller ok\nhealthz check passed\n"
    assert (await ask(served, "/healthz")).body == b"ok"
    assert (await ask(served, "/healthz/nothing", "good")).code == 404


async def test_what_is_counted() -> None:
    queue: WorkQueue[str] = WorkQueue("job")
    queue.add("a")
    queue.done(await queue.get())
    queue.add("b")
    asked = Requests()
    asked.done("201", "POST", "api:6443", 0.2)
    page = Page()
    queues_onto(page, [queue])
    asked.onto(page)
    lines = str(page).splitlines()
    for line in (
        'workqueue_adds_total{name="job"} 2',
        'workqueue_depth{name="job"} 1',
        'workqueue_work_duration_seconds_count{name="job"} 1',
        'workqueue_queue_duration_seconds_bucket{name="job",le="+Inf"} 1',
        'rest_client_requests_total{code="201",host="api:6443",method="POST"} 1',
        'rest_client_request_duration_seconds_bucket{host="api:6443",verb="POST",le="0.25"} 1',
        'rest_client_request_duration_seconds_bucket{host="api:6443",verb="POST",le="0.1"} 0',
    ):
        assert line in lines

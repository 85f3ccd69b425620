"""The kubelet's server: who gets in, what a path needs, which container's log is meant, files of the node."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from sampan.api.user import ANONYMOUS, User
from sampan.client import Client
from sampan.client.delegated import Authentication
from sampan.http.server.messages import Request, Writer
from sampan.kubelet.options import Options
from sampan.kubelet.server import metrics, node_logs
from sampan.kubelet.server.authorization import Authorization, subresources, verb_of
from sampan.kubelet.server.configz import configz
from sampan.kubelet.server.container_logs import Refused, container_id, options_of

Obj = dict[str, Any]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/stats/summary", ("stats",)),
        ("/stats", ("stats",)),
        ("/statsx", ("proxy",)),
        ("/metrics", ("metrics",)),
        ("/metrics/cadvisor", ("metrics",)),
        ("/logs/pods/x", ("log",)),
        ("/checkpoint/a/b/c", ("checkpoint",)),
        ("/pods", ("pods", "proxy")),
        ("/runningpods/", ("pods", "proxy")),
        ("/healthz/ping", ("healthz", "proxy")),
        ("/configz", ("configz", "proxy")),
        ("/exec/a/b/c", ("proxy",)),
        ("/containerLogs/a/b/c", ("proxy",)),
    ],
)
def test_what_a_path_needs(path: str, expected: tuple[str, ...]) -> None:
    assert subresources(path) == expected


def test_verbs() -> None:
    assert [verb_of(method) for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")] == [
        "get",
        "create",
        "update",
        "patch",
        "delete",
        "",
    ]


class Reviews(Client):
    """An API server that answers reviews."""

    def __init__(self, **status: Any) -> None:
        self.status = status
        self.asked: list[Obj] = []

    async def create(self, what: Any, obj: Obj, *_: Any, **__: Any) -> Obj:
        self.asked.append(obj)
        return {**obj, "status": self.status}


def request(token: str = "") -> Request:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return Request("GET", "/pods", "", headers, list(headers.items()), b"")


async def test_a_token_is_reviewed_once() -> None:
    client = Reviews(authenticated=True, user={"username": "a", "uid": "1", "groups": ["g"], "extra": {"k": ["v"]}})
    authenticate = Authentication(client, clock=lambda: 0.0)
    for _ in range(3):
        assert await authenticate(request("t")) == User("a", ("g",), "1", {"k": ["v"]})
    assert [each["spec"] for each in client.asked] == [{"token": "t"}]
    assert await Authentication(Reviews(authenticated=False), clock=lambda: 0.0)(request("t")) is None


async def test_the_anonymous() -> None:
    assert await Authentication(None, clock=lambda: 0.0)(request()) is None
    assert await Authentication(None, clock=lambda: 0.0, anonymous=True)(request()) == ANONYMOUS
    assert await Authentication(None, clock=lambda: 0.0)(request("token")) is None


async def test_rights_are_asked_for_once_as_the_nodes_subresource() -> None:
    client = Reviews(allowed=True)
    authorize = Authorization(client, "n1")
    user = User("a", ("g",), "1", {"k": ["v"]})
    assert await authorize(user, "get", "metrics") and await authorize(user, "get", "metrics")
    attributes = {"verb": "get", "version": "v1", "resource": "nodes", "subresource": "metrics", "name": "n1"}
    expected = {"user": "a", "groups": ["g"], "uid": "1", "extra": {"k": ["v"]}, "resourceAttributes": attributes}
    assert [each["spec"] for each in client.asked] == [expected]
    assert not await Authorization(Reviews(allowed=False), "n1")(user, "get", "metrics")
    assert await Authorization(None, "n1")(user, "get", "metrics")


# -- logs --------------------------------------------------------------------------------------------------------------


def pod(**status: Any) -> Obj:
    return {
        "metadata": {"name": "p"},
        "spec": {},
        "status": {"containerStatuses": [{"name": "c", **status}]} if status else {},
    }


RUNS = {"state": {"running": {}}, "containerID": "x://now"}
DEAD = {"terminated": {"containerID": "x://dead"}}


@pytest.mark.parametrize(
    ("status", "previous", "expected"),
    [
        (RUNS, False, "x://now"),
        ({"state": DEAD, "containerID": "x://dead"}, False, "x://dead"),
        ({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": DEAD}, False, "x://dead"),
        ({"state": {"terminated": {}}, "lastState": DEAD}, False, "x://dead"),
        ({**RUNS, "lastState": DEAD}, True, "x://dead"),
        (RUNS, True, 'previous terminated container "c" in pod "p" not found'),
        ({"state": {"terminated": {}}}, False, 'container "c" in pod "p" is terminated'),
        (
            {"state": {"waiting": {"reason": "ContainerCreating"}}},
            False,
            'container "c" in pod "p" is waiting to start: ContainerCreating',
        ),
        (
            {"state": {"waiting": {"reason": "ErrImagePull"}}},
            False,
            'container "c" in pod "p" is waiting to start: image can\'t be pulled',
        ),
        (
            {"state": {"waiting": {"reason": "ImagePullBackOff"}}},
            False,
            'container "c" in pod "p" is waiting to start: trying and failing to pull image',
        ),
        ({"state": {}}, False, 'container "c" in pod "p" is waiting to start - no logs yet'),
        ({}, False, 'container "c" in pod "p" is not available'),
    ],
)
def test_which_life_of_a_container_is_meant(status: Obj, previous: bool, expected: str) -> None:
    try:
        assert container_id(pod(**status), "c", previous) == expected
    except Refused as refused:
        assert (refused.code, str(refused)) == (400, expected)


def test_options() -> None:
    assert options_of({"tail": "5"}).tail_lines == 5 and options_of({"tail": "all"}).tail_lines is None
    for query, code, said in (
        ({"tailLines": "x"}, 400, "Unable to decode query."),
        ({"limitBytes": "0"}, 422, "Invalid request."),
    ):
        with pytest.raises(Refused) as refused:
            options_of(query)
        assert (refused.value.code, str(refused.value)) == (code, f'{{"message": "{said}"}}')


# -- files and pages ---------------------------------------------------------------------------------------------------


class Sink:
    """A writer that is never full."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    async def drain(self) -> None:
        return


async def test_files_of_the_node(tmp_path: Path) -> None:
    (tmp_path / "logs" / "sub").mkdir(parents=True)
    (tmp_path / "logs" / "a&b.log").write_text("said")
    (tmp_path / "secret").write_text("no")
    root = tmp_path / "logs"
    page = node_logs.serve(root, "")
    assert page.code == 200 and b'<a href="a%26b.log">a&amp;b.log</a>\n<a href="sub/">sub/</a>' in bytes(page.body)  # type: ignore[arg-type]
    sink = Sink()
    found = node_logs.serve(root, "a&b.log")
    assert found.stream is not None
    await found.stream(cast(Writer, sink))
    assert sink.data == b"said"
    assert (node_logs.serve(root, "sub").code, dict(node_logs.serve(root, "sub").headers)["Location"]) == (301, "sub/")
    assert node_logs.serve(root, "none").code == 404 and node_logs.serve(root, "../secret").code == 400


def test_configz_speaks_as_the_configuration_does() -> None:
    found = configz(Options(name="n", static_pods=Path("/m"), eviction_pressure_seconds=3725.5, anonymous=True))[
        "kubeletconfig"
    ]
    assert found["staticPodPath"] == "/m" and found["evictionPressureTransitionPeriod"] == "1h2m5.5s"
    assert found["syncFrequency"] == "1m0s" and found["authentication"]["anonymous"] == {"enabled": True}


def test_pages_of_the_kubelet_itself() -> None:
    states: list[Obj] = [
        {"name": str(n), "state": {state: {}}}
        for n, state in enumerate(("running", "running", "terminated", "waiting"))
    ]
    pods: list[Obj] = [{"status": {"phase": "Running", "containerStatuses": states}}, {}]
    page = metrics.own('a"b\\c', pods, {("GET", "pods"): 2}, 5.0)
    assert 'kubelet_running_containers{container_state="running"} 2\n' in page
    assert "kubelet_desired_pods 2\n" in page and "kubelet_running_pods 1\n" in page
    assert 'kubelet_node_name{node="a\\"b\\\\c"} 1\n' in page
    assert (
        'kubelet_http_requests_total{long_running="false",method="GET",path="pods",server_type="readwrite"} 2\n' in page
    )

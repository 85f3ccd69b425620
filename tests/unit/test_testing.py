"""What tests of users do with a cluster: `sampan.testing` and its pytest plugin."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.client import StatusError
from sampan.testing import Cluster, SyncCluster
from sampan.testing.cluster import documents
from sampan.testing.conditions import holds
from sampan.testing.loop import VirtualLoop


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


@pytest.fixture(scope="module")
def calm() -> Iterator[SyncCluster]:
    """Nothing happens in it but what a test does."""
    with SyncCluster(controllers=(), scheduler=False) as made:
        yield made


# -- without async -----------------------------------------------------------------------------------------------------


@pytest.mark.cluster(nodes=0, seed=7, https=True, controllers=(), scheduler=False)
def test_a_mark_may_ask_for_https(cluster: SyncCluster) -> None:
    assert cluster.kubeconfig.exists()


def test_without_https_there_is_no_endpoint() -> None:
    with SyncCluster(https=False, controllers=(), scheduler=False) as cluster:
        cluster.apply(config_map("a"))
        with pytest.raises(RuntimeError, match="no endpoint"):
            _ = cluster.kubeconfig


def test_lists(calm: SyncCluster) -> None:
    calm.apply([config_map("l1"), config_map("l2")])
    assert {"l1", "l2"} <= {found["metadata"]["name"] for found in calm.list("configmaps", "default")}


def test_clients_of_somebody(calm: SyncCluster) -> None:
    calm.client.create("configmaps", config_map("mine", a="b"), "default")
    assert calm.client.get("configmaps", "mine", "default")["data"] == {"a": "b"}
    assert "mine" in {found["metadata"]["name"] for found in calm.client.items("configmaps")}
    with pytest.raises(StatusError, match='User "ada" cannot get resource "configmaps"'):
        calm.as_user("ada").get("configmaps", "mine", "default")
    with pytest.raises(AttributeError, match="async"):
        calm.client.watch("configmaps")


def test_forks(calm: SyncCluster) -> None:
    calm.apply(config_map("both"))
    with calm.fork(calm.snapshot()) as other:
        other.delete("configmap/both")
        assert other.get("configmap/both") is None
        assert calm.get("configmap/both") is not None
        assert other.kubeconfig != calm.kubeconfig


def test_what_is_waited_for_may_ask_the_cluster(calm: SyncCluster) -> None:
    calm.apply(config_map("there", a="b"))
    assert calm.wait_for(lambda: calm.get("configmap/there"))["data"] == {"a": "b"}
    found = calm.wait_for("configmap/there", lambda obj: calm.get("configmap/there") == obj)
    assert found["metadata"]["name"] == "there"

    asked = []

    def when_asked_again() -> bool:
        asked.append(calm.revision)
        calm.apply(config_map("there", times=str(len(asked))))
        calm.advance(hours=1)
        return len(asked) > 2

    assert calm.wait_for(when_asked_again, timeout=4 * 3600)
    assert len(set(asked)) == 3


def test_functions_have_until_the_timeout(calm: SyncCluster) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"was not true within 0 s"):
        calm.wait_for(lambda: calm.get("configmap/nosuch"), timeout=0.05)
    with pytest.raises(TimeoutError, match=r"configmap/nosuch was not .* within 0 s: it is None"):
        calm.wait_for("configmap/nosuch", lambda obj: True, timeout=0.05)

    def restless() -> None:
        calm.apply(config_map("restless", now=str(time.monotonic())))

    with pytest.raises(TimeoutError):
        calm.wait_for(restless, timeout=0.05)
    assert time.monotonic() - began < 10
    with pytest.raises(ZeroDivisionError):
        calm.wait_for(lambda: 1 / 0)


def test_an_idle_day_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = []
    jump = VirtualLoop.jump

    def counted(loop: VirtualLoop, seconds: float) -> None:
        jumps.append(seconds)
        jump(loop, seconds)

    with SyncCluster(2) as cluster:
        cluster.advance(hours=1)
        monkeypatch.setattr(VirtualLoop, "jump", counted)
        cluster.advance(days=1)
    assert sum(jumps) > 86_000 and len(jumps) < 100


# -- what is said of mistakes ------------------------------------------------------------------------------------------


def test_files_that_are_not_there(calm: SyncCluster, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nofile\.yaml"):
        calm.apply("nofile.yaml")
    there = tmp_path / "there.yaml"
    there.write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: from-file}}")
    for source in (there, str(there)):
        assert documents(source)[0]["metadata"]["name"] == "from-file"


def test_text_needs_no_line_end() -> None:
    text = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "' + 5000 * "b" + '"}}'
    assert documents(text)[0]["kind"] == "ConfigMap"
    with pytest.raises(ValueError, match="not an object: 'words'"):
        documents("words\n")


@pytest.mark.parametrize(
    ("obj", "said"),
    [
        ({"metadata": {"generateName": "testing-"}}, "from testing-: cannot use generate name with apply"),
        ({"metadata": {}}, "resource name may not be empty"),
        ({"metadata": None}, "resource name may not be empty"),
        ({"kind": None, "metadata": {"name": "a"}}, r"error validating data: \[kind not set\]"),
    ],
)
def test_what_cannot_be_applied(calm: SyncCluster, obj: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        calm.apply({"apiVersion": "v1", "kind": "ConfigMap", **obj})


def test_unknown_kinds_raise(calm: SyncCluster) -> None:
    for ask in (calm.delete, calm.get):
        with pytest.raises(KeyError, match=r"have a resource type .*nosuch"):
            ask("nosuch/x")
    calm.delete("configmap/nosuch")


# -- conditions --------------------------------------------------------------------------------------------------------

WEB = {
    "metadata": {"generation": 2},
    "status": {
        "observedGeneration": 2,
        "phase": "Running",
        "none": 0,
        "conditions": [
            {"type": "Ready", "status": "True"},
            {"type": "Old", "status": "True", "observedGeneration": 1},
            {"type": "example.com/gate", "status": "False"},
        ],
    },
}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("Ready", True),
        ("Ready=False", False),
        ("condition=Ready", True),
        ("condition=ready=TRUE", True),
        ("condition=Ready=false", False),
        ("condition=Other", False),
        ("condition=example.com/gate", False),
        ("condition=example.com/gate=False", True),
        ("Old", False),
        ("condition=Old", False),
        ("exists", True),
        ("create", True),
        ("deleted", False),
        ("delete", False),
        ("status.phase=Running", True),
        ("status.phase=Failed", False),
        ("jsonpath={.status.phase}=Running", True),
        ("jsonpath=.status.phase=Running", True),
        ('jsonpath={.status.phase}="Running"', True),
        ("jsonpath={.status.phase}=Failed", False),
        ("jsonpath={.status.none}", True),
        ("jsonpath={.status.none}=0", True),
        ("jsonpath={.status.nothing}", False),
        ('jsonpath={.status.conditions[?(@.type=="Ready")].status}=True', True),
        ('jsonpath={.status.conditions[?(@.type=="Ready")].status}', True),
    ],
)
def test_conditions_are_as_kubectl_has_them(condition: str, expected: bool) -> None:
    assert holds(condition, WEB) is expected


def test_conditions_of_what_is_not_there() -> None:
    assert holds("delete", None) and holds("deleted", None)
    assert not holds("create", None) and not holds("condition=Ready", None)


def test_bad_paths_are_refused() -> None:
    for path in ("jsonpath=", "jsonpath={.a[}=b"):
        with pytest.raises(ValueError):
            holds(path, WEB)


# -- the plugin --------------------------------------------------------------------------------------------------------

ASYNC_TEST = """
async def test_it(cluster):
    await cluster.advance(days=1)
"""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-o", "asyncio_mode=auto"), "1 passed"),
        (("-o", "asyncio_mode=strict"), 'set asyncio_mode = "auto"'),
        (("-p", "no:asyncio"), "needs pytest-asyncio 1.4 or later: pip install 'sampan[pytest]'"),
    ],
)
def test_async_tests_say_what_they_need(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(ASYNC_TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(tmp_path)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert said in done.stdout, done.stdout + done.stderr


def test_links_of_the_page_lead_somewhere() -> None:
    docs = Path(__file__).parent.parent.parent / "docs"
    for link in re.findall(r"\]\(([^)#:]+)", (docs / "testing.md").read_text()):
        assert (docs / link).exists(), link


def test_an_async_function_is_waited_for_too() -> None:
    async def main() -> None:
        async with Cluster(controllers=()) as cluster:

            async def there() -> bool:
                found = await cluster.client.list("configmaps", "default")
                return any(item["metadata"]["name"] == "a" for item in found["items"])

            with pytest.raises(TimeoutError):
                await cluster.wait_for(there, timeout=5)
            waiting = asyncio.create_task(cluster.wait_for(there, timeout=5))
            await asyncio.sleep(1)
            await cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
            assert await waiting is True

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())

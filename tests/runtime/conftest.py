"""One runtime of each kind for all tests that leave it running; and one of its own for each test that does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from sampan.runtime import cgroups
from tests.runtime.homes import HOMES, Home, opened
from tests.runtime.pods import Pods

missing = Home.missing


def checked(home: Home) -> Iterator[Home]:
    try:
        yield home
    finally:
        left = home.close()
    assert left == []


@pytest.fixture(scope="session", params=list(HOMES))
def runtime(request: pytest.FixtureRequest) -> Iterator[Home]:
    """Ours and containerd: what is asked of it is CRI's, and so are the answers."""
    kind = HOMES[request.param]
    if why := kind.missing():
        pytest.skip(why)
    yield from checked(opened(kind(inside=True)))


@pytest.fixture
def home() -> Iterator[Home]:
    """Ours alone, and the test's own."""
    if why := Home.missing():
        pytest.skip(why)
    yield from checked(opened(Home()))


@pytest.fixture
async def networked() -> AsyncIterator[Pods]:
    """The same as `own`, with a network for its pods."""
    if why := Home.missing():
        pytest.skip(why)
    home = await asyncio.to_thread(opened, Home(inside=True))
    try:
        async for each in _pods(home):
            yield each
    finally:
        left = await asyncio.to_thread(home.close)
    assert left == []


async def _pods(home: Home) -> AsyncIterator[Pods]:
    pods = Pods(await home.connect(), home)
    yield pods
    if home.process is None:
        home.start()
        pods.cri = await home.connect()
    await pods.remove_all()
    await pods.cri.__aexit__()
    cgroups.remove(f"{home.cgroup}/{pods.tag}")  # the parents are the caller's, here and in life
    assert home.remains({pods.tag, *pods.sandboxes}) == []


@pytest.fixture
async def pods(runtime: Home) -> AsyncIterator[Pods]:
    """What a test leaves is taken down over CRI, and then nothing of it may be left."""
    async for each in _pods(runtime):
        yield each


@pytest.fixture
async def own(home: Home) -> AsyncIterator[Pods]:
    """The same, for the test's own runtime."""
    async for each in _pods(home):
        yield each


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Those that need the same runtime one after the other, whatever file they are in."""
    order = {name: number for number, name in enumerate(HOMES)}

    def kind(item: Any) -> int:
        params = getattr(getattr(item, "callspec", None), "params", {})
        return order.get(str(params.get("runtime")), -1)

    items.sort(key=kind)

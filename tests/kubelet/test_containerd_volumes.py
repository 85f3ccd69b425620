"""The same volumes and environments on containerd."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.kubelet.conftest import NodeUnderTest, made
from tests.kubelet.test_environment import *  # noqa: F403 - its tests are ours, with another runtime
from tests.kubelet.test_volumes import *  # noqa: F403

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[NodeUnderTest]:
    async with made("containerd") as node:
        yield node

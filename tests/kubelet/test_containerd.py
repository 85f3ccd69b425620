"""The same lives of pods on containerd: the kubelet speaks CRI and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.kubelet.conftest import NodeUnderTest, made
from tests.kubelet.test_faults import test_containers_outlive_the_kubelet as test_containers_outlive_the_kubelet
from tests.kubelet.test_lives import *  # noqa: F403 - its tests are ours, with another runtime
from tests.kubelet.test_pods import test_a_pod_runs_and_is_deleted as test_a_pod_runs_and_is_deleted

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[NodeUnderTest]:
    async with made("containerd") as node:
        yield node

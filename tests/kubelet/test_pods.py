"""Pods become containers, and their statuses say how they are."""

from __future__ import annotations

import pytest

from tests.kubelet.conftest import NodeUnderTest
from tests.runtime.homes import IMAGE

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


async def test_a_pod_runs_and_is_deleted(node: NodeUnderTest) -> None:
    name = await node.run({"containers": [node.container("sh", "-c", "echo hello; exec sleep 1000")]})
    pod = await node.running(name)
    import json

    print(json.dumps(pod, indent=1))
    await node.logged(pod, "hello\n")
    await node.delete(name)
    assert await node.events(name) == [
        ("Pulled", f'Container image "{IMAGE}" already present on machine and can be accessed by the pod'),
        ("Created", "Container created"),
        ("Started", "Container started"),
        ("Killing", "Stopping container main"),
    ]

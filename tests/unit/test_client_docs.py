"""The controller of docs/client.md does what the page says."""

from __future__ import annotations

import asyncio
import random
import re
from pathlib import Path
from typing import Any

import pytest

from sampan.client import EventRecorder, Informers
from sampan.testing import Cluster
from tests.virtual import admin, clock, server, virtually

CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
PAGE = Path(__file__).parents[2] / "docs" / "client.md"


def test_the_greeter_greets() -> None:
    code = CODE.findall(PAGE.read_text())[0]
    names: dict[str, Any] = {}
    exec(compile("from __future__ import annotations\n" + code, str(PAGE), "exec"), names)

    async def test() -> None:
        client = admin(await server())
        recorder = EventRecorder(client, "greeter", clock=clock, rng=random.Random(1))
        async with recorder, Informers(client, detect_mutation=True) as informers:
            greeter = names["Greeter"](client, informers, recorder)
            informers.start()
            running = asyncio.create_task(greeter.controller.run())
            await asyncio.sleep(1)
            await client.create("namespaces", {"metadata": {"name": "new"}})
            await client.delete("configmaps", "greeting", "default")
            await asyncio.sleep(1)
            greeted = await client.items("configmaps", field_selector="metadata.name=greeting")
            namespaces = await client.items("namespaces")
            assert len(greeted) == len(namespaces) == 5
            # a namespace is in no namespace: what is said of it stands in `default`
            events = await client.items("events", "default")
            assert {event["involvedObject"]["name"]: event["count"] for event in events}["default"] == 2
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    virtually(test)


@pytest.mark.cluster(nodes=0)
async def test_the_test_of_the_page(cluster: Cluster) -> None:
    """Once the account may do what it does."""
    first, _, test = CODE.findall(PAGE.read_text())
    names: dict[str, Any] = {"asyncio": asyncio}
    exec(compile("from __future__ import annotations\n" + first + test, str(PAGE), "exec"), names)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(30):
            await names["test_every_namespace_is_greeted"](cluster)
    # a group that only service accounts are in
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    group = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts:kube-system"}
    bound = {
        "kind": "ClusterRoleBinding",
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": {"name": "greeter"},
    }
    await cluster.apply({**bound, "roleRef": role, "subjects": [group]})
    await names["test_every_namespace_is_greeted"](cluster)

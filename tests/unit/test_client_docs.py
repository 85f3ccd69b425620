"""The controller of docs/client.md does what the page says."""

from __future__ import annotations

import asyncio
import random
import re
from pathlib import Path
from typing import Any

from sampan.client import EventRecorder, Informers
from tests.virtual import admin, clock, server, virtually

PAGE = Path(__file__).parents[2] / "docs" / "client.md"


def test_the_greeter_greets() -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)[0]
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

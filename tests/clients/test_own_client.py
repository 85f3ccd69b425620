"""Our own client against a cluster as `sampan up` leaves it: kubeconfig, TLS, informers over the wire."""

from __future__ import annotations

import asyncio
import time

import pytest

from sampan.client import Client, EventRecorder, HttpsTransport, Informers, LeaderElector, from_kubeconfig
from tests.conftest import Up

pytestmark = [pytest.mark.clients, pytest.mark.slow]


async def test_informers_events_and_leases_over_tls(up: Up) -> None:
    config = from_kubeconfig(up.kubeconfig)
    async with Client(HttpsTransport(config), user_agent="own-client/1") as client, Informers(client) as informers:
        await client.create("namespaces", {"metadata": {"name": "own-client"}})
        config_maps = informers.get("configmaps", "own-client")
        seen: asyncio.Queue[str] = asyncio.Queue()
        config_maps.add_handler(
            add=lambda obj: seen.put_nowait("+" + obj["metadata"]["name"]),
            delete=lambda obj: seen.put_nowait("-" + obj["metadata"]["name"]),
        )
        informers.start()
        await informers.wait_synced()
        recorder = EventRecorder(client, "own-client", clock=time.time)
        recorder.start()
        elector = LeaderElector(client, "own-client", "lock", identity="me", clock=time.time, recorder=recorder)

        async def lead() -> None:
            names = [f"c{number}" for number in range(50)]
            await asyncio.gather(
                *(client.create("configmaps", {"metadata": {"name": n, "namespace": "own-client"}}) for n in names)
            )
            await client.delete("configmaps", "c7", "own-client")

        async with asyncio.timeout(20):
            await elector.run(lead)
            heard = []
            while "-c7" not in heard:
                heard.append(await seen.get())
        made = {name for name in heard if name.startswith("+c")}
        assert {f"+c{number}" for number in range(50)} <= made
        assert config_maps.cache.get("c8", "own-client") is not None
        await recorder.aclose()
        messages = [event["message"] for event in await client.items("events", "own-client")]
        assert messages == ["me became leader", "me stopped leading"]
        await client.delete("namespaces", "own-client")

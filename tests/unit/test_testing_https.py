"""A test cluster with an endpoint: clients of other threads and processes log in to it, whatever time it thinks it is."""

from __future__ import annotations

import asyncio

from sampan.client import Client, HttpsTransport, from_kubeconfig
from sampan.testing import Cluster, VirtualLoop


def test_certificates_are_good_at_both_clocks_and_for_years() -> None:
    async def main() -> None:
        async with Cluster(nodes=1, https=True) as cluster:
            client = Client(HttpsTransport(from_kubeconfig(cluster.kubeconfig)))
            assert len((await client.list("nodes"))["items"]) == 1
            await client.aclose()
            # the server's clock alone
            cluster._shift += 5 * 366 * 86_400
            client = Client(HttpsTransport(from_kubeconfig(cluster.kubeconfig)))
            assert len((await client.list("nodes"))["items"]) == 1
            await client.aclose()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())

"""What a cluster has besides its control plane: the cluster's DNS, and how to reach the cluster from outside.

    await addons.apply(client, addons.Settings(server=..., ca=...))

Objects are applied as field manager `sampan`, at every `up`. Who changed one of them keeps the change, and the rest of the
object follows the installed version; what was deleted comes back.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from sampan.api.errors import StatusError
from sampan.client import Client
from sampan.client.errors import is_conflict
from sampan.client.resources import of_object
from sampan.cluster.addons import cluster_info, coredns, network
from sampan.cluster.addons.kept import without

Obj = dict[str, Any]
MANAGER = "sampan"


@dataclass(frozen=True, slots=True)
class Settings:
    """`server`, `ca`: the API server as clients outside reach it, and its CA in PEM; without them no `cluster-info`.
    `image`: that of the DNS server; empty: the runtime's built-in one."""

    dns_address: str = "10.96.0.10"
    domain: str = "cluster.local"
    replicas: int = 1
    image: str = ""
    server: str = ""
    ca: str = ""


def objects(settings: Settings) -> list[Obj]:
    """In an order in which they can be made one after the other."""
    out = coredns.objects(
        settings.image or coredns.built_in(), settings.dns_address, settings.domain, settings.replicas
    )
    out += network.objects()
    if settings.server:
        out += cluster_info.objects(settings.server, settings.ca)
    return out


async def apply(client: Client, settings: Settings) -> None:
    """Idempotent. Raises StatusError, HttpError."""
    await asyncio.gather(*(_apply(client, obj) for obj in objects(settings)))


async def _apply(client: Client, obj: Obj) -> None:
    what = of_object(obj)
    while True:
        try:
            await client.apply(what, obj, field_manager=MANAGER)
            return
        except StatusError as error:
            left = without(obj, error.details) if is_conflict(error) else obj
            if left == obj:
                raise
            obj = left

"""What plugins may use."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from sampan.client import Client, Informers
from sampan.scheduler.cluster import Cluster
from sampan.scheduler.hears import Hears
from sampan.scheduler.metrics import Metrics
from sampan.scheduler.nominated import Nominator
from sampan.scheduler.profile import Profile
from sampan.scheduler.volumes import Volumes


@dataclass(slots=True)
class Handle:
    """`spawn`: work beside the loop; `activate`: try a waiting pod (by uid) again;
    `tell`: record an event of a scheduler; `profile`: the plugin's own, once all its plugins are made."""

    client: Client
    informers: Informers
    clock: Callable[[], float]
    rng: random.Random
    hears: Hears
    cluster: Cluster = field(default_factory=Cluster)
    nominator: Nominator = field(default_factory=Nominator)
    scheduler_name: str = "default-scheduler"
    profile: Profile | None = None
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]] = asyncio.create_task
    activate: Callable[[str], None] = lambda uid: None
    tell: Callable[..., None] = lambda scheduler, *event, **more: None
    metrics: Metrics = field(default_factory=Metrics)
    _volumes: Volumes | None = None

    @property
    def volumes(self) -> Volumes:
        """One for all plugins that ask for it."""
        if self._volumes is None:
            self._volumes = Volumes(self.informers, self.hears)
        return self._volumes

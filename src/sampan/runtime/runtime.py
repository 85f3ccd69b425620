"""The runtime, put together: a store, sandboxes, containers, and a socket."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sampan.http.proxies import Proxies
from sampan.runtime import cgroups, oci
from sampan.runtime.builtin import Builtin
from sampan.runtime.conmon import Conmon
from sampan.runtime.containers import Containers
from sampan.runtime.hosts import Hosts
from sampan.runtime.images import Images
from sampan.runtime.layers import Limits
from sampan.runtime.network import Loopback, Network
from sampan.runtime.pull import Puller
from sampan.runtime.registry import Registry
from sampan.runtime.sandboxes import Sandboxes
from sampan.runtime.server import CriServer
from sampan.runtime.service import RuntimeService
from sampan.runtime.stats import Stats
from sampan.runtime.store import Store
from sampan.runtime.streaming import Streaming


@dataclass(frozen=True, slots=True)
class Options:
    """`root` keeps images and records, `run` what is gone with the machine's run anyway."""

    socket: Path
    root: Path
    run: Path
    registries: tuple[Path, ...] = ()
    oci_runtime: str = "runc"
    conmon: str = "conmon"
    #: None: where systemd runs on control groups of version 2
    systemd_cgroups: bool | None = None
    limits: Limits = field(default_factory=Limits)


class Runtime:
    """`clock`: seconds since 1970."""

    def __init__(self, options: Options, *, clock: Callable[[], float], network: Network | None = None) -> None:
        root, run = options.root.absolute(), options.run.absolute()
        self._network = network = network or Loopback()
        self._store = Store(root / "images")
        self._registry = Registry(Hosts(*options.registries), Proxies.from_environment(os.environ))
        systemd = options.systemd_cgroups if options.systemd_cgroups is not None else cgroups.by_systemd()
        found = oci.handlers(options.oci_runtime, root / "bin", systemd=systemd)
        monitors = {handler: Conmon(run, runtime, options.conmon) for handler, runtime in found.items()}
        self._sandboxes = Sandboxes(root, run, network, monitors, clock=clock)
        self._builtin = Builtin()
        self._containers = Containers(root, self._store, self._sandboxes, builtin=self._builtin, clock=clock)
        stats = Stats(self._store.root, self._sandboxes, clock=clock)
        puller = Puller(self._store, self._registry, options.limits)
        images = Images(self._store, puller, used=self._containers.used_layers, clock=clock)
        self._streaming = Streaming(self._containers, self._sandboxes)
        service = RuntimeService(
            self._store, self._sandboxes, self._containers, stats, self._streaming, network, clock=clock
        )
        services: dict[str, object] = {
            "runtime.v1.RuntimeService": service,
            "runtime.v1.ImageService": images,
            "sampan.runtime.v1.Archives": images,
        }
        self._server = CriServer(options.socket, services)
        self._cleaning: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises CriError, OSError."""
        if cgroups.unified():
            cgroups.leave_root(cgroups.mounts()[""])
        self._server.lock()  # before anything is touched that another one may be using
        self._store.open()
        self._builtin.install(self._store)
        await self._sandboxes.open()
        await self._network.start({each.id for each in self._sandboxes.all() if each.state.ready})
        await self._containers.open()
        # what is left of pulls that were cut short; it may be much, and nobody need wait for it
        self._cleaning = asyncio.create_task(self._store.collect(self._containers.used_layers()))
        await self._server.start()

    async def stop(self) -> None:
        """The containers run on."""
        await self._server.stop()
        if self._cleaning is not None:
            self._cleaning.cancel()
        await self._streaming.stop()
        self._containers.close()
        await self._registry.aclose()

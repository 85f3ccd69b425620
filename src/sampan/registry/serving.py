"""The registry as a process: it serves until it is told to end."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from sampan.http.server.limits import Limits
from sampan.http.server.listener import Server
from sampan.registry.app import MOST_MANIFEST, Registry
from sampan.registry.depot import Depot

HOST = "127.0.0.1"


async def serve(directory: Path, port: int, ready: int) -> None:
    """`ready`: the file descriptor that hears of it. Raises OSError."""
    registry, told = Registry(Depot(directory)), asyncio.Event()
    server = Server(
        registry.app,
        ssl_context=None,
        hosts=(HOST,),
        port=port,
        limits=Limits(body=MOST_MANIFEST),
        sinks=registry.sinks,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await server.start()
    os.write(ready, b"ready")
    os.close(ready)
    await told.wait()
    await server.shutdown(5)

"""`python -m sampan.registry DIRECTORY PORT`: serve until told to end."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from sampan.http.server.listener import Server
from sampan.http.server.protocol import Limits
from sampan.registry.app import MOST_MANIFEST, Registry
from sampan.registry.depot import Depot

HOST = "127.0.0.1"


async def serve(directory: Path, port: int) -> None:
    """Raises OSError."""
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
    print(f"serving on {HOST}:{server.port}", flush=True)
    await told.wait()
    await server.shutdown(5)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))

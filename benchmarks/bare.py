"""The least that any server here can take: TLS on uvloop, one fixed reply, nothing read of the request.

What it reaches says how fast the machine is today; the API server's rates are to be read beside it.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from typing import Any

BODY = b"x" * 1024
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


class Bare(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(REPLY)


async def serve(port: int, certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", port, ssl=context)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1]), sys.argv[2], sys.argv[3]))

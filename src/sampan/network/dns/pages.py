"""What is served over HTTP beside the names: /health, /ready, /metrics, each where its directive says.

Source: github.com/coredns/coredns plugin/{health,ready,metrics}
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from sampan.http.server.listener import Server
from sampan.http.server.messages import Request, Response

Page = Callable[[], Response]
TEXT = (("Content-Type", "text/plain; charset=utf-8"),)


@dataclass(slots=True)
class Pages:
    """One address; `pages` by path may be changed at any time. `port` 0 becomes the one that was given."""

    host: str
    port: int
    pages: dict[str, Page] = field(default_factory=dict)
    _server: Server | None = None

    async def open(self) -> None:
        """Raises OSError."""
        hosts = [self.host] if self.host else ["0.0.0.0", "::"] if _has_v6() else ["0.0.0.0"]
        server = Server(self._answer, ssl_context=None, hosts=hosts, port=self.port)
        try:
            await server.start()
        except OSError as error:
            await server.shutdown(0)
            reason = (error.strerror or str(error)).lower()
            if "address already in use" in reason:
                reason = "address already in use"
            raise OSError(error.errno, f"listen tcp {self.host}:{self.port}: bind: {reason}") from None
        self.port = server.port
        self._server = server

    async def close(self) -> None:
        if self._server is not None:
            await self._server.shutdown(0)

    def _answer(self, request: Request) -> Response:
        page = self.pages.get(request.raw_path)
        if page is None or request.method not in ("GET", "HEAD"):
            return Response(404, TEXT, b"404 page not found\n")
        return page()


def _has_v6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True

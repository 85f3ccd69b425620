"""One link of the chain that a question passes through: it answers, or asks the next.

Source: github.com/coredns/coredns plugin/plugin.go
"""

from __future__ import annotations

from sampan.network.dns import wire
from sampan.network.dns.wire import Query, Reply


class Failed(Exception):
    """No answer could be had. `rcode` is what the asker is told, the message what is logged."""

    def __init__(self, rcode: int, message: str) -> None:
        super().__init__(message)
        self.rcode = rcode


class Fatal(Exception):
    """The server must not go on; the message is complete."""


class Plugin:
    """Its Corefile's life: `start`, then answers, then `stop`. One that is not `ready` keeps others from asking."""

    name = ""

    def __init__(self) -> None:
        self.next: Plugin | None = None

    async def serve(self, query: Query) -> Reply:
        """Raises Failed."""
        return await self.pass_on(query)

    async def pass_on(self, query: Query) -> Reply:
        if self.next is None:
            raise Failed(wire.SERVFAIL, f"plugin/{self.name}: no next plugin found")
        return await self.next.serve(query)

    async def start(self) -> None:
        """Before the first question. Raises Fatal."""

    async def started(self) -> None:
        """The sockets are open."""

    async def stop(self) -> None:
        """No question comes any more."""

    def ready(self) -> bool:
        return True

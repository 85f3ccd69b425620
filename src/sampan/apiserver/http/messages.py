"""What the protocol hands to the application, and what it takes back.

The application is one callable, `App`: `app(request)` returns a `Response`, or an awaitable of one where it must wait.
A reply that is there at once is written in the parser's callback, with no task; that is what makes GET fast. A watch or
a log stream returns a `Response` whose `stream` is a callable: it gets a `Writer` once the head is sent and runs as a
task. A hijacked connection (SPDY, WebSocket) returns `Response(101, ..., upgrade=...)`, which gets the raw transport.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Headers = Sequence[tuple[str, str]]


@dataclass(slots=True)
class Request:
    """One request, its body complete.

    `path` is percent-decoded per segment by the router from `raw_path`, which is as it was sent, without the query;
    `query` is the raw query string. `headers`: lower-case names; the first value of each. `header_list` has them all,
    in order. `peer_certificate`: DER of the verified client certificate, the same object for the whole connection.
    """

    method: str
    raw_path: str
    query: str
    headers: dict[str, str]
    header_list: list[tuple[str, str]]
    body: bytes
    connection: Any = None
    peer_certificate: bytes | None = None
    remote: str = ""
    scratch: dict[str, Any] = field(default_factory=dict)


class Writer(Protocol):
    """The sending half of a streamed reply (chunked)."""

    def write(self, data: bytes) -> None:
        """Queue one chunk; never blocks."""

    def pending(self) -> int:
        """Bytes queued and not yet taken by the kernel."""

    async def drain(self) -> None:
        """Until the queue is below the low-water mark. Raises ConnectionError when the peer is gone."""

    @property
    def closed(self) -> bool:
        """The peer has gone, or the server is shutting the stream down."""

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call back once when the peer goes or the server shuts down."""

    def abort(self) -> None:
        """Cut the connection (the chunked body ends without its terminator)."""


StreamBody = Callable[[Writer], Awaitable[None]]
Upgrade = Callable[[Any, bytes], None]


@dataclass(slots=True)
class Response:
    """`body` may be several chunks, which are written without being joined. Content-Length is set from it unless
    `stream` is given. `upgrade(transport, already_read)` takes the connection over after a 101."""

    code: int
    headers: Headers = ()
    body: bytes | Sequence[bytes] = b""
    stream: StreamBody | None = None
    upgrade: Upgrade | None = None
    close: bool = False


App = Callable[[Request], Response | Awaitable[Response]]

"""What the protocol hands to the application, and what it takes back.

The application is one callable, `App`: `app(request)` returns a `Response`, or an awaitable of one where it must wait.
A reply that is there at once is written in the parser's callback, with no task; that is what makes GET fast. A watch or
a log stream returns a `Response` whose `stream` is a callable: it gets a `Writer` once the head is sent and runs as a
task. A hijacked connection (SPDY, WebSocket) returns `Response(101, ..., upgrade=...)`, which gets the raw
connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

Headers = Sequence[tuple[str, str]]


@dataclass(slots=True, repr=False)
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

    def __repr__(self) -> str:
        """Without headers, query and body: whatever prints it must not tell tokens and Secrets."""
        return f"Request({self.method} {self.raw_path})"


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


@runtime_checkable
class ObjectWriter(Protocol):
    """A writer whose reader is in this process, and may want objects as they are."""

    def take(self, kind: str, obj: dict[str, Any], size: int) -> bool:
        """An event of a watch; nobody may change the object from here on. `size`: about how many bytes it would be. False:
        the reader wants bytes."""


class RawConnection(Protocol):
    """A connection after a 101: bytes, both ways."""

    def send(self, data: bytes) -> None:
        """Queue bytes; never blocks."""

    def pending(self) -> int:
        """Bytes queued and not yet taken by the kernel."""

    async def writable(self) -> None:
        """Until the queue is below the high-water mark, or the peer is gone."""

    def pause(self) -> None:
        """Read no more from the peer until `resume`."""

    def resume(self) -> None: ...

    def close(self) -> None:
        """Close once what is queued has gone out."""


class Upgraded(Protocol):
    """What speaks on a connection after a 101. Called in the loop; must not block or raise."""

    def received(self, data: bytes) -> None: ...

    def lost(self) -> None:
        """The peer is gone."""

    def stop(self) -> None:
        """The server is shutting down: end in the protocol's own way."""


class Sink(Protocol):
    """Takes a body while it comes, of any length; the request has it as `scratch["sink"]` then. Called in the loop; must not raise."""

    def write(self, data: bytes) -> None: ...

    def abort(self) -> None:
        """The peer has gone before the end."""


#: method, target and headers of a request whose body begins: what takes it, or None for `Request.body`
Sinks = Callable[[str, str, dict[str, str]], Sink | None]
StreamBody = Callable[[Writer], Awaitable[None]]
Upgrade = Callable[[RawConnection], Upgraded]


@dataclass(slots=True, repr=False)
class Response:
    """`body` may be several chunks, which are written without being joined. Content-Length is set from it unless
    `stream` is given, `upgrade(connection)` takes the connection over after a 101. `patient`: the peer may read a stream as slowly
    as it likes, and not at all for a while, as somebody does who looks at a log page by page."""

    code: int
    headers: Headers = ()
    body: bytes | Sequence[bytes] = b""
    stream: StreamBody | None = None
    upgrade: Upgrade | None = None
    close: bool = False
    patient: bool = False

    def __repr__(self) -> str:
        return f"Response({self.code})"


App = Callable[[Request], Response | Awaitable[Response]]

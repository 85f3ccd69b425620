"""The seam between a `Client` and an API server: HTTPS, or a call in this process.

Body and reply are bytes, without chunk framing; paths are percent-encoded and carry their query. `HttpsTransport`
implements it over sockets, `sampan.testing.inprocess.InProcessTransport` over a handler.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from sampan.http import Reply, Upgraded

if TYPE_CHECKING:
    from sampan.client.watch import Event

Headers = Sequence[tuple[str, str]]


class Stream(Protocol):
    """A reply that goes on: `async for chunk in stream`. `aclose` ends it, at once and more than once."""

    code: int
    headers: dict[str, str]

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def read(self, max_body: int = 1 << 20) -> bytes: ...

    async def aclose(self) -> None: ...


@runtime_checkable
class ObjectStream(Protocol):
    """A stream from a server in this process."""

    def objects(self) -> AsyncIterator[bytes | list[Event]]:
        """As iterating; but events whose objects the server has at hand come with these, which are not to be changed."""


class Transport(Protocol):
    """Raises HttpError where no reply came; replies of any code are replies, after the transport's own retries."""

    async def request(
        self, method: str, path: str, *, headers: Headers = (), body: bytes = b"", timeout: float | None = None
    ) -> Reply: ...

    async def stream(self, path: str, *, headers: Headers = (), timeout: float | None = None) -> Stream:
        """GET; `timeout` is for the head of the reply alone."""

    async def upgrade(self, method: str, path: str, *, headers: Headers, timeout: float | None = None) -> Upgraded:
        """For exec, attach and port-forward."""

    async def aclose(self) -> None: ...

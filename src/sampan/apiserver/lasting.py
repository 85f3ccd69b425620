"""Replies that go on for a while (watches, logs, sessions with containers): how many there are, and when each has ended."""

from __future__ import annotations

from collections.abc import Callable

from sampan.apiserver.metrics import Metrics, scope_of, verb_of
from sampan.apiserver.routing import RequestInfo
from sampan.http.server.messages import RawConnection, Request, Response, StreamBody, Upgrade, Upgraded, Writer


def lasting(reply: Response, info: RequestInfo, request: Request, metrics: Metrics, ended: Callable[[], None]) -> None:
    """`ended` is called when it has; a reply that nobody takes never begins."""
    place = (
        verb_of(info, request), info.group, info.version, info.resource, info.subresource, scope_of(info)
    )  # fmt: skip
    running = metrics.running

    def begin() -> None:
        running[place] = running.get(place, 0) + 1

    def end() -> None:
        running[place] -= 1
        ended()

    if reply.stream is not None:
        reply.stream = _stream(reply.stream, begin, end)
    if reply.upgrade is not None:
        reply.upgrade = _upgrade(reply.upgrade, begin, end)


def _stream(body: StreamBody, begin: Callable[[], None], end: Callable[[], None]) -> StreamBody:
    async def counted(writer: Writer) -> None:
        begin()
        try:
            await body(writer)
        finally:
            end()

    return counted


def _upgrade(upgrade: Upgrade, begin: Callable[[], None], end: Callable[[], None]) -> Upgrade:
    def counted(connection: RawConnection) -> Upgraded:
        begin()
        return _Counted(upgrade(connection), end)

    return counted


class _Counted:
    """What speaks on the connection, until the connection is lost."""

    __slots__ = ("_end", "_inner", "received", "stop")

    def __init__(self, inner: Upgraded, end: Callable[[], None]) -> None:
        self._inner, self._end = inner, end
        self.received, self.stop = inner.received, inner.stop

    def lost(self) -> None:
        self._inner.lost()
        self._end()

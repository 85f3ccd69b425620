"""The receiving half of a connection: bytes in, requests out, within bounds.

httptools calls back here; what it finds too large, too long or malformed the connection refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httptools

from sampan.http.server.messages import Request, Sink

if TYPE_CHECKING:
    from sampan.http.server.protocol import Connection

#: what a transport may give us at once
_READ_SIZE = 256 * 1024
#: what comes with each piece of a body in chunks
_PER_CHUNK = 32


class Reader:
    """`under_way`: a request has begun and not ended."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.limits = connection.limits
        self.sinks = connection.server.sinks
        self.parser: Any = httptools.HttpRequestParser(self)
        self.under_way = False
        #: bytes of the message that is coming: the parser keeps a line until it ends, be it endless
        self._received = 0
        self._reset()

    def _reset(self) -> None:
        self._target = b""
        self._headers: list[tuple[str, str]] = []
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._pieces = 0
        self._sink: Sink | None = None

    def feed(self, data: bytes) -> None:
        self._received += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # where the upgrade was not granted, the rest is the beginning of the next request
            self.parser = httptools.HttpRequestParser(self)
            rest = data[upgrade.args[0] :]
            if rest:
                self.connection.data_received(rest)
        except httptools.HttpParserError as error:
            self.connection.refuse(400, f"malformed request: {error}")
        wanted = self._body_bytes + _PER_CHUNK * self._pieces + 2 * self.limits.headers
        if self._received > wanted + _READ_SIZE:
            self.connection.refuse(431, "request header fields too large")

    def lost(self) -> None:
        if self._sink is not None and self.under_way:
            self._sink.abort()

    # -- the parser's callbacks ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._reset()
        self._received = 0

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > self.limits.headers:
            self.connection.refuse(414, "request URI too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > self.limits.headers or len(self._headers) >= self.limits.header_count:
            self.connection.refuse(431, "request header fields too large")
            return
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        headers = dict(reversed(self._headers))
        length = headers.get("content-length", "")
        if self.sinks is not None:
            self._sink = self.sinks(self.parser.get_method().decode(), self._target.decode("latin-1"), headers)
        if self._sink is None and length.isdigit() and int(length) > self.limits.body:
            self._too_large()
        elif headers.get("expect", "").lower() == "100-continue":
            self.connection.go_on()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._pieces += 1
        if self._sink is not None:
            self.connection.touch()  # it may take long, if only it goes on
            self._sink.write(body)
        elif self._body_bytes > self.limits.body:
            self._too_large()
        elif not self.connection.closing:
            self._body.append(body)

    def on_message_complete(self) -> None:
        connection = self.connection
        if connection.closing:
            return
        self.under_way = False
        path, _, query = self._target.decode("latin-1").partition("?")
        if "://" in path:
            path = "/" + path.partition("://")[2].partition("/")[2]
        request = Request(
            self.parser.get_method().decode(),
            path,
            query,
            dict(reversed(self._headers)),
            self._headers,
            self._body[0] if len(self._body) == 1 else b"".join(self._body),
            connection,
            connection.certificate,
            connection.remote,
        )
        if self._sink is not None:
            request.scratch["sink"], self._sink = self._sink, None
        if not self.parser.should_keep_alive():
            request.scratch["close"] = True
        connection.arrived(request)

    def _too_large(self) -> None:
        message = f"Request entity too large: limit is {self.limits.body}"
        self.connection.refuse(413, message, "RequestEntityTooLarge")

"""SPDY/3.1 frames to bytes and back. No I/O here.

    decoder = Decoder()
    for frame in decoder.feed(data): ...        # raises SpdyError; nothing more can be understood then
    encoder.syn_stream(1, {"streamtype": "error"})

The pieces of a long DATA frame come as they arrive: nothing waits for 16 MB. All other frames, and what their headers
inflate to, are bounded. Headers have lower-case names and one value; values that a sender gave several of are joined by NUL
on the wire, and the first one is what we keep, as Go's `Header.Get` would.

Source: SPDY Protocol, Draft 3.1 (chromium.org); github.com/moby/spdystream/spdy (what Kubernetes' side accepts)
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

VERSION = 3
SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FIN, UNIDIRECTIONAL = 1, 2
PROTOCOL_ERROR, INVALID_STREAM, REFUSED_STREAM, CANCEL = 1, 2, 3, 5
MAX_CONTROL = 32 * 1024
MAX_HEADERS = 64 * 1024
#: of one DATA frame, by its length field
MAX_DATA = (1 << 24) - 1


_NAMES = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)


class SpdyError(Exception):
    """What came is no SPDY/3.1, or more of it than we take."""


def _dictionary() -> bytes:
    """What header blocks are compressed against: common names and values, each after its length, then loose text."""
    names = _NAMES.split()
    names += ["200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"]
    codes = (
        "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
        "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
        "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    )
    text = (
        "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
        "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
        "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
    )
    return b"".join(struct.pack(">I", len(name)) + name.encode() for name in names) + (codes + text).encode()


DICTIONARY = _dictionary()


@dataclass(frozen=True, slots=True)
class Data:
    """A piece of a DATA frame; `fin` with the last piece of the last one."""

    stream: int
    data: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """SYN_STREAM."""

    stream: int
    headers: dict[str, str]
    fin: bool
    unidirectional: bool


@dataclass(frozen=True, slots=True)
class Replied:
    """SYN_REPLY, or HEADERS later on (`late`)."""

    stream: int
    headers: dict[str, str]
    fin: bool
    late: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class Ping:
    id: int


@dataclass(frozen=True, slots=True)
class GoAway:
    last: int


Frame = Data | Opened | Replied | Reset | Ping | GoAway
_FIXED = {RST_STREAM: 8, PING: 4, GOAWAY: 8}


class Decoder:
    """One direction of a connection."""

    def __init__(self) -> None:
        self._held = b""
        self._left = 0
        self._stream = 0
        self._fin = False
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take all of it. Raises SpdyError; frames before the fault have been given then."""
        if self._held:
            data = self._held + data
            self._held = b""
        at, end = 0, len(data)
        while at < end:
            if self._left:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                yield Data(self._stream, piece, self._fin and not self._left)
                continue
            if end - at < 8:
                break
            first, second = struct.unpack_from(">II", data, at)
            flags, length = second >> 24, second & MAX_DATA
            if not first & 0x80000000:
                if not first:
                    raise SpdyError("a DATA frame of no stream")
                at += 8
                self._stream, self._left, self._fin = first, length, bool(flags & FIN)
                if not length:
                    yield Data(first, b"", self._fin)
                continue
            if first >> 16 != 0x8000 | VERSION:
                raise SpdyError(f"SPDY version {(first >> 16) & 0x7FFF} is not supported")
            if length > MAX_CONTROL:
                raise SpdyError(f"a control frame of {length} bytes")
            if end - at - 8 < length:
                break
            body = data[at + 8 : at + 8 + length]
            at += 8 + length
            frame = self._control(first & 0xFFFF, flags, body)
            if frame is not None:
                yield frame
        self._held = data[at:]

    def _control(self, kind: int, flags: int, body: bytes) -> Frame | None:
        if len(body) < (10 if kind == SYN_STREAM else 4) or len(body) != _FIXED.get(kind, len(body)):
            raise SpdyError(f"a control frame of type {kind} with {len(body)} bytes")
        (number,) = struct.unpack_from(">I", body)
        number &= 0x7FFFFFFF
        match kind:
            case 1:
                return Opened(number, self._headers(body[10:]), bool(flags & FIN), bool(flags & UNIDIRECTIONAL))
            case 2 | 8:
                return Replied(number, self._headers(body[4:]), bool(flags & FIN), kind == HEADERS)
            case 3:
                return Reset(number, struct.unpack_from(">I", body, 4)[0])
            case 6:
                return Ping(struct.unpack(">I", body)[0])
            case 7:
                return GoAway(number)
            case 4 | 9:
                return None  # see `session` about windows
        raise SpdyError(f"a control frame of unknown type {kind}")

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, MAX_HEADERS)
        except zlib.error as error:
            raise SpdyError(f"headers that cannot be inflated: {error}") from None
        if self._inflate.unconsumed_tail:
            raise SpdyError(f"headers of more than {MAX_HEADERS} bytes")
        out: dict[str, str] = {}
        try:
            (count,) = struct.unpack_from(">I", plain)
            at = 4
            for _ in range(min(count, len(plain))):
                name, at = _text(plain, at)
                value, at = _text(plain, at)
                out.setdefault(name.lower(), value.partition("\0")[0])
        except struct.error:
            raise SpdyError("headers that are cut short") from None
        return out


def _text(plain: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">I", plain, at)
    end = at + 4 + length
    if end > len(plain):
        raise SpdyError("headers that are cut short")
    return plain[at + 4 : end].decode("latin-1"), end


class Encoder:
    """The other direction. Compression goes from one header block to the next: send in the order of the calls."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def syn_stream(self, stream: int, headers: Mapping[str, str], *, fin: bool = False) -> bytes:
        return _control(SYN_STREAM, FIN if fin else 0, struct.pack(">IIH", stream, 0, 0) + self._headers(headers))

    def syn_reply(self, stream: int, headers: Mapping[str, str] | None = None, *, fin: bool = False) -> bytes:
        return _control(SYN_REPLY, FIN if fin else 0, struct.pack(">I", stream) + self._headers(headers or {}))

    def _headers(self, headers: Mapping[str, str]) -> bytes:
        plain = [struct.pack(">I", len(headers))]
        for name, value in headers.items():
            for text in (name.lower(), value):
                encoded = text.encode("latin-1")
                plain.append(struct.pack(">I", len(encoded)) + encoded)
        return self._deflate.compress(b"".join(plain)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


def data(stream: int, payload: bytes, *, fin: bool = False) -> bytes:
    """At most MAX_DATA bytes."""
    return struct.pack(">II", stream, (FIN << 24 if fin else 0) | len(payload)) + payload


def rst_stream(stream: int, status: int) -> bytes:
    return _control(RST_STREAM, 0, struct.pack(">II", stream, status))


def ping(number: int) -> bytes:
    return _control(PING, 0, struct.pack(">I", number))


def goaway(last: int) -> bytes:
    return _control(GOAWAY, 0, struct.pack(">II", last, 0))


def _control(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack(">II", (0x8000 | VERSION) << 16 | kind, flags << 24 | len(body)) + body

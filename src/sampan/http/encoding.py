"""gzip and deflate, undone piece by piece and never further than asked for."""

from __future__ import annotations

import zlib

from sampan.http.errors import ProtocolError


class Inflater:
    """`feed` what came, `take` at most so much of what it means."""

    __slots__ = ("_coding", "_inflate", "_rest")

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._inflate = zlib.decompressobj(31) if coding == "gzip" else None
        self._rest = b""

    def feed(self, data: bytes) -> None:
        if self._inflate is None and data:
            # "deflate" is zlib's format by the standard, and raw by some servers' mistake
            self._inflate = zlib.decompressobj(15 if data[0] & 0x0F == 8 else -15)
        self._rest = self._rest + data if self._rest else data

    def take(self, limit: int) -> bytes:
        if self._inflate is None or not self._rest:
            return b""
        try:
            out = self._inflate.decompress(self._rest, limit)
        except zlib.error as error:
            raise ProtocolError(f"{self._coding}: invalid header or data: {error}") from None
        self._rest = self._inflate.unconsumed_tail
        return out

    @property
    def complete(self) -> bool:
        return self._inflate is None or self._inflate.eof


def inflater(coding: str) -> Inflater | None:
    """For a Content-Encoding header. Raises ProtocolError for one we did not ask for."""
    match coding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return Inflater("gzip")
        case "deflate":
            return Inflater("deflate")
    raise ProtocolError(f"unsupported content encoding {coding!r}")

"""Replies below the application: heads, dates, compression, and a Status for what never reached it."""

from __future__ import annotations

import email.utils
import time
import zlib
from collections.abc import Sequence
from http import HTTPStatus

import orjson

from sampan.http.server.messages import Response

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


def head(code: int, date: bytes, headers: Sequence[tuple[str, str]]) -> bytes:
    lines = [b"HTTP/1.1 %d %b" % (code, _REASONS.get(code, b"Unknown")), date]
    lines.extend(f"{name}: {value}".encode("utf-8", "replace") for name, value in headers)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def plain_status(code: int, reason: str, message: str) -> Response:
    """A Status for what never reached the application."""
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return Response(code, (("Content-Type", "application/json"),), orjson.dumps(status), close=code != 500)


def compress(chunks: Sequence[bytes]) -> list[bytes]:
    """gzip at level 1: cheaper than encrypting what it saves."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    out = [packer.compress(chunk) for chunk in chunks]
    out.append(packer.flush())
    return [piece for piece in out if piece]


def http_date() -> bytes:
    return b"Date: " + email.utils.formatdate(time.time(), usegmt=True).encode()

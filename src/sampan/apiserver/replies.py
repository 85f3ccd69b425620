"""Replies: objects, lists and errors as responses, with the headers every one has."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import orjson

from sampan.api.errors import StatusError
from sampan.apiserver.negotiation import JSON, PROTOBUF, YAML
from sampan.http.server.messages import Request, Response

WARNING_CHARS, LONG_WARNING_CHARS = 4096, 256
JSON_HEADERS = (("Content-Type", "application/json"), ("Cache-Control", "no-cache, private"))


#: seeded by the system once: to ask it for every reply costs as much as all else that is said there
_ids = random.Random()


def audit_id() -> str:
    """Tells requests apart, and is no secret."""
    raw = f"{_ids.getrandbits(128):032x}"
    return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-a{raw[17:20]}-{raw[20:]}"


def reply(
    body: bytes | Sequence[bytes],
    *,
    code: int = 200,
    media: str = JSON,
    warnings: Sequence[str] = (),
    pretty: bool = False,
) -> Response:
    """An API object (JSON bytes, or protobuf already) in the media type asked for."""
    if media == PROTOBUF:
        body = to_protobuf(body)
    elif media == YAML or pretty:
        joined = body if isinstance(body, bytes) else b"".join(body)
        body = to_yaml(orjson.loads(joined)) if media == YAML else indented(joined)
    headers = [("Audit-Id", audit_id()), ("Cache-Control", "no-cache, private"), ("Content-Type", media)]
    headers.extend(("Warning", warning_header(text)) for text in fitting(warnings))
    return Response(code, headers, body)


def to_protobuf(body: bytes | Sequence[bytes]) -> bytes | Sequence[bytes]:
    from sampan.apiserver import protobuf

    return protobuf.of_json(body)


def indented(body: bytes) -> bytes:
    return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2) + b"\n"


def to_yaml(obj: Any) -> bytes:
    import yaml

    out: bytes = yaml.dump(obj, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False, encoding="utf-8")
    return out


def fitting(warnings: Sequence[str]) -> Sequence[str]:
    """Each once; when they are more than clients can be expected to read as headers, each short and the last left out.

    Source: k8s.io/apiserver/pkg/endpoints/filters/warning.go
    """
    if not warnings:
        return ()
    texts = [text for text in dict.fromkeys(warnings) if text]
    if sum(map(len, texts)) <= WARNING_CHARS:
        return texts
    out, written = [], 0
    for text in texts:
        if written >= WARNING_CHARS:
            break
        out.append(text[:LONG_WARNING_CHARS])
        written += len(out[-1])
    return out


def warning_header(text: str) -> str:
    """`299 - "..."`; control characters become spaces, as they cannot stand in a header."""
    clean = "".join(char if char.isprintable() else " " for char in text)
    return '299 - "' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'


def wants_pretty(request: Request, query: dict[str, str]) -> bool:
    if "pretty" in query:
        return query["pretty"].lower() not in ("0", "false")
    return request.headers.get("user-agent", "").startswith(("curl", "Wget", "Mozilla/5.0"))


def asks_pretty(request: Request) -> bool:
    """Also of a request whose query cannot be read."""
    from urllib.parse import parse_qsl

    asked = parse_qsl(request.query, keep_blank_values=True) if "pretty" in request.query else ()
    return wants_pretty(request, dict(asked))


def error_reply(
    error: StatusError, media: str = JSON, warnings: Sequence[str] = (), *, pretty: bool = False
) -> Response:
    body: bytes | Sequence[bytes] = orjson.dumps(error.status)
    if pretty and media == JSON:
        body = orjson.dumps(error.status, option=orjson.OPT_INDENT_2) + b"\n"
    elif media == YAML:
        body = to_yaml(error.status)
    elif media == PROTOBUF:
        body = to_protobuf(body)
    headers = [("Audit-Id", audit_id()), ("Cache-Control", "no-cache, private"), ("Content-Type", media)]
    headers.extend(error.headers)
    headers.extend(("Warning", warning_header(text)) for text in fitting(warnings))
    return Response(error.code, headers, body)


def text_reply(code: int, text: str) -> Response:
    headers = (
        ("Content-Type", "text/plain; charset=utf-8"),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-cache, private"),
    )
    return Response(code, headers, text.encode())


def too_many_requests() -> Response:
    """429: come again in a second. Source: k8s.io/apiserver/pkg/server/filters/maxinflight.go"""
    reply = text_reply(429, "Too many requests, please try again later.\n")
    return Response(reply.code, (*reply.headers, ("Retry-After", "1")), reply.body)

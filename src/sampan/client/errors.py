"""Refusals of the API server as `StatusError`s, and what to make of them.

Everything a `Client` raises is a `StatusError` (the server said no) or an `HttpError` (no answer came).

Source: k8s.io/apimachinery/pkg/api/errors/errors.go (NewGenericServerResponse), client-go/rest/request.go
"""

from __future__ import annotations

from typing import Any

import orjson

from sampan.api.errors import StatusError
from sampan.api.field import go_quote
from sampan.http import HttpError

_REASONS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed",
    406: "NotAcceptable", 410: "Expired", 413: "RequestEntityTooLarge", 415: "UnsupportedMediaType", 422: "Invalid",
    409: "Conflict", 429: "TooManyRequests", 503: "ServiceUnavailable", 504: "Timeout",
}  # fmt: skip
_WORDS = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    409: "the server reported a conflict",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}


def from_reply(code: int, headers: dict[str, str], body: bytes) -> StatusError:
    """The error a reply means: its Status, or one made of what came."""
    status: Any = None
    if "json" in headers.get("content-type", ""):
        try:
            status = orjson.loads(body)
        except orjson.JSONDecodeError:
            status = None
    kept = tuple((name, headers[name]) for name in ("retry-after", "www-authenticate") if name in headers)
    if isinstance(status, dict) and status.get("kind") == "Status":
        return from_status(status, code, kept)
    said = body[:2048].decode(errors="replace").strip() or "unknown"
    causes = [{"reason": "UnexpectedServerResponse", "message": said}]
    if code in _WORDS:
        text = _WORDS[code]
    elif code >= 500 and code != 503:
        text = f"an error on the server ({go_quote(said)}) has prevented the request from succeeding"
    else:
        text = said
    reason = _REASONS.get(code, "InternalError" if code >= 500 else "Unknown")
    return StatusError(code, reason, text, {"causes": causes}, kept)


def from_status(status: dict[str, Any], code: int = 0, headers: tuple[tuple[str, str], ...] = ()) -> StatusError:
    return StatusError(
        int(status.get("code") or code),
        status.get("reason", ""),
        status.get("message", ""),
        status.get("details"),
        headers,
        status.get("metadata"),
    )


def is_not_found(error: BaseException) -> bool:
    return isinstance(error, StatusError) and (error.reason == "NotFound" or error.code == 404)


def is_already_exists(error: BaseException) -> bool:
    return isinstance(error, StatusError) and error.reason == "AlreadyExists"


def is_conflict(error: BaseException) -> bool:
    return isinstance(error, StatusError) and error.code == 409 and error.reason != "AlreadyExists"


def is_forbidden(error: BaseException) -> bool:
    return isinstance(error, StatusError) and error.code == 403


def is_invalid(error: BaseException) -> bool:
    return isinstance(error, StatusError) and error.code == 422


def is_gone(error: BaseException) -> bool:
    """The revision is too old to resume from."""
    return isinstance(error, StatusError) and (error.code == 410 or error.reason in ("Expired", "Gone"))


def is_too_many_requests(error: BaseException) -> bool:
    return isinstance(error, StatusError) and error.code == 429


def is_namespace_terminating(error: BaseException) -> bool:
    """A create that failed because its namespace is on its way out."""
    if not isinstance(error, StatusError):
        return False
    causes = (error.details or {}).get("causes") or ()
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)


def is_retriable(error: BaseException) -> bool:
    """Nothing is wrong with the request: it may be carried out when made again, unchanged, later."""
    if isinstance(error, StatusError):
        return error.code in (429, 500, 503, 504)
    return isinstance(error, HttpError)


def retry_after(error: BaseException) -> float | None:
    """Seconds that the server asked to wait."""
    if not isinstance(error, StatusError):
        return None
    told = dict(error.headers).get("retry-after", "")
    if told.isdigit():
        return float(told)
    seconds = (error.details or {}).get("retryAfterSeconds")
    return float(seconds) if seconds else None

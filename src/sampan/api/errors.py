"""Errors as the wire knows them.

Every failure that a client sees is a `metav1.Status`. `StatusError` *is* that object: raise it anywhere below the
front door and the reply has its code, reason, message and details. The helpers carry upstream's words, so that no call
site spells a message twice.

    StatusError
      bad_request 400, unauthorized 401, forbidden 403, not_found 404, method_not_supported 405, not_acceptable 406,
      already_exists 409, conflict 409, apply_conflict 409, expired 410, too_large 413, unsupported_media_type 415,
      invalid 422, too_many_requests 429, internal 500, server_timeout 500, unavailable 503, timeout 504

Source: k8s.io/apimachinery/pkg/api/errors/errors.go
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from sampan.api.field import FieldError

Status = dict[str, Any]
#: so many field errors are told of
MAX_CAUSES = 1000


class StatusError(Exception):
    """A refusal with its complete `Status`; `code` and `reason` are shortcuts into it."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: dict[str, Any] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = headers
        self.metadata = metadata or {}

    @property
    def status(self) -> Status:
        out: Status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            out["reason"] = self.reason
        if self.details:
            out["details"] = self.details
        out["code"] = self.code
        return out


def qualified(group: str, resource: str) -> str:
    """A GroupResource as Go prints it: `pods`, `deployments.apps`."""
    return f"{resource}.{group}" if group else resource


def _details(group: str, kind: str, name: str = "", **more: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if name:
        out["name"] = name
    if group:
        out["group"] = group
    if kind:
        out["kind"] = kind
    out.update({key: value for key, value in more.items() if value})
    return out


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def unauthorized(message: str = "Unauthorized") -> StatusError:
    return StatusError(401, "Unauthorized", message)


def forbidden(group: str, resource: str, name: str, why: str) -> StatusError:
    """403; `why` is what stopped it, e.g. `User "a" cannot list ...` or an admission plugin's words."""
    shown = qualified(group, resource)
    if not shown:
        message = f"forbidden: {why}"
    elif name:
        message = f'{shown} "{name}" is forbidden: {why}'
    else:
        message = f"{shown} is forbidden: {why}"
    return StatusError(403, "Forbidden", message, _details(group, resource, name))


def not_found(group: str, resource: str, name: str) -> StatusError:
    message = f'{qualified(group, resource)} "{name}" not found'
    return StatusError(404, "NotFound", message, _details(group, resource, name))


def no_such_path() -> StatusError:
    """404 for an API path that routes to no resource."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_supported(group: str, resource: str, action: str) -> StatusError:
    message = f"{action} is not supported on resources of kind {_quote(qualified(group, resource))}"
    return StatusError(405, "MethodNotAllowed", message, _details(group, resource))


def not_acceptable(accepted: Iterable[str]) -> StatusError:
    message = "only the following media types are accepted: " + ", ".join(accepted)
    return StatusError(406, "NotAcceptable", message)


def already_exists(group: str, resource: str, name: str) -> StatusError:
    message = f'{qualified(group, resource)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, _details(group, resource, name))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(group: str, resource: str, name: str, why: str = MODIFIED) -> StatusError:
    message = f'Operation cannot be fulfilled on {qualified(group, resource)} "{name}": {why}'
    return StatusError(409, "Conflict", message, _details(group, resource, name))


def apply_conflict(causes: list[dict[str, str]], message: str) -> StatusError:
    return StatusError(409, "Conflict", message, {"causes": causes})


def expired(message: str) -> StatusError:
    return StatusError(410, "Expired", message)


def gone(message: str) -> StatusError:
    return StatusError(410, "Gone", message)


def too_large(message: str) -> StatusError:
    return StatusError(413, "RequestEntityTooLarge", message)


def unsupported_media_type(accepted: Iterable[str]) -> StatusError:
    message = "the body of the request was in an unknown format - accepted media types include: "
    return StatusError(415, "UnsupportedMediaType", message + ", ".join(accepted))


def invalid(group: str, kind: str, name: str, errors: Iterable[FieldError]) -> StatusError:
    """422 with one cause per field error; the message lists each distinct one, bracketed when several.

    DEVIATION: upstream lists all, be they a million.
    """
    errors = list(itertools.islice(errors, MAX_CAUSES))
    causes = [{"reason": e.type, "message": e.body, "field": e.field} for e in errors]
    lines = list(dict.fromkeys(str(e) for e in errors))
    shown = lines[0] if len(lines) == 1 else "[" + ", ".join(lines) + "]"
    message = f'{qualified(group, kind)} "{name}" is invalid: {shown}'
    if not errors:
        message = f'{qualified(group, kind)} "{name}" is invalid'
    return StatusError(422, "Invalid", message, _details(group, kind, name, causes=causes))


def unprocessable(why: str) -> StatusError:
    """422 with upstream's generic words for a patch that cannot be carried out.

    DEVIATION: upstream leaves out why; it is a cause here.
    """
    message = "the server rejected our request due to an error in our request"
    return StatusError(422, "Invalid", message, {"causes": [{"message": why}]})


def too_many_requests(message: str, retry_after: int) -> StatusError:
    details = {"retryAfterSeconds": retry_after} if retry_after else {}
    headers = (("Retry-After", str(retry_after)),) if retry_after else ()
    return StatusError(429, "TooManyRequests", message, details, headers)


def internal(error: str) -> StatusError:
    details = {"causes": [{"message": error}]}
    return StatusError(500, "InternalError", f"Internal error occurred: {error}", details)


def server_timeout(group: str, resource: str, action: str, retry_after: int) -> StatusError:
    message = f"The {action} operation against {qualified(group, resource)} could not be completed at this time, please try again."
    return StatusError(500, "ServerTimeout", message, _details(group, resource, retryAfterSeconds=retry_after))


def unavailable(why: str) -> StatusError:
    return StatusError(503, "ServiceUnavailable", why)


def timeout(message: str, retry_after: int = 0) -> StatusError:
    return StatusError(504, "Timeout", f"Timeout: {message}", _details("", "", retryAfterSeconds=retry_after))


def resource_version_too_large(asked: int, current: int) -> StatusError:
    """504 that clients recognise by its cause and retry after a second."""
    message = f"Too large resource version: {asked}, current: {current}"
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    return StatusError(504, "Timeout", f"Timeout: {message}", details, (("Retry-After", "1"),))


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

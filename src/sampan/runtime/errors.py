"""What a CRI call can fail with. Each class is one gRPC status code; the text is what the kubelet shows to people.

CriError            UNKNOWN: what Go's servers answer for any plain error
  NotFound          no such image, sandbox, container
  Invalid           the request makes no sense
  Exists            the name is taken
  Precondition      not in the state it must be in
  Unavailable       a registry that does not answer, a file system that is full
  Unauthorized      a registry that refuses
  Exhausted         more at once than we serve
  Timeout           a command that took longer than it was given
"""

from __future__ import annotations


class CriError(Exception):
    code = "UNKNOWN"


class NotFound(CriError):
    code = "NOT_FOUND"


class Invalid(CriError):
    code = "INVALID_ARGUMENT"


class Exists(CriError):
    code = "ALREADY_EXISTS"


class Precondition(CriError):
    code = "FAILED_PRECONDITION"


class Unavailable(CriError):
    code = "UNAVAILABLE"


class Unauthorized(CriError):
    code = "PERMISSION_DENIED"


class Exhausted(CriError):
    code = "RESOURCE_EXHAUSTED"


class Timeout(CriError):
    code = "DEADLINE_EXCEEDED"

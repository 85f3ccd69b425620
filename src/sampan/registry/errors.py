"""What a registry refuses, in upstream's codes and words.

Source: github.com/distribution/distribution registry/api/v2/errors.go, registry/api/errcode/register.go
"""

from __future__ import annotations

import json

from sampan.http.server.messages import Response

_KNOWN = {
    "BLOB_UNKNOWN": (404, "blob unknown to registry"),
    "BLOB_UPLOAD_INVALID": (404, "blob upload invalid"),
    "BLOB_UPLOAD_UNKNOWN": (404, "blob upload unknown to registry"),
    "DIGEST_INVALID": (400, "provided digest did not match uploaded content"),
    "MANIFEST_BLOB_UNKNOWN": (404, "blob unknown to registry"),
    "MANIFEST_INVALID": (400, "manifest invalid"),
    "MANIFEST_UNKNOWN": (404, "manifest unknown"),
    "NAME_INVALID": (400, "invalid repository name"),
    "NAME_UNKNOWN": (404, "repository name not known to registry"),
    "PAGINATION_NUMBER_INVALID": (400, "invalid number of results requested"),
    "RANGE_INVALID": (416, "invalid content range"),
    "SIZE_INVALID": (400, "provided length did not match content length"),
    "TAG_INVALID": (400, "manifest tag did not match URI"),
    "UNKNOWN": (500, "unknown error"),
    "UNSUPPORTED": (405, "The operation is unsupported."),
}


class Refused(Exception):
    """`detail`: what it is about."""

    def __init__(self, code: str, detail: object = None) -> None:
        self.status, message = _KNOWN[code]
        super().__init__(message)
        self.code, self.message, self.detail = code, message, detail

    def response(self) -> Response:
        error = {"code": self.code, "message": self.message}
        found = error if self.detail is None else {**error, "detail": self.detail}
        headers = (("Content-Type", "application/json; charset=utf-8"),)
        return Response(self.status, headers, json.dumps({"errors": [found]}).encode() + b"\n")

"""What `kubectl logs` asks for, as it stands in a query: read and checked by the API server and the kubelet alike.

Source: kubernetes/pkg/apis/core/validation/validation.go (ValidatePodLogOptions), k8s.io/api/core/v1/types.go (PodLogOptions)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from sampan.api.field import ErrorList, Path
from sampan.api.query import boolean, integer
from sampan.api.times import format_time, parse_time

STREAMS = ("All", "Stderr", "Stdout")
NOT_NEGATIVE, POSITIVE = "must be greater than or equal to 0", "must be greater than 0"


@dataclass(frozen=True, slots=True)
class PodLogOptions:
    """`since_time`: seconds since 1970."""

    container: str = ""
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    since_seconds: int | None = None
    since_time: float | None = None
    tail_lines: int | None = None
    limit_bytes: int | None = None
    stream: str = "All"
    insecure: bool = False

    @property
    def query(self) -> str:
        """As the API server asks a kubelet."""
        out = {name: "true" for name in ("follow", "previous", "timestamps") if getattr(self, name)}
        for name, value in (
            ("sinceSeconds", self.since_seconds),
            ("tailLines", self.tail_lines),
            ("limitBytes", self.limit_bytes),
        ):
            if value is not None:
                out[name] = str(value)
        if self.since_time is not None:
            out["sinceTime"] = format_time(self.since_time)
        return urlencode({**out, "stream": self.stream})


def read(query: Mapping[str, str]) -> PodLogOptions:
    """Raises ValueError in the words of Go's parsers."""
    since = query.get("sinceTime", "")
    try:
        since_time = parse_time(since) if since not in ("", "null") else None
    except ValueError:
        raise ValueError(
            f'parsing time "{since}" as "2006-01-02T15:04:05Z07:00": cannot parse "{since}" as "2006"'
        ) from None
    return PodLogOptions(
        query.get("container", ""),
        boolean(query, "follow"),
        boolean(query, "previous"),
        boolean(query, "timestamps"),
        integer(query, "sinceSeconds"),
        since_time,
        integer(query, "tailLines"),
        integer(query, "limitBytes"),
        query.get("stream") or "All",
        boolean(query, "insecureSkipTLSVerifyBackend"),
    )


def check(options: PodLogOptions) -> ErrorList:
    out = ErrorList()
    if options.tail_lines is not None and options.tail_lines < 0:
        out.invalid(Path("tailLines"), options.tail_lines, NOT_NEGATIVE)
    if options.limit_bytes is not None and options.limit_bytes < 1:
        out.invalid(Path("limitBytes"), options.limit_bytes, POSITIVE)
    if options.since_seconds is not None and options.since_time is not None:
        out.forbidden(Path(""), "at most one of `sinceTime` or `sinceSeconds` may be specified")
    elif options.since_seconds is not None and options.since_seconds < 1:
        out.invalid(Path("sinceSeconds"), options.since_seconds, POSITIVE)
    if options.stream not in STREAMS:
        out.not_supported(Path("stream"), options.stream, STREAMS)
    if options.stream != "All" and options.tail_lines is not None:
        out.forbidden(Path(""), "`tailLines` and specific `stream` are mutually exclusive for now")
    return out

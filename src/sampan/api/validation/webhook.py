"""Where a webhook is: the URL or Service of a client configuration (admission and conversion webhooks alike).

Source: k8s.io/apiserver/pkg/util/webhook/validation.go
"""

from __future__ import annotations

from urllib.parse import urlsplit

from sampan.api import names
from sampan.api.field import ErrorList, Path, go_quote
from sampan.api.kind import Obj

FORM = "; desired format: https://host[/path]"


def validate_webhook_url(url: str, path: Path, out: ErrorList) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port
        if any(char <= " " or char == "\x7f" for char in url):
            raise ValueError("invalid character in URL")
    except ValueError as error:
        out.required(path, f"url must be a valid URL: parse {go_quote(url)}: {error}{FORM}")
        return
    if parts.scheme != "https":
        out.invalid(path, parts.scheme, f"'https' is the only allowed URL scheme{FORM}")
    user, at, host = parts.netloc.rpartition("@")
    if not host:
        out.invalid(path, "", f"host must be provided{FORM}")
    if at:
        out.invalid(path, user, "user information is not permitted in the URL")
    if parts.fragment:
        out.invalid(path, parts.fragment, "fragments are not permitted in the URL")
    if parts.query:
        out.invalid(path, parts.query, "query parameters are not permitted in the URL")


def validate_webhook_service(service: Obj, path: Path, out: ErrorList) -> None:
    if not service.get("name"):
        out.required(path / "name", "service name is required")
    if not service.get("namespace"):
        out.required(path / "namespace", "service namespace is required")
    port = service.get("port", 443)
    problems = names.is_valid_port_num(port)
    if problems:
        out.invalid(path / "port", port, "port is not valid: " + ", ".join(problems))
    where = service.get("path")
    if where in (None, "", "/"):
        return
    if where == "//":
        out.invalid(path / "path", where, "segment[0] may not be empty")
        return
    if not where.startswith("/"):
        out.invalid(path / "path", where, "must start with a '/'")
    for index, step in enumerate(where[1:].removesuffix("/").split("/")):
        if not step:
            out.invalid(path / "path", where, f"segment[{index}] may not be empty")
            continue
        for problem in names.is_dns1123_subdomain(step):
            out.invalid(path / "path", where, f"segment[{index}]: {problem}")

"""URLs, as Go's net/url reads them.

Source: k8s.io/apiserver/pkg/cel/library/urls.go, k8s.io/apiserver/pkg/cel/url.go, Go's net/url
"""

from __future__ import annotations

import re
from typing import NoReturn
from urllib.parse import quote, unquote_plus

from sampan.api.cel.errors import EvaluationError
from sampan.api.cel.functions import Library
from sampan.api.cel.values import Opaque

urls = Library()

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):", re.ASCII)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)
_HOST_SAFE = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:\[\]<>\"%\x80-\U0010ffff]*")
_PORT = re.compile(r":\d*", re.ASCII)
#: what Go leaves unescaped in a path
_PATH_SAFE = "$&+,/:;=@-_.~!'()*[]"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Url(Opaque):
    """`host` with its port; `path` as it was written."""

    __slots__ = ("host", "path", "query", "scheme", "text")
    type_name = "kubernetes.URL"

    def __init__(self, text: str) -> None:
        """Raises ValueError where Go's ParseRequestURI fails."""
        self.text = text
        if _CONTROL.search(text):
            _bad(text, "net/url: invalid control character in URL")
        if not text:
            _bad(text, "empty url")
        match = _SCHEME.match(text)
        self.scheme = match[1].lower() if match else ""
        if match is None and text[0] == ":":
            _bad(text, "missing protocol scheme")
        rest = (text[match.end() :] if match else text).partition("#")[0]
        rest, _, self.query = rest.partition("?")
        if not rest.startswith("/") and not self.scheme:
            _bad(text, "invalid URI for request")
        self.host = ""
        if rest.startswith("//") and (self.scheme or not rest.startswith("///")):
            authority, slash, path = rest[2:].partition("/")
            rest = slash + path
            self.host = authority.rpartition("@")[2]
            self._check_host()
        self.path = rest if rest.startswith("/") or self.host else ""
        bad = _BAD_ESCAPE.search(self.path)
        if bad:
            _bad(text, f'invalid URL escape "{bad.group()}"')

    def _check_host(self) -> None:
        host = self.host
        if host.startswith("["):
            end = host.rfind("]")
            if end < 0:
                _bad(self.text, "missing ']' in host")
            port = host[end + 1 :]
        else:
            port = host[host.rfind(":") :] if ":" in host else ""
        if port and not _PORT.fullmatch(port):
            _bad(self.text, f'invalid port "{port}" after host')
        fine = _HOST_SAFE.match(host)
        if fine is None or fine.end() < len(host):
            _bad(self.text, f'invalid character "{host[fine.end() if fine else 0]}" in host name')

    @property
    def hostname(self) -> str:
        if self.host.startswith("["):
            return self.host[1:].partition("]")[0]
        return self.host.partition(":")[0] if self.host.count(":") == 1 else self.host

    @property
    def port(self) -> str:
        return self.host.rpartition(":")[2] if ":" in self.host.rpartition("]")[2] else ""

    @property
    def escaped_path(self) -> str:
        # what is escaped already stays as it is
        return quote(self.path, safe=f"{_PATH_SAFE}%")

    def parameters(self) -> dict[str, list[str]]:
        out: dict[str, list[str]] = {}
        for part in self.query.split("&"):
            if not part or ";" in part:
                continue
            key, _, value = part.partition("=")
            if _BAD_ESCAPE.search(part):
                continue
            out.setdefault(unquote_plus(key), []).append(unquote_plus(value))
        return out

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Url) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


def _bad(text: str, why: str) -> NoReturn:
    raise ValueError(f'parse "{text}": {why}')


def _url(text: str) -> Url:
    try:
        return Url(text)
    except ValueError as error:
        raise EvaluationError(f"URL parse error during conversion from string: {error}") from None


def url_error(text: str) -> str | None:
    """Why it is no URL."""
    try:
        Url(text)
    except ValueError as error:
        return str(error)
    return None


urls.function("url", "string_to_url", "string -> kubernetes.URL", _url)
urls.function("isURL", "is_url_string", "string -> bool", lambda text: url_error(text) is None)
urls.member("getScheme", "url_get_scheme", "kubernetes.URL -> string", lambda url: url.scheme)
urls.member("getHost", "url_get_host", "kubernetes.URL -> string", lambda url: url.host)
urls.member("getHostname", "url_get_hostname", "kubernetes.URL -> string", lambda url: url.hostname)
urls.member("getPort", "url_get_port", "kubernetes.URL -> string", lambda url: url.port)
urls.member("getEscapedPath", "url_get_escaped_path", "kubernetes.URL -> string", lambda url: url.escaped_path)
urls.member("getQuery", "url_get_query", "kubernetes.URL -> map(string, list(string))", Url.parameters)

"""HTTP proxies: which one a request goes through, as the environment says, and the tunnel for TLS.

HTTPS_PROXY and HTTP_PROXY (or the same in small letters) name one by the request's scheme; NO_PROXY lists hosts, domains,
addresses and ranges that need none. The machine itself never does.

DEVIATION: only proxies that are spoken to in plain HTTP; what is sent to them for TLS origins is encrypted all the same.

Source: golang.org/x/net/http/httpproxy/proxy.go; net/http/transport.go (dialConn)
"""

from __future__ import annotations

import asyncio
import base64
import http
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from sampan.http.errors import ConnectFailed, HttpError, join_host_port, of_dial

MAX_HEAD = 64 << 10
P = TypeVar("P", bound=asyncio.Protocol)
Network = IPv4Network | IPv6Network


class ProxyError(ConnectFailed):
    """It is none that can be used; the text is for people."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """`authorization`: for its header, empty for none."""

    host: str
    port: int
    authorization: str = ""

    @property
    def headers(self) -> str:
        return f"Proxy-Authorization: {self.authorization}\r\n" if self.authorization else ""


def parse(url: str) -> Proxy:
    """Raises ProxyError."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme != "http" or not host:
        raise ProxyError(
            f"proxy {parts.scheme}://{parts.netloc.rpartition('@')[2]}: only http://HOST:PORT is supported"
        )
    given = ":".join(unquote(each) for each in (parts.username or "", parts.password or ""))
    return Proxy(host, port or 80, f"Basic {base64.b64encode(given.encode()).decode()}" if given != ":" else "")


@dataclass(frozen=True, slots=True)
class Proxies:
    """URLs by scheme; `without`: what NO_PROXY has; `always`: nothing is exempt."""

    http: str = ""
    https: str = ""
    without: tuple[str, ...] = ()
    always: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Proxies:

        def found(name: str) -> str:
            return environ.get(name) or environ.get(name.lower()) or ""

        without = tuple(each.strip().lower() for each in found("NO_PROXY").split(",") if each.strip())
        return cls(found("HTTP_PROXY"), found("HTTPS_PROXY"), without)

    @classmethod
    def only(cls, url: str) -> Proxies:
        """This one, whatever is asked for."""
        return cls(url, url, always=True)

    def of(self, host: str, port: int, *, secure: bool) -> Proxy | None:
        """Raises ProxyError."""
        url = self.https if secure else self.http
        return parse(url) if url and (self.always or not self._exempt(host.lower().rstrip("."), port)) else None

    def _exempt(self, host: str, port: int) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            address = None
        if host == "localhost" or (address is not None and address.is_loopback):
            return True
        for each in self.without:
            if each == "*":
                return True
            if (network := _network(each)) is not None:
                if address is not None and address in network:
                    return True
                continue
            name, _, number = each.partition(":")
            if number and number != str(port):
                continue
            name = name.removeprefix("*")
            if host == name or host.endswith(name if name.startswith(".") else f".{name}"):
                return True
        return False


def _network(text: str) -> Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


class _Tunnel(asyncio.Protocol):
    """Until the proxy has said whether it lets us through."""

    def __init__(self, said: asyncio.Future[bytes]) -> None:
        self._said, self._head = said, b""

    def data_received(self, data: bytes) -> None:
        self._head += data
        if not self._said.done() and (b"\r\n\r\n" in self._head or len(self._head) > MAX_HEAD):
            self._said.set_result(self._head)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._said.done():
            self._said.set_exception(ConnectFailed("proxyconnect tcp: EOF"))


async def tunnel(
    proxy: Proxy, factory: Callable[[], P], host: str, port: int, *, context: ssl.SSLContext, name: str, seconds: float
) -> P:
    """TLS to `host` through `proxy`; `seconds`: for the handshake. Raises HttpError, OSError."""
    loop = asyncio.get_running_loop()
    said: asyncio.Future[bytes] = loop.create_future()
    try:
        transport, _ = await loop.create_connection(lambda: _Tunnel(said), proxy.host, proxy.port)
    except OSError as error:
        raise ConnectFailed(f"proxyconnect tcp: {of_dial(error, proxy.host, proxy.port, None)}") from error
    try:
        where = join_host_port(host, port)
        transport.write(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n{proxy.headers}\r\n".encode("latin-1"))
        _check(await said)
        made = factory()
        secure = await loop.start_tls(
            transport, made, context, server_hostname=name, ssl_handshake_timeout=seconds
        )  # fmt: skip
    except BaseException:
        transport.abort()
        raise
    assert secure is not None
    made.connection_made(secure)
    return made


def _check(head: bytes) -> None:
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        raise ConnectFailed("proxyconnect tcp: malformed HTTP response")
    if words[1] != "200":
        known = {each.value: each.phrase for each in http.HTTPStatus}
        raise HttpError(words[2] if len(words) > 2 and words[2] else known.get(int(words[1]), words[1]))

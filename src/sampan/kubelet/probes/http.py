"""GET requests of probes and hooks: where to, with which headers, and what came back.

A connection serves one request. Certificates are not verified. Redirects are followed on the same host; one that leads elsewhere is the
answer itself. Of the body, ten KiB are read.

Source: kubernetes pkg/probe/http/{http,request}.go
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from sampan.http import ConnectionLost, HttpClient, HttpError, TimedOut
from sampan.http.client import Dial, dial
from sampan.http.errors import join_host_port

Obj = dict[str, Any]
MAX_BODY = 10 * 1024
MAX_REDIRECTS = 10
VERSION = "1.37"


class Refused(Exception):
    """The request cannot be made, or no (whole) reply came: the text says why. `body`: the head had come."""

    def __init__(self, message: str, *, body: bool = False) -> None:
        super().__init__(message)
        self.body = body


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    body: str


def port_of(port: int | str, container: Obj) -> int:
    """A number, or the name of one of the container's ports. Raises Refused."""
    if isinstance(port, str):
        for each in container.get("ports") or ():
            if each.get("name") == port:
                port = int(each["containerPort"])
                break
        else:
            if not port.isdigit():
                raise Refused(f'strconv.Atoi: parsing "{port}": invalid syntax')
            port = int(port)
    if not 0 < port < 65536:
        raise Refused(f"invalid port number: {port}")
    return port


def url_of(action: Obj, container: Obj, pod_ip: str) -> str:
    """Raises Refused."""
    scheme = action.get("scheme", "HTTP").lower()
    host = action.get("host") or pod_ip
    path = action.get("path") or "/"
    path = quote(path.partition("#")[0], safe="/?%:@!$&'()*+,;=~[]-._")
    where = join_host_port(host, port_of(action["port"], container))
    return f"{scheme}://{where}{'' if path.startswith('/') else '/'}{path}"


def headers_of(action: Obj, purpose: str) -> list[tuple[str, str]]:
    """The user's own, and what else Kubernetes sends; an empty one takes away what is sent otherwise."""
    given = [(each["name"], each.get("value", "")) for each in action.get("httpHeaders") or ()]
    names = {name.lower() for name, _ in given}
    usual = [("User-Agent", f"kube-{purpose}/{VERSION}"), ("Accept", "*/*")]
    out = [(name, value) for name, value in usual if name.lower() not in names]
    removable = ("user-agent", "accept", "host")
    out += [(name, value) for name, value in given if value or name.lower() not in removable]
    if "accept-encoding" not in names:
        out.append(("Accept-Encoding", ""))
    return [*out, ("Connection", "close")]


async def get(url: str, headers: list[tuple[str, str]], timeout: float | None, connect: Dial = dial) -> Answer:
    """`timeout`: for all of it. Raises Refused."""
    reading = False

    async def follow() -> Answer:
        nonlocal reading, url
        host = urlsplit(url).hostname
        async with HttpClient(ssl_context=_unverified, dial=connect) as client:
            for turn in range(MAX_REDIRECTS + 1):
                stream = await client.stream("GET", url, headers=headers)
                try:
                    location = stream.headers.get("location", "")
                    if stream.code in (301, 302, 303, 307, 308) and location:
                        target = urljoin(url, location)
                        if urlsplit(target).hostname == host:
                            if turn + 1 >= MAX_REDIRECTS:
                                raise Refused(f'Get "{url}": stopped after {MAX_REDIRECTS} redirects')
                            url = target
                            continue
                    reading = True
                    body = b""
                    async for chunk in stream:
                        body += chunk
                        if len(body) >= MAX_BODY:
                            break
                    return Answer(stream.code, body[:MAX_BODY].decode(errors="replace"))
                finally:
                    await stream.aclose()
        raise AssertionError("the last turn returns or raises")

    try:
        async with asyncio.timeout(timeout):
            return await follow()
    except TimeoutError:
        if reading:
            words = "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
            raise Refused(words, body=True) from None
        words = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        raise Refused(f'Get "{url}": {words}') from None
    except HttpError as error:
        if reading:
            cut = isinstance(error, ConnectionLost) and str(error) == "EOF"
            raise Refused("unexpected EOF" if cut else str(error), body=True) from None
        if isinstance(error, TimedOut):
            raise Refused(f'Get "{url}": {error}') from None
        raise Refused(error.at("GET", url)) from None


@functools.cache
def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context

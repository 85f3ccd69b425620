"""A client of registries: documents whole, layers as streams, digests checked, credentials as they ask for them.

Anonymous first; a 401 says whether a token or a password is wanted, and where tokens are to be had. Redirects go without
credentials to other hosts. A download that breaks off goes on where it was. The environment's HTTP proxies are used.

Source: https://distribution.github.io/distribution/spec/ (api, auth/token), containerd core/remotes/docker (messages)
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import http
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode, urljoin, urlsplit

from sampan.http.client import HttpClient
from sampan.http.connection import ResponseStream
from sampan.http.errors import HttpError, TimedOut, TooLarge
from sampan.http.proxies import Proxies
from sampan.runtime import names
from sampan.runtime.errors import CriError, Invalid, NotFound, Unauthorized, Unavailable
from sampan.runtime.hosts import Host, Hosts
from sampan.runtime.manifests import INDEXES, MANIFESTS, MAX_DOCUMENT, Descriptor

ACCEPT = ", ".join((*MANIFESTS, *INDEXES, "*/*"))
HEAD_SECONDS = 30.0
#: a stream from which nothing comes for so long is dead
STALL_SECONDS = 60.0
ATTEMPTS = 4
_REDIRECTS = 10
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Credentials:
    """Secrets are in no `repr`, and so in no log and no traceback."""

    username: str = ""
    password: str = field(default="", repr=False)
    #: a refresh token for the token server
    identity: str = field(default="", repr=False)
    #: a bearer token for the registry itself
    token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class Registry:
    def __init__(self, hosts: Hosts, proxies: Proxies | None = None) -> None:
        self._hosts = hosts
        self._proxies = proxies
        self._clients: dict[ssl.SSLContext | None, HttpClient] = {}
        self._tokens: dict[tuple[str, str, Credentials], tuple[str, float]] = {}

    async def aclose(self) -> None:
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    async def document(self, reference: names.Reference, which: str, auth: Credentials) -> tuple[bytes, str]:
        """A manifest by tag or digest, and its type. Raises CriError."""
        first: CriError | None = None
        for host in self._hosts.of(reference.domain):
            if not host.resolves and not which.startswith("sha256:"):
                continue
            try:
                return await self._document(host, reference, which, auth)
            except CriError as error:
                # what the registry itself says matters most; of a mirror only when nothing else is known
                if first is None or not host.mirror:
                    first = error
        raise first or NotFound(f"{reference}: no host may resolve it")

    async def _document(
        self, host: Host, reference: names.Reference, which: str, auth: Credentials
    ) -> tuple[bytes, str]:
        path = f"/{reference.path}/manifests/{which}"
        async with self._open(host, reference, path, auth, (("Accept", ACCEPT),), f"{reference}") as reply:
            try:
                data = await reply.read(MAX_DOCUMENT)
            except TooLarge:
                raise Invalid(f"document of {reference} is larger than {MAX_DOCUMENT} bytes") from None
            except HttpError as error:
                raise Unavailable(f"failed to read manifest: {error}") from None
            if which.startswith("sha256:"):
                check(data, which)
            return data, reply.headers.get("content-type", "")

    async def blob(
        self, reference: names.Reference, what: Descriptor, auth: Credentials, target: Path,
        tell: Callable[[int], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """Into a file; `tell` hears of every piece how large it is. Raises CriError."""
        first: CriError | None = None
        for host in self._hosts.of(reference.domain):
            try:
                await self._download(host, reference, what, auth, target, tell)
                return
            except CriError as error:
                if first is None or not host.mirror:
                    first = error
        assert first is not None
        raise first

    async def _download(
        self, host: Host, reference: names.Reference, what: Descriptor, auth: Credentials, target: Path,
        tell: Callable[[int], None],
    ) -> None:  # fmt: skip
        path = f"/{reference.path}/blobs/{what.digest}"
        with target.open("wb") as file:
            digest, done = hashlib.sha256(), 0
            for left in reversed(range(ATTEMPTS)):
                headers = (("Accept-Encoding", "identity"), *((("Range", f"bytes={done}-"),) if done else ()))
                try:
                    async with self._open(host, reference, path, auth, headers, what.digest) as reply:
                        if done and reply.code != 206:  # it cannot: from the beginning
                            file.seek(0)
                            file.truncate()
                            digest, done = hashlib.sha256(), 0
                        async for data in _chunks(reply):
                            done += len(data)
                            if done > what.size:
                                raise Invalid(f"{what.digest} is longer than the {what.size} bytes its manifest says")
                            digest.update(data)
                            file.write(data)
                            tell(len(data))
                    break
                except (HttpError, Unavailable) as error:
                    if not left:
                        raise Unavailable(f"failed to copy: {what.digest}: {error}") from None
                    await asyncio.sleep(0.1 * 4 ** (ATTEMPTS - 1 - left))
            if done != what.size or f"sha256:{digest.hexdigest()}" != what.digest:
                raise Invalid(
                    f"unexpected commit digest sha256:{digest.hexdigest()}, expected {what.digest}: failed precondition"
                )

    # -- one request ---------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _open(
        self, host: Host, reference: names.Reference, path: str, auth: Credentials,
        headers: tuple[tuple[str, str], ...], subject: str,
    ) -> AsyncIterator[ResponseStream]:  # fmt: skip
        """A reply of 200 or 206."""
        url = host.base + path
        if host.mirror:
            url += f"?ns={reference.domain}"
        # a mirror is someone else than whom the password is for
        known = auth if not host.mirror else Credentials()
        scope = f"repository:{reference.path}:pull"
        authorization = self._cached(url, scope, known)
        reply = await self._get(host, url, headers, authorization)
        if reply.code == 401:
            challenge = reply.headers.get("www-authenticate", "")
            await reply.aclose()
            authorization = await self._authorize(host, url, challenge, scope, known)
            reply = await self._get(host, url, headers, authorization)
        try:
            if reply.code not in (200, 206):
                raise _refusal(reply, url, subject)
            yield reply
        finally:
            await reply.aclose()

    async def _get(
        self, host: Host, url: str, headers: tuple[tuple[str, str], ...], authorization: str
    ) -> ResponseStream:
        origin = urlsplit(url).netloc
        for _ in range(_REDIRECTS):
            sent = [("User-Agent", "sampan"), *headers]
            at_home = urlsplit(url).netloc == origin
            if at_home:  # what is secret is no business of whoever it redirects to
                sent += [*host.headers, *([("Authorization", authorization)] if authorization else ())]
            client = self._client(host.context if at_home else None)
            try:
                reply = await client.stream("GET", url, headers=sent, timeout=HEAD_SECONDS)
            except HttpError as error:
                raise Unavailable(f"failed to do request: {error.at('GET', shown(url))}") from None
            if reply.code not in (301, 302, 303, 307, 308):
                return reply
            await reply.aclose()
            url = urljoin(url, reply.headers.get("location", ""))
        raise Unavailable(f"failed to do request: stopped after {_REDIRECTS} redirects")

    def _client(self, context: ssl.SSLContext | None) -> HttpClient:
        found = self._clients.get(context)
        if found is None:
            found = self._clients[context] = HttpClient(ssl_context=context, proxies=self._proxies)
        return found

    # -- credentials ---------------------------------------------------------------------------------------------------

    def _cached(self, url: str, scope: str, auth: Credentials) -> str:
        if auth.token:
            return f"Bearer {auth.token}"
        token, until = self._tokens.get((urlsplit(url).netloc, scope, auth), ("", 0.0))
        return token if until > asyncio.get_running_loop().time() else ""

    async def _authorize(self, host: Host, url: str, challenge: str, scope: str, auth: Credentials) -> str:
        """Raises Unauthorized."""
        method = challenge.partition(" ")[0].lower()
        if method == "basic":
            if not auth.username:
                raise Unauthorized("authorization failed: no basic auth credentials")
            found, seconds = auth.basic, 3600.0
        elif method == "bearer":
            given = dict(_CHALLENGE.findall(challenge))
            if not given.get("realm"):
                raise Unauthorized("failed to authorize: no realm specified for token auth challenge")
            token, seconds = await self._token(host, given, given.get("scope") or scope, auth)
            found = f"Bearer {token}"
        else:
            raise Unauthorized(
                "pull access denied, repository does not exist or may require authorization: authorization failed"
            )
        if len(self._tokens) > 1000:
            self._tokens.clear()
        until = asyncio.get_running_loop().time() + seconds
        self._tokens[(urlsplit(url).netloc, scope, auth)] = found, until
        return found

    async def _token(self, host: Host, given: dict[str, str], scope: str, auth: Credentials) -> tuple[str, float]:
        realm, service = given["realm"], given.get("service", "")
        fields = {"service": service, "scope": scope}
        client = self._client(host.context if urlsplit(realm).netloc == urlsplit(host.base).netloc else None)
        kind = "anonymous token" if not (auth.username or auth.identity) else "oauth token"
        try:
            if auth.identity:
                form = {**fields, "grant_type": "refresh_token", "client_id": "sampan", "refresh_token": auth.identity}
                headers = [("Content-Type", "application/x-www-form-urlencoded")]
                reply = await client.request(
                    "POST", realm, headers=headers, body=urlencode(form).encode(), timeout=HEAD_SECONDS
                )
            else:
                headers = [("Authorization", auth.basic)] if auth.username else []
                url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(fields)}"
                reply = await client.request("GET", url, headers=headers, timeout=HEAD_SECONDS)
        except HttpError as error:
            raise Unavailable(f"failed to authorize: failed to fetch {kind}: {error.at('GET', shown(realm))}") from None
        if reply.code != 200:
            status = f"{reply.code} {_phrase(reply.code)}"
            raise Unauthorized(
                f"failed to authorize: failed to fetch {kind}: unexpected status from GET request to {shown(realm)}: {status}"
            )
        try:
            found = json.loads(reply.body)
            token = found.get("token") or found.get("access_token")
            seconds = float(found.get("expires_in") or 60)
        except (ValueError, TypeError, AttributeError):
            token, seconds = None, 0.0
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
            raise Unauthorized(f"failed to authorize: failed to fetch {kind}: no token in the reply")
        return token, max(seconds - 10, 0)


async def _chunks(reply: ResponseStream) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                data = await anext(reply)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise TimedOut(f"no data for {STALL_SECONDS:g}s") from None
        yield data


def _refusal(reply: ResponseStream, url: str, subject: str) -> CriError:
    if reply.code == 404:
        return NotFound(f"{subject}: not found")
    if reply.code in (401, 403):
        message = "pull access denied, repository does not exist or may require authorization: "
        return Unauthorized(message + _server_words(reply))
    return Unavailable(f"unexpected status from GET request to {shown(url)}: {reply.code} {_phrase(reply.code)}")


def _server_words(reply: ResponseStream) -> str:
    if 'error="insufficient_scope"' in reply.headers.get("www-authenticate", ""):
        return "server message: insufficient_scope: authorization failed"
    return "authorization failed"


def shown(url: str) -> str:
    """For people: without a password, and without the signatures that storage services put into queries."""
    parts = urlsplit(url)
    query = "&".join(f"{pair.partition('=')[0]}=[REDACTED]" for pair in parts.query.split("&") if pair)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query).geturl()


def _phrase(code: int) -> str:
    try:
        return http.HTTPStatus(code).phrase
    except ValueError:
        return ""


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def check(data: bytes, digest: str) -> None:
    """Raises Invalid."""
    found = digest_of(data)
    if found != digest:
        raise Invalid(f"unexpected commit digest {found}, expected {digest}: failed precondition")

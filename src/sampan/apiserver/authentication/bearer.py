"""Bearer tokens: from the request's header (or a WebSocket's subprotocol) to whoever knows tokens of that kind.

All are asked in order; the first that knows the token decides, and what the others said against it is told in the log
and in a TokenReview, never in the 401. What was verified is believed for ten seconds, as upstream does, as long as the
objects that the token hangs on are the very same records in the watch cache: a deleted Pod ends its tokens at once.

Source: k8s.io/apiserver/pkg/authentication/request/{bearertoken,websocket}, token/{union,cache},
pkg/authentication/authenticator/audagnostic.go
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from sampan.api import errors
from sampan.api.frozen import frozen
from sampan.api.user import User, authenticated
from sampan.apiserver.cache import Record, ResourceCache
from sampan.http.server.messages import Request

log = logging.getLogger("sampan.apiserver")
BELIEVED_SECONDS = 10.0
MOST_KNOWN = 8192
SUBPROTOCOL = "base64url.bearer.authorization.k8s.io."
INVALID = "invalid bearer token"
Audiences = tuple[str, ...]


class BadToken(Exception):
    """Known, and refused. Its text is shown to whoever may create TokenReviews: it never contains the token."""


@frozen
class Verified:
    """`audiences` None: the token says nothing of audiences, it is the API server's. `until`: when it must be verified
    again (0: every time). `seen`: what it hangs on."""

    user: User
    audiences: Audiences | None = None
    until: float = 0.0
    seen: tuple[tuple[ResourceCache, str, Record], ...] = ()


@frozen
class Refused:
    why: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Upstream asks the authenticator of its own loopback token first, which says just this."""
        said = list(dict.fromkeys([INVALID, *self.why]))
        return said[0] if len(said) == 1 else f"[{', '.join(said)}]"


Outcome = Verified | Refused
Answer = Verified | None


class TokenAuthenticator(Protocol):
    def verify(self, token: str, audiences: Audiences) -> Answer | Awaitable[Answer]:
        """None: not a token of this kind. Raises BadToken."""


class BearerTokens:
    """`audiences`: the API server's own."""

    def __init__(
        self, authenticators: Sequence[TokenAuthenticator], audiences: Audiences, clock: Callable[[], float]
    ) -> None:
        self.authenticators = tuple(authenticators)
        self.audiences = audiences
        self._clock = clock
        self._known: dict[str, Verified] = {}

    def authenticate(self, request: Request) -> User | Awaitable[User] | None:
        token = token_of(request)
        if not token:
            return None
        known = self._known.get(token)
        if known is not None and self._clock() < known.until and _unchanged(known):
            _forget(request)
            return known.user
        outcome = self.ask(token, self.audiences)
        if isinstance(outcome, Verified | Refused):
            return self._conclude(request, token, outcome)
        return self._later(request, token, outcome)

    async def _later(self, request: Request, token: str, outcome: Awaitable[Outcome]) -> User:
        return self._conclude(request, token, await outcome)

    def _conclude(self, request: Request, token: str, outcome: Outcome) -> User:
        if isinstance(outcome, Refused):
            self._known.pop(token, None)
            log.info("unable to authenticate the request: %s", outcome)
            raise errors.unauthorized()
        if outcome.until:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[token] = outcome
        _forget(request)
        return outcome.user

    def ask(self, token: str, audiences: Audiences) -> Outcome | Awaitable[Outcome]:
        """Whose token it is, for one of `audiences`."""
        why: list[str] = []
        for index, authenticator in enumerate(self.authenticators):
            try:
                answer = authenticator.verify(token, audiences)
            except BadToken as error:
                why.append(str(error))
                continue
            if answer is None:
                continue
            if not isinstance(answer, Verified):
                return self._ask_on(token, audiences, answer, index + 1, why)
            found = self._suits(answer, audiences)
            if found is not None:
                return found
        return Refused(tuple(why))

    async def _ask_on(
        self, token: str, audiences: Audiences, waiting: Awaitable[Answer], index: int, why: list[str]
    ) -> Outcome:
        """Where one of them had to wait."""
        answer: Answer | Awaitable[Answer] = None
        try:
            answer = await waiting
        except BadToken as error:
            why.append(str(error))
        while not isinstance(answer, Verified) and index < len(self.authenticators):
            try:
                answer = self.authenticators[index].verify(token, audiences)
                if answer is not None and not isinstance(answer, Verified):
                    answer = await answer
            except BadToken as error:
                why.append(str(error))
            index += 1
        found = self._suits(answer, audiences) if isinstance(answer, Verified) else None
        return found or Refused(tuple(why))

    def _suits(self, answer: Verified, audiences: Audiences) -> Verified | None:
        shared = answer.audiences
        if shared is None:
            shared = tuple(name for name in self.audiences if name in audiences)
            if not shared:
                return None
        now = self._clock()
        until = min(answer.until, now + BELIEVED_SECONDS)
        return Verified(authenticated(answer.user), shared, until, answer.seen)


def _unchanged(known: Verified) -> bool:
    return all(cache.records.get(key) is record for cache, key, record in known.seen)


def token_of(request: Request) -> str:
    """Empty: the request has none."""
    header = request.headers.get("authorization")
    if header:
        parts = header.strip().split(" ")
        if len(parts) >= 2 and parts[0].lower() == "bearer" and parts[1]:
            return parts[1]
    if "sec-websocket-protocol" in request.headers and request.headers.get("upgrade", "").lower() == "websocket":
        return _from_subprotocol(request)
    return ""


def _from_subprotocol(request: Request) -> str:
    """Browsers can set no header on a WebSocket. Raises 401 for what cannot be read."""
    name = "sec-websocket-protocol"
    offered = [part.strip() for key, value in request.header_list if key == name for part in value.split(",")]
    tokens = [part[len(SUBPROTOCOL) :] for part in offered if part.startswith(SUBPROTOCOL)]
    if not tokens:
        return ""
    left = ", ".join(part for part in offered if not part.startswith(SUBPROTOCOL))
    try:
        if len(tokens) > 1 or not left:
            raise ValueError
        token = base64.b64decode(tokens[0] + "=" * (-len(tokens[0]) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise errors.unauthorized() from None
    request.headers[name] = left
    request.header_list = [pair for pair in request.header_list if pair[0] != name] + [(name, left)]
    return token


def _forget(request: Request) -> None:
    """No later stage sees the token, so that none can hand it on."""
    if request.headers.pop("authorization", None) is not None:
        request.header_list = [pair for pair in request.header_list if pair[0] != "authorization"]

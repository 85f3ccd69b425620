"""Clients that act as ServiceAccounts: each controller asks as itself, with no more rights than its role gives.

All share one pool of connections, which present no certificate; what differs is the token in each request. Tokens come
from the TokenRequest API and are renewed when most of their time has passed. A ServiceAccount that is missing is made.

Source: kubernetes/pkg/controller/client_builder_dynamic.go
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sampan.client import Client, HttpsTransport, StatusError
from sampan.client.errors import is_already_exists, is_not_found
from sampan.client.transport import Headers, Stream
from sampan.http import Reply, Upgraded

NAMESPACE = "kube-system"
TOKEN_SECONDS = 3600
#: of a token's time, after which it is renewed
RENEW_AFTER = 0.75


class Accounts:
    """`manager` may make ServiceAccounts and tokens; `shared` carries the requests."""

    def __init__(self, manager: Client, shared: HttpsTransport, clock: Callable[[], float], user_agent: str) -> None:
        self.manager = manager
        self.shared = shared
        self.clock = clock
        self.user_agent = user_agent
        self._clients: dict[str, Client] = {}

    def client(self, name: str) -> Client:
        """The one that acts as `system:serviceaccount:kube-system:NAME`."""
        if name not in self._clients:
            self._clients[name] = Client(_AsAccount(self, name), user_agent=self.user_agent)
        return self._clients[name]

    async def token(self, name: str) -> tuple[str, float]:
        """A new token, and when to ask for the next. Raises StatusError, HttpError."""
        try:
            made = await self.manager.create_token(name, NAMESPACE, expiration_seconds=TOKEN_SECONDS)
        except StatusError as error:
            if not is_not_found(error):
                raise
            account = {"metadata": {"name": name, "namespace": NAMESPACE}}
            try:
                await self.manager.create("serviceaccounts", account, NAMESPACE)
            except StatusError as raced:
                if not is_already_exists(raced):
                    raise
            made = await self.manager.create_token(name, NAMESPACE, expiration_seconds=TOKEN_SECONDS)
        token: str = made["status"]["token"]
        return token, self.clock() + TOKEN_SECONDS * RENEW_AFTER


class _AsAccount:
    """A transport that adds an account's token."""

    def __init__(self, accounts: Accounts, name: str) -> None:
        self._accounts = accounts
        self._name = name
        self._header = ("Authorization", "")
        self._until = 0.0
        self._renewing = asyncio.Lock()

    async def _authorized(self, headers: Headers, *, anew: bool = False) -> Headers:
        if anew or self._accounts.clock() >= self._until:
            async with self._renewing:
                if anew or self._accounts.clock() >= self._until:
                    token, self._until = await self._accounts.token(self._name)
                    self._header = ("Authorization", f"Bearer {token}")
        return (*headers, self._header)

    async def request(
        self, method: str, path: str, *, headers: Headers = (), body: bytes = b"", timeout: float | None = None
    ) -> Reply:
        shared = self._accounts.shared
        own = await self._authorized(headers)
        reply = await shared.request(method, path, headers=own, body=body, timeout=timeout)
        if reply.code == 401:
            # the account was deleted and made anew, or the server's key is another
            own = await self._authorized(headers, anew=True)
            reply = await shared.request(method, path, headers=own, body=body, timeout=timeout)
        return reply

    async def stream(self, path: str, *, headers: Headers = (), timeout: float | None = None) -> Stream:
        return await self._accounts.shared.stream(path, headers=await self._authorized(headers), timeout=timeout)

    async def upgrade(self, method: str, path: str, *, headers: Headers, timeout: float | None = None) -> Upgraded:
        own = await self._authorized(headers)
        return await self._accounts.shared.upgrade(method, path, headers=own, timeout=timeout)

    async def aclose(self) -> None:
        """The connections are shared; who made them closes them."""

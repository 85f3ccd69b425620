"""Secrets of type `kubernetes.io/service-account-token`: each gets its token, the CA and its namespace; one whose
ServiceAccount is gone is deleted, and one that is gone is not named by its ServiceAccount any more. On which day the
token was last used stands in a label.

A controller's work; the API server does it as itself, through its own front door, because it has the key.

Source: kubernetes/pkg/controller/serviceaccount/tokens_controller.go, pkg/serviceaccount/legacy.go
(patchSecretWithLastUsedDate)
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from sampan.api.core_v1.secret import LAST_USED, TOKEN
from sampan.api.kind import Obj
from sampan.api.times import format_time
from sampan.api.user import ALL_AUTHENTICATED, MASTERS, User
from sampan.apiserver.api import Api
from sampan.apiserver.authentication.issuer import Issuer
from sampan.apiserver.cache import Entry, EventType, Record, Watcher
from sampan.http.server.messages import Request, Response

log = logging.getLogger("sampan.apiserver")
NAME, UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
RETRY_SECONDS, RETRIES = 0.2, 10
LOOPBACK = User("system:apiserver", (MASTERS, ALL_AUTHENTICATED))
Send = Callable[[Request], Response | Awaitable[Response]]


def fill_secret(secret: Obj, account: Obj, issuer: Issuer, ca: str) -> Obj | None:
    """The Secret with all it should have; None: it has."""
    data = dict(secret.get("data") or {})
    wanted = {"namespace": account["metadata"]["namespace"], **({"ca.crt": ca} if ca else {})}
    for key, value in wanted.items():
        if key == "ca.crt" or not data.get(key):
            data[key] = base64.b64encode(value.encode()).decode()
    if not data.get("token"):
        data["token"] = base64.b64encode(issuer.legacy(account, secret).encode()).decode()
    meta = secret["metadata"]
    notes = {**(meta.get("annotations") or {}), NAME: account["metadata"]["name"], UID: account["metadata"]["uid"]}
    if data == secret.get("data") and notes == meta.get("annotations"):
        return None
    return {**secret, "metadata": {**meta, "annotations": notes}, "data": data}


class TokenSecrets:
    """Follows Secrets and ServiceAccounts from `start` to `stop`."""

    def __init__(self, api: Api, send: Send, ca: str) -> None:
        self._api = api
        self._send = send
        self._ca = ca
        self._secrets = api.cached("", "secrets")
        self._accounts = api.cached("", "serviceaccounts")
        #: keys of Secrets to look at, each once, with how often that failed
        self._due: dict[str, int] = {}
        #: keys of Secrets whose tokens were used
        self._used: dict[str, str] = {}
        #: keys of Secrets that are gone; names and uids of their ServiceAccounts
        self._lost: dict[str, tuple[str, str]] = {}
        self._wake = asyncio.Event()
        self._watchers = (
            Watcher("", "", _holds_token, self._secret_changed),
            Watcher("", "", None, self._account_changed),
        )
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        for record in self._secrets.records.values():
            if _holds_token(record):
                self._add(record.key)
        self._secrets.watchers.add(self._watchers[0])
        self._accounts.watchers.add(self._watchers[1])
        assert self._api.identity is not None
        self._api.identity.account_tokens.used = self._note_use
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        self._secrets.watchers.discard(self._watchers[0])
        self._accounts.watchers.discard(self._watchers[1])
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _add(self, key: str) -> None:
        self._due.setdefault(key, 0)
        self._wake.set()

    def _secret_changed(self, entry: Entry, kind: EventType) -> None:
        if kind != "DELETED":
            self._add(entry.record.key)
            return
        notes = entry.record.obj()["metadata"].get("annotations") or {}
        self._lost[entry.record.key] = notes.get(NAME, ""), notes.get(UID, "")
        self._wake.set()

    def _note_use(self, secret: Obj) -> None:
        """Once a day."""
        meta, today = secret["metadata"], format_time(self._api.clock())[:10]
        if (meta.get("labels") or {}).get(LAST_USED) != today:
            self._used[f"{meta['namespace']}/{meta['name']}"] = today
            self._wake.set()

    def _account_changed(self, entry: Entry, kind: EventType) -> None:
        if kind == "MODIFIED":
            return
        for record in self._secrets.list(entry.record.namespace):
            if _holds_token(record):
                self._add(record.key)

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._used:
                key, day = self._used.popitem()
                record = self._secrets.get(key)
                if record is not None:
                    # one that fails is tried again when the token is used again
                    labels = {"metadata": {"uid": record.obj()["metadata"]["uid"], "labels": {LAST_USED: day}}}
                    await self._call("PATCH", record, labels)
            while self._lost:
                key, (name, uid) = self._lost.popitem()
                for _ in range(RETRIES):
                    if await self._forget(key, name, uid):
                        break
                    await asyncio.sleep(RETRY_SECONDS)
            while self._due:
                key, failed = next(iter(self._due.items()))
                del self._due[key]
                if not await self._settle(key) and failed < RETRIES:
                    await asyncio.sleep(RETRY_SECONDS)
                    self._due.setdefault(key, failed + 1)

    async def _forget(self, key: str, name: str, uid: str) -> bool:
        """The ServiceAccount does not name the Secret any more. False: try again."""
        namespace, _, secret = key.partition("/")
        record = self._accounts.get(f"{namespace}/{name}")
        if record is None:
            return True
        account = record.obj()
        listed = account.get("secrets") or []
        kept = [item for item in listed if item.get("name") != secret]
        if kept == listed or uid not in ("", account["metadata"]["uid"]):
            return True
        return await self._call("PUT", record, {**account, "secrets": kept}, "serviceaccounts")

    async def _settle(self, key: str) -> bool:
        """False: try again."""
        record = self._secrets.get(key)
        if record is None:
            return True
        secret = record.obj()
        meta = secret["metadata"]
        notes = meta.get("annotations") or {}
        found = self._accounts.get(f"{record.namespace}/{notes.get(NAME, '')}")
        account = found.obj() if found is not None else None
        assert self._api.identity is not None
        if account is None or notes.get(UID, account["metadata"]["uid"]) != account["metadata"]["uid"]:
            asked: dict[str, Any] = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
            return await self._call("DELETE", record, {"preconditions": asked})
        filled = fill_secret(secret, account, self._api.identity.issuer, self._ca)
        return filled is None or await self._call("PUT", record, filled)

    async def _call(self, method: str, record: Record, body: Obj, resource: str = "secrets") -> bool:
        media = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"user-agent": "sampan-tokens-controller", "content-type": media}
        path = f"/api/v1/namespaces/{record.namespace}/{resource}/{record.name}"
        request = Request(method, path, "", headers, [], orjson.dumps(body), scratch={"user": LOOPBACK})
        result = self._send(request)
        reply = result if isinstance(result, Response) else await result
        if reply.code in (409, 429) or reply.code >= 500:
            return False
        if reply.code >= 400 and reply.code != 404:
            log.warning("service account tokens: %s %s answered %d", method, path, reply.code)
        return True


def _holds_token(record: Record) -> bool:
    return record.field("type") == TOKEN

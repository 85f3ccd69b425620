"""token-cleaner-controller and bootstrap-signer-controller: the tokens that nodes join with.

Expired ones are deleted; with each of those that are for it, `kube-public/cluster-info` is signed, so that whoever knows
the token can trust the cluster's address and CA that stand there.

Source: kubernetes/pkg/controller/bootstrap/{tokencleaner,bootstrapsigner,util}.go; k8s.io/cluster-bootstrap/token/jws
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from typing import Any

from sampan.api.errors import StatusError
from sampan.api.times import parse_time
from sampan.client import Controller, Informer
from sampan.client.errors import is_not_found
from sampan.controllers.context import Context

Obj = dict[str, Any]
log = logging.getLogger("sampan.controller")
TYPE = "bootstrap.kubernetes.io/token"
PREFIX = "bootstrap-token-"
SIGNATURE = "jws-kubeconfig-"
CLUSTER_INFO = "kube-public/cluster-info"


def tokens_of(context: Context) -> Informer:
    return context.informers.get("secrets", "kube-system", field_selector=f"type={TYPE}")


def text(secret: Obj, name: str) -> str:
    return base64.b64decode((secret.get("data") or {}).get(name, "")).decode(errors="replace")


def left(secret: Obj, now: float) -> float | None:
    """Seconds until it expires (one that says nonsense has expired); None: it does not."""
    expiration = text(secret, "expiration")
    if not expiration:
        return None
    try:
        return parse_time(expiration) - now
    except ValueError:
        log.error("unparseable expiration time %r of %s", expiration, secret["metadata"]["name"])
        return 0.0


class TokenCleaner:
    def __init__(self, context: Context) -> None:
        self.clock = context.clock
        self.client = context.clients("token-cleaner")
        self.secrets = tokens_of(context)
        self.controller = Controller("token-cleaner-controller", self.reconcile, synced=(self.secrets,))
        self.secrets.add_handler(self.controller.enqueue, lambda old, new: self.controller.enqueue(new))

    async def run(self) -> None:
        await self.controller.run()

    async def reconcile(self, key: str) -> float | None:
        secret = self.secrets.cache.by_key(key)
        rest = left(secret, self.clock()) if secret is not None else None
        if secret is None or rest is None:
            return None
        if rest > 0:
            return rest
        meta = secret["metadata"]
        try:
            await self.client.delete(
                "secrets", meta["name"], meta["namespace"], uid=meta["uid"], resource_version=meta["resourceVersion"]
            )
        except StatusError as error:
            if not is_not_found(error):
                raise
        return None


class BootstrapSigner:
    def __init__(self, context: Context) -> None:
        self.clock = context.clock
        self.client = context.clients("bootstrap-signer")
        self.secrets = tokens_of(context)
        namespace, _, name = CLUSTER_INFO.partition("/")
        self.infos = context.informers.get("configmaps", namespace, field_selector=f"metadata.name={name}")
        self.controller = Controller("bootstrap-signer-controller", self.reconcile, synced=(self.secrets, self.infos))
        for informer in (self.secrets, self.infos):
            informer.add_handler(self._due, lambda old, new: self._due(new), self._due)

    async def run(self) -> None:
        await self.controller.run()

    def _due(self, obj: Obj) -> None:
        self.controller.queue.add(CLUSTER_INFO)

    async def reconcile(self, key: str) -> float | None:
        info = self.infos.cache.by_key(key)
        content = (info.get("data") or {}).get("kubeconfig") if info is not None else None
        if info is None or content is None:
            return None
        data = {name: value for name, value in info["data"].items() if not name.startswith(SIGNATURE)}
        again: float | None = None
        for secret in self.secrets.cache.list():
            rest = left(secret, self.clock())
            if (pair := _for_signing(secret)) is None or (rest is not None and rest <= 0):
                continue
            if rest is not None:
                again = rest if again is None else min(again, rest)
            data[SIGNATURE + pair[0]] = signature(content, *pair)
        if data != info["data"]:
            await self.client.update("configmaps", {**info, "data": data})
        return again


def _for_signing(secret: Obj) -> tuple[str, str] | None:
    """Id and secret of a token that says that it is for signing."""
    name, token, code = secret["metadata"]["name"], text(secret, "token-id"), text(secret, "token-secret")
    if name != PREFIX + token or not code or text(secret, "usage-bootstrap-signing") != "true":
        return None
    return token, code


def signature(content: str, token: str, code: str) -> str:
    """A JWS of `content` without the content (HS256)."""

    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    head = encoded(json.dumps({"alg": "HS256", "kid": token}, separators=(",", ":")).encode())
    signed = f"{head}.{encoded(content.encode())}".encode()
    return f"{head}..{encoded(hmac.new(code.encode(), signed, hashlib.sha256).digest())}"

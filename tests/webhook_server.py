"""Webhooks for the tests: a TLS server in this process that answers as each test says."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from sampan.cluster.certificates import Pki
from sampan.http.server.listener import Server
from sampan.http.server.messages import Request, Response

Review = dict[str, Any]
Answer = dict[str, Any] | Response
JSON = (("Content-Type", "application/json"),)


@dataclass
class Webhook:
    """`answer`: from a review's request to the response's fields (uid is added), or to a whole HTTP response."""

    ca: str
    port: int = 0
    answer: Callable[[Review], Answer | Awaitable[Answer]] = lambda request: {"allowed": True}
    seen: list[Review] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    context: ssl.SSLContext | None = None

    async def __call__(self, request: Request) -> Response:
        body = json.loads(request.body)
        asked = body["request"]
        self.seen.append(asked)
        self.paths.append(f"{request.raw_path}?{request.query}")
        made = self.answer(asked)
        answer = await made if isinstance(made, Awaitable) else made
        if isinstance(answer, Response):
            return answer
        reply = {**body, "response": {"uid": asked["uid"], **answer}}
        del reply["request"]
        return Response(200, JSON, json.dumps(reply).encode())

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def config(self, path: str = "/") -> dict[str, Any]:
        return {"url": self.url + path, "caBundle": self.ca}

    def hook(self, name: str = "a.example.com", **more: Any) -> dict[str, Any]:
        """A webhook that is asked about every write of a ConfigMap."""
        return {
            "name": name,
            "clientConfig": self.config(),
            "rules": [rule()],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            **more,
        }


def rule(resource: str = "configmaps", group: str = "", version: str = "v1", **more: Any) -> dict[str, Any]:
    made = {"operations": ["*"], "apiGroups": [group], "apiVersions": [version], "resources": [resource]}
    return {**made, **more}


def configuration(kind: str, *hooks: dict[str, Any], name: str = "hooks") -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": list(hooks),
    }


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    encoded = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": encoded}


@contextlib.asynccontextmanager
async def serving(pki: Pki) -> AsyncIterator[Webhook]:
    """With the API server's own certificate, which is for 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.path("apiserver.crt"), pki.path("apiserver.key"))
    webhook = Webhook(base64.b64encode(pki.path("ca.crt").read_bytes()).decode())
    server = Server(webhook, ssl_context=context, hosts=["127.0.0.1"], port=0)
    await server.start()
    webhook.port = server.port
    webhook.context = context
    try:
        yield webhook
    finally:
        await server.shutdown(0)
        await asyncio.sleep(0)

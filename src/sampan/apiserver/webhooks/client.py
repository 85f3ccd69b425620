"""Calling a webhook: one POST of JSON, one JSON object back, over connections that are kept.

    clients = WebhookClients(dialer)
    reply = await clients.post(hook["clientConfig"], review, timeout=10)

Promises: nothing but 2xx with a JSON object is an answer; a redirect is not followed; a reply longer than the limit is
cut as it comes; the certificate is checked against `caBundle` (or the system's authorities) and the name of the URL,
or `NAME.NAMESPACE.svc`. Everything else is a `CallError`, worded as client-go words it.

Source: k8s.io/apiserver/pkg/util/webhook/client.go; client-go rest/request.go (transformResponse);
k8s.io/apimachinery/pkg/api/errors (NewGenericServerResponse)
"""

from __future__ import annotations

import base64
import binascii
import math
import ssl
from collections import OrderedDict
from typing import Any

import orjson

from sampan.api.kind import Obj
from sampan.apiserver.dialer import Dialer
from sampan.http.client import HttpClient
from sampan.http.connection import Reply
from sampan.http.errors import HttpError

MAX_CLIENTS = 200
MAX_REPLY = 64 << 20
SHOWN_BYTES = 2048
HEADERS = (
    ("Content-Type", "application/json"),
    ("Accept", "application/json, */*"),
    ("User-Agent", "kube-apiserver-admission"),
)
_WORDS = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    406: "the server was unable to respond with a content type that the client supports",
    409: "the server reported a conflict",
    415: "the server was unable to accept the media type of the request",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}


class CallError(Exception):
    """No answer came that can be used; the text says why. `code`: of the answer, or what none counts as."""

    def __init__(self, why: str, code: int = 503) -> None:
        super().__init__(why)
        self.code = code


class WebhookClients:
    """HTTP clients by client configuration, the ones used last kept. One that is let go may be in use: its connections
    close when they have been idle for a while."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._clients: OrderedDict[tuple[str, str], HttpClient] = OrderedDict()

    async def post(self, config: Obj, body: bytes, *, timeout: float, max_body: int = MAX_REPLY) -> Obj:
        """`config`: the `clientConfig` of a webhook. Raises CallError."""
        origin, path = target(config)
        url = f"{origin}{path}?timeout={math.ceil(timeout)}s"
        client = self._client(origin, config)
        try:
            reply = await client.request("POST", url, headers=HEADERS, body=body, timeout=timeout, max_body=max_body)
        except HttpError as error:
            raise CallError(error.at("POST", url)) from None
        return _parsed(reply)

    async def close(self) -> None:
        while self._clients:
            await self._clients.popitem()[1].aclose()

    def _client(self, origin: str, config: Obj) -> HttpClient:
        key = (origin, config.get("caBundle") or "")
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = self._build(config)
            if len(self._clients) > MAX_CLIENTS:
                self._clients.popitem(last=False)
        self._clients.move_to_end(key)
        return client

    def _build(self, config: Obj) -> HttpClient:
        context = tls_context(config.get("caBundle") or "")
        service = config.get("service")
        if service is None:
            return HttpClient(ssl_context=context, dial=self._dialer)
        dial = self._dialer.to_service(service["namespace"], service["name"], service.get("port") or 443)
        return HttpClient(ssl_context=context, dial=dial)


def target(config: Obj) -> tuple[str, str]:
    """Origin and path of a client configuration."""
    service = config.get("service")
    if service is not None:
        path = service.get("path") or "/"
        origin = f"https://{service['name']}.{service['namespace']}.svc:{service.get('port') or 443}"
        return origin, path if path.startswith("/") else "/" + path
    url: str = config.get("url") or ""
    if not url:
        raise CallError("webhook configuration must have either service or URL")
    slash = url.find("/", url.find("://") + 3)
    return (url, "/") if slash < 0 else (url[:slash], url[slash:])


def tls_context(bundle: str) -> ssl.SSLContext:
    """Trusts the authorities of a base64 PEM bundle; an empty one: the system's. Raises CallError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # as Go: a certificate in the bundle is trusted, whether it signed itself or not
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not bundle:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(cadata=base64.b64decode(bundle).decode("ascii"))
    except (ssl.SSLError, ValueError, binascii.Error):
        raise CallError("could not get REST client: unable to load root certificates: no valid certificates") from None
    return context


def _parsed(reply: Reply) -> Obj:
    if not 200 <= reply.code <= 206:
        raise CallError(_refused(reply), reply.code)
    if not reply.body:
        media = reply.headers.get("content-type", "")
        raise CallError(f"0-length response with status code: {reply.code} and content type: {media}")
    try:
        out: Any = orjson.loads(reply.body)
    except orjson.JSONDecodeError as error:
        raise CallError(f"couldn't get version/kind; json parse error: {error}") from None
    if not isinstance(out, dict):
        word = {list: "array", str: "string", bool: "bool", type(None): "null"}.get(type(out), "number")
        raise CallError(f"couldn't get version/kind; json parse error: cannot unmarshal {word} into an object")
    return out


def _refused(reply: Reply) -> str:
    """What a reply of another code says: the message of a Status, or the words that belong to the code."""
    try:
        status = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status" and status.get("message"):
        return str(status["message"])
    media = reply.headers.get("content-type", "")
    is_text = not media or media.startswith("text/")
    said = reply.body[:SHOWN_BYTES].decode(errors="replace").strip() if is_text else "unknown"
    if reply.code == 403:
        return said or "the server does not allow access to the requested resource"
    if reply.code in _WORDS:
        return _WORDS[reply.code]
    if reply.code >= 500:
        return f"an error on the server ({orjson.dumps(said).decode()}) has prevented the request from succeeding"
    return f"the server responded with the status code {reply.code} but did not return more information"

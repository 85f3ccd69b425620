"""`pods/log`: the container's log as its kubelet tells it, streamed.

Source: kubernetes/pkg/registry/core/pod/rest/log.go, pod/strategy.go (LogLocation),
k8s.io/apiserver/pkg/registry/generic/rest/{streamer,response_checker}.go, k8s.io/apimachinery/pkg/util/httpstream/wsstream/stream.go
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
from typing import TYPE_CHECKING

from sampan.api import errors, log_options
from sampan.api.field import go_quote
from sampan.apiserver import replies
from sampan.apiserver.call import Call
from sampan.apiserver.subresources import containers, node
from sampan.http import HttpError, ResponseStream
from sampan.http.server import relay
from sampan.http.server.messages import Response

if TYPE_CHECKING:
    from sampan.http.server.websocket import WebSocket

#: what is read of a refusal
MAX_REFUSAL = 50_000
WEBSOCKET_PROTOCOLS = ("binary.k8s.io", "base64.binary.k8s.io")
_REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed", 409: "Conflict", 422: "Invalid",
            429: "TooManyRequests", 503: "ServiceUnavailable", 504: "Timeout"}  # fmt: skip
_WORDS = {
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    409: "the server reported a conflict",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}


async def serve(call: Call) -> Response:
    """Raises 422 and 400 for options that are wrong, 404, and what the kubelet says."""
    name = call.info.name
    try:
        options = log_options.read(call.query)
    except ValueError as error:
        raise errors.bad_request(str(error)) from None
    if problems := log_options.check(options):
        raise errors.invalid("", "PodLogOptions", name, problems)
    await call.api.fresh()
    record = call.resource.cache.get(call.key)
    if record is None:
        raise errors.not_found("", "pods", name)
    pod = record.obj()
    container = containers.choose(pod, options.container)
    where = pod["spec"].get("nodeName", "")
    if not where:
        return replies.text_reply(200, "")
    if node.simulated(call, where):
        return replies.text_reply(
            200, f"pod {name} is simulated: node {where} runs no containers, and so there is no log\n"
        )
    node.abandon(call)
    kubelets = call.api.kubelets
    client = kubelets.trusting if options.insecure else kubelets.client
    url = f"{kubelets.url(where)}/containerLogs/{call.info.namespace}/{name}/{container}?{options.query}"
    try:
        stream = await client.stream("GET", url, headers=[("Accept-Encoding", "")])
    except HttpError as error:
        raise errors.StatusError(500, "", error.at("GET", url)) from None
    if not 200 <= stream.code <= 206:
        raise await _refusal(stream, name)
    if call.request.headers.get("upgrade", "").lower() == "websocket":
        from sampan.http.server import websocket

        return websocket.accept(call.request, WEBSOCKET_PROTOCOLS, functools.partial(_messages, stream))
    headers = [("Audit-Id", replies.audit_id()), ("Cache-Control", "no-cache, private"), ("Content-Type", "text/plain")]
    return Response(200, headers, stream=relay.body(stream), patient=True)


async def _messages(stream: ResponseStream, socket: WebSocket) -> None:
    """For pages in browsers: an empty message first, then what comes; who asked for base64 gets text."""
    text = socket.protocol.startswith("base64.")
    socket.send("" if text else b"")
    copying = asyncio.ensure_future(_copy(stream, socket, text))

    # it ends with either side
    def gone() -> None:
        copying.cancel()

    socket.on_close(gone)
    try:
        await asyncio.wait([copying])
        socket.close()
    finally:
        copying.cancel()
        await stream.aclose()


async def _copy(stream: ResponseStream, socket: WebSocket, text: bool) -> None:
    with contextlib.suppress(HttpError, ConnectionError):
        async for data in stream:
            socket.send(base64.b64encode(data).decode() if text else data)
            await socket.drain()


async def _refusal(stream: ResponseStream, name: str) -> errors.StatusError:
    """A kubelet's refusal, in the API's words around its own."""
    try:
        said = (await stream.read(MAX_REFUSAL)).decode(errors="replace")
    except HttpError as error:
        return errors.internal(str(error))
    finally:
        await stream.aclose()
    code = stream.code
    if code == 500:
        return errors.internal(said)
    if code == 400:
        return errors.bad_request(said)
    details = {"name": name, "kind": "pods/log"}
    if code == 403:
        message = said
    elif code in _WORDS:
        message = _WORDS[code]
    elif code >= 500:
        message = f"an error on the server ({go_quote(said)}) has prevented the request from succeeding"
    else:
        message = f"the server responded with the status code {code} but did not return more information"
    reason = _REASONS.get(code, "InternalError" if code >= 500 else "Unknown")
    return errors.StatusError(code, reason, f"{message} ( pods/log {name})", details)

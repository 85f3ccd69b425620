"""Webhooks that hang, lie, or answer a gigabyte: the write is refused with a clear error, and the server goes on."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sampan.cluster import certificates
from sampan.cluster.certificates import Pki
from sampan.http.server.messages import Response, Writer
from tests.conftest import Local
from tests.webhook_server import JSON, Answer, Webhook, configuration, patch, serving

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
REGISTER = "/apis/admissionregistration.k8s.io/v1/{}webhookconfigurations"
FAILED = 'Internal error occurred: failed calling webhook "a.example.com": '


@pytest.fixture
async def webhook(pki: Pki) -> AsyncIterator[Webhook]:
    async with serving(pki) as made:
        yield made


async def register(api: Local, kind: str, *hooks: dict[str, Any]) -> None:
    code, reply = await api("POST", REGISTER.format(kind.lower()), configuration(kind, *hooks))
    assert code == 201, reply


async def write(api: Local, name: str = "a", data: dict[str, str] | None = None) -> tuple[int, str]:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data or {"k": "v"}}
    code, reply = await api("POST", CONFIG_MAPS, body)
    return code, reply.get("message", "")


@pytest.mark.slow
async def test_one_that_hangs_is_left_after_its_time(api: Local, webhook: Webhook) -> None:
    """A second is the shortest time that can be configured. Other requests are answered meanwhile."""
    hanging = asyncio.Event()

    async def answer(request: dict[str, Any]) -> Answer:
        hanging.set()
        await asyncio.Event().wait()
        raise AssertionError

    webhook.answer = answer
    await register(api, "Validating", webhook.hook(timeoutSeconds=1))
    writing = asyncio.ensure_future(write(api))
    await hanging.wait()
    assert (await api("GET", "/api/v1/namespaces/default"))[0] == 200
    assert not writing.done()
    code, message = await writing
    assert code == 500
    assert message == f'{FAILED}failed to call webhook: Post "{webhook.url}/?timeout=1s": context deadline exceeded'


LIES: list[tuple[Answer, str]] = [
    ({"uid": "other", "allowed": True}, 'received invalid webhook response: expected response.uid="'),
    (
        Response(200, JSON, b'{"apiVersion":"v1","kind":"Pod"}'),
        "received invalid webhook response: webhook response was absent",
    ),
    ({"allowed": "yes"}, "received invalid webhook response: webhook response has fields of the wrong type"),
    (
        {"allowed": True, "warnings": 5},
        "received invalid webhook response: webhook response has fields of the wrong type",
    ),
    ({"allowed": False, "status": {"code": "x"}}, "received invalid webhook response: webhook response has fields of"),
    (Response(200, JSON, b"not json"), "failed to call webhook: couldn't get version/kind; json parse error: "),
    (Response(200, JSON, b"[1]"), "failed to call webhook: couldn't get version/kind; json parse error: "),
    (Response(200, JSON, b""), "failed to call webhook: 0-length response with status code: 200"),
    (Response(404, JSON, b"{}"), "failed to call webhook: the server could not find the requested resource"),
    (
        Response(500, (("Content-Type", "text/plain"),), b"oops"),
        'failed to call webhook: an error on the server ("oops") has prevented the request from succeeding',
    ),
    (
        Response(302, (("Location", "http://169.254.169.254/"),), b""),
        "failed to call webhook: the server responded with",
    ),
    (Response(307, (("Location", "/elsewhere"),), b""), "failed to call webhook: the server responded with the status"),
]


@pytest.mark.parametrize(("answer", "words"), LIES)
async def test_one_that_lies(api: Local, webhook: Webhook, answer: Answer, words: str) -> None:
    await register(api, "Validating", webhook.hook())
    webhook.answer = answering(answer)
    code, message = await write(api)
    assert (code, message.startswith(FAILED + words)) == (500, True), message
    assert len(webhook.seen) == 1, "nothing was followed or tried again"


@pytest.mark.parametrize(
    ("api_version", "kind", "shown"),
    [
        ("admission.k8s.io/v2", "AdmissionReview", "admission.k8s.io/v2, Kind=AdmissionReview"),
        ("admission.k8s.io/v1", "Review", "admission.k8s.io/v1, Kind=Review"),
        ("", "", "/, Kind="),
    ],
)
async def test_one_that_answers_another_kind(
    api: Local, webhook: Webhook, api_version: str, kind: str, shown: str
) -> None:
    def answer(request: dict[str, Any]) -> Response:
        reply = {"response": {"uid": request["uid"], "allowed": True}, "apiVersion": api_version, "kind": kind}
        return Response(200, JSON, json.dumps(reply).encode())

    await register(api, "Validating", webhook.hook())
    webhook.answer = answer
    wanted = "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got "
    assert await write(api) == (500, f"{FAILED}received invalid webhook response: {wanted}{shown}")


def answering(answer: Answer) -> Any:
    return lambda request: answer


def raw_patch(text: bytes, kind: str | None = "JSONPatch") -> Answer:
    out: dict[str, Any] = {"allowed": True, "patch": base64.b64encode(text).decode()}
    return out if kind is None else {**out, "patchType": kind}


INVALID = "Internal error occurred: "
PATCHES: list[tuple[Answer, str]] = [
    (
        raw_patch(b"[]", None),
        f"{FAILED}received invalid webhook response: webhook returned response.patch but not response.p",
    ),
    (
        {"allowed": True, "patchType": "JSONPatch"},
        f"{FAILED}received invalid webhook response: webhook returned response.p",
    ),
    (
        {"allowed": True, "patchType": "JSONPatch", "patch": "%%"},
        f"{FAILED}received invalid webhook response: illegal base64",
    ),
    (raw_patch(b'[{"op":"add"}]', "MergePatch"), f'{FAILED}unsupported patch type "MergePatch"'),
    (raw_patch(b"{}"), f"{FAILED}received undecodable patch in webhook response: "),
    (raw_patch(b"nonsense"), f"{FAILED}received undecodable patch in webhook response: "),
    (patch({"op": "remove", "path": "/nothing/there"}), INVALID),
    (patch({"op": "replace", "path": "", "value": 5}), INVALID),
    (patch({"op": "replace", "path": "", "value": {}}), INVALID),
    (patch({"op": "replace", "path": "/kind", "value": "Secret"}), INVALID),
    (patch({"op": "replace", "path": "/apiVersion", "value": "v9"}), INVALID),
    (patch({"op": "replace", "path": "/metadata", "value": 1}), INVALID),
    (patch({"op": "add", "path": "/data", "value": ["no", "map"]}), INVALID),
    (patch(*[{"op": "copy", "from": "/data", "path": "/data/k"}] * 40), INVALID),
]


@pytest.mark.parametrize(("answer", "words"), PATCHES)
async def test_one_that_breaks_the_object(api: Local, webhook: Webhook, answer: Answer, words: str) -> None:
    await register(api, "Mutating", webhook.hook())
    webhook.answer = lambda request: answer
    code, message = await write(api)
    assert (code, message.startswith(words)) == (500, True), message
    assert (await api("GET", CONFIG_MAPS + "/a"))[0] == 404


async def test_one_that_moves_the_object(api: Local, webhook: Webhook) -> None:
    """To another namespace, name or uid, or makes it what the kind's rules forbid."""
    await register(api, "Mutating", webhook.hook())
    webhook.answer = lambda request: patch({"op": "replace", "path": "/metadata/namespace", "value": "kube-system"})
    assert (await write(api))[0] == 400
    assert (await api("GET", "/api/v1/namespaces/kube-system/configmaps/a"))[0] == 404
    webhook.answer = lambda request: patch({"op": "replace", "path": "/metadata/name", "value": "Not A Name"})
    assert (await write(api))[0] == 422
    webhook.answer = lambda request: {"allowed": True}
    assert (await write(api))[0] == 201
    merge = "application/merge-patch+json"
    for field in ("name", "uid", "namespace"):
        moved = patch({"op": "replace", "path": f"/metadata/{field}", "value": "other"})
        webhook.answer = answering(moved)
        code, status = await api("PATCH", CONFIG_MAPS + "/a", {"data": {"k": "w"}}, merge)
        assert (code, status["details"]["causes"][0]["field"]) == (422, f"metadata.{field}")
    webhook.answer = lambda request: patch(
        {"op": "replace", "path": "/metadata/managedFields", "value": [{"operation": "Steal"}]}
    )
    reply = await api.raw("PATCH", CONFIG_MAPS + "/a", {"data": {"k": "x"}}, merge)
    assert reply.code == 200
    assert "managedFields was in an invalid state after admission" in dict(reply.headers)["Warning"]
    assert b"Steal" not in (reply.body if isinstance(reply.body, bytes) else b"".join(reply.body))
    assert (await api("GET", CONFIG_MAPS + "/a"))[1]["data"] == {"k": "x"}


async def test_a_validating_one_cannot_patch_and_nobody_can_patch_a_deletion(api: Local, webhook: Webhook) -> None:
    assert (await write(api))[0] == 201
    webhook.answer = lambda request: patch({"op": "add", "path": "/data/x", "value": ""})
    await register(api, "Mutating", webhook.hook())
    code, status = await api("DELETE", CONFIG_MAPS + "/a")
    why = "attempted to modify the object, which is not supported for this operation"
    assert (code, status["message"]) == (500, f'{INVALID}admission webhook "a.example.com" {why}')
    await api("DELETE", REGISTER.format("mutating") + "/hooks")
    await register(api, "Validating", webhook.hook())
    assert await write(api, "b") == (
        500,
        f"{FAILED}received invalid webhook response: validating webhook may not return response.patch",
    )


async def test_one_that_answers_a_gigabyte(api: Local, webhook: Webhook) -> None:
    """Chunk after chunk: cut at the limit, in the first hundredth."""
    sent = 0

    async def flood(writer: Writer) -> None:
        nonlocal sent
        piece = b" " * (1 << 20)
        try:
            while not writer.closed and sent < 1 << 30:
                writer.write(piece)
                sent += len(piece)
                await writer.drain()
        except ConnectionError:
            return

    await register(api, "Validating", webhook.hook())
    webhook.answer = lambda request: Response(200, JSON, b"", stream=flood)
    code, message = await write(api)
    assert code == 500
    assert message.startswith(
        f'{FAILED}failed to call webhook: Post "{webhook.url}/?timeout=10s": http: response body too'
    )
    assert sent < 1 << 26


async def test_one_that_promises_a_gigabyte(api: Local, webhook: Webhook) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n{")
        await reader.read()
        writer.close()

    server = await raw_server(webhook, answer)
    await register(api, "Validating", webhook.hook())
    code, message = await write(api)
    server.close()
    assert (code, "http: response body too large" in message) == (500, True), message


async def test_one_that_hangs_up(api: Local, webhook: Webhook) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await raw_server(webhook, answer)
    await register(api, "Validating", webhook.hook())
    code, message = await write(api)
    server.close()
    assert (code, message) == (500, f'{FAILED}failed to call webhook: Post "{webhook.url}/?timeout=10s": EOF')


async def raw_server(webhook: Webhook, answer: Any) -> asyncio.Server:
    """In the webhook's place, one that does not speak HTTP as it should."""
    assert webhook.context is not None
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=webhook.context)
    webhook.port = server.sockets[0].getsockname()[1]
    return server


async def test_one_with_a_certificate_of_another_authority(
    api: Local, webhook: Webhook, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = certificates.ensure(tmp_path_factory.mktemp("other"), [])
    wrong = base64.b64encode(other.path("ca.crt").read_bytes()).decode()
    await register(api, "Validating", webhook.hook(clientConfig={"url": webhook.url, "caBundle": wrong}))
    code, message = await write(api)
    assert code == 500
    assert message.endswith("tls: failed to verify certificate: x509: certificate signed by unknown authority")
    # without a bundle the system's authorities count, which do not know ours either
    await api("DELETE", REGISTER.format("validating") + "/hooks")
    await register(api, "Validating", webhook.hook(clientConfig={"url": webhook.url}))
    assert (await write(api))[1].endswith("x509: certificate signed by unknown authority")
    # a name that the certificate is not for
    await api("DELETE", REGISTER.format("validating") + "/hooks")
    url = f"https://127.0.0.2:{webhook.port}"
    connect = api.server.api.dialer.connect

    async def astray(factory: Any, host: str, port: int, **more: Any) -> Any:
        return await connect(factory, "127.0.0.1", port, **more)

    api.server.api.dialer.connect = astray
    await register(api, "Validating", webhook.hook(clientConfig={"url": url, "caBundle": webhook.ca}))
    assert "x509: certificate is not valid for any names, but wanted to match 127.0.0.2" in (await write(api))[1]
    assert webhook.seen == []


def test_no_client_trusts_without_checking() -> None:
    from sampan.apiserver.webhooks.client import tls_context

    context = tls_context("")
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname

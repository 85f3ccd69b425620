"""Bad input at every endpoint: a 4xx Status that says what is wrong, never a 500, and nothing stored by it."""

from __future__ import annotations

import asyncio
import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from sampan.api.kind import Names
from sampan.http.server.messages import Response
from tests.conftest import Local
from tests.fuzzing import Fuzz, Sent
from tests.unit import test_crd as crds
from tests.validation import Valid

#: there is no node behind these
WITHOUT_NODES = ("proxy", "log", "exec", "attach", "portforward")
#: what would decide about all the requests after it
RULING = (
    "customresourcedefinitions", "validatingwebhookconfigurations", "mutatingwebhookconfigurations",
    "validatingadmissionpolicybindings", "apiservices", "clusterrolebindings",
)  # fmt: skip


def right_ones() -> dict[tuple[str, str, str], Any]:
    """The right objects that the tables of what is refused begin with."""
    out = {}
    for path in sorted(Path(__file__).parent.glob("test_validation_*.py")):
        for found in vars(importlib.import_module(f"tests.unit.{path.stem}")).values():
            if isinstance(found, Valid):
                names = found.kind.names
                out[names.group, names.version, names.resource] = found.raw
    return out


async def prepared(api: Local, known: dict[tuple[str, str, str], Any]) -> list[Names]:
    """One object of every kind is there, custom ones too. The names of all kinds."""
    paths = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    await crds.define(api, crds.definition(crds.version(subresources={"status": {}, "scale": paths})))
    await api("POST", "/apis/stable.example.com/v1/namespaces/default/crontabs", crds.crontab("a"))
    registry = api.server.api.registry
    for (group, version, resource), raw in known.items():
        kind = registry.get(group, version, resource)
        assert kind is not None
        base = f"/apis/{group}/{version}" if group else f"/api/{version}"
        base += "/namespaces/default" if kind.names.namespaced else ""
        body = {**raw, "metadata": {**raw["metadata"], "name": "a"}}
        for field in ("uid", "creationTimestamp", "resourceVersion", "generation"):
            body["metadata"].pop(field, None)
        if resource not in RULING:
            await api("POST", f"{base}/{resource}", body)
    return [
        names
        for group, versions in registry.groups()
        for version in versions
        for names in registry.names(group, version)
    ]


async def ask(api: Local, sent: Sent) -> Response:
    async with asyncio.timeout(10):
        return await api.raw(sent.method, sent.target, sent.body, sent.media, **sent.headers)


def text(reply: Response) -> bytes:
    return reply.body if isinstance(reply.body, bytes) else b"".join(reply.body)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
async def test_no_request_is_a_server_error(api: Local, seed: int) -> None:
    known = right_ones()
    fuzz = Fuzz(api.server.api.registry, seed, known)
    answered: dict[int, int] = {}
    for names in await prepared(api, known):
        for _ in range(3):
            sent = fuzz.request(names)
            if names.resource in RULING and "dryRun" not in sent.target and sent.method != "GET":
                continue
            before = api.server.api.cache.revision
            reply = await ask(api, sent)
            answered[reply.code] = answered.get(reply.code, 0) + 1
            if reply.code == 503 or b"no preferred addresses found" in text(reply):
                # these nodes are nowhere
                assert sent.main and any(f"/{word}" in sent.target for word in WITHOUT_NODES), str(sent)
                continue
            assert reply.code < 500, f"{sent}: {text(reply)!r}"
            if reply.code >= 400:
                assert api.server.api.cache.revision == before, f"{sent} was refused, and stored something"
                if text(reply).startswith(b"{"):
                    assert json.loads(text(reply))["message"], str(sent)
    assert {200, 400, 404, 422} <= set(answered), answered


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews"),
        ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews"),
        ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"),
        ("POST", "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews"),
        ("POST", "/api/v1/namespaces/default/serviceaccounts/default/token"),
        ("POST", "/api/v1/namespaces/default/bindings"),
        ("POST", "/api/v1/namespaces/default/pods/a/eviction"),
        ("PUT", "/api/v1/namespaces/default/finalize"),
        ("PUT", "/apis/apps/v1/namespaces/default/deployments/a/scale"),
        ("PATCH", "/apis/apps/v1/namespaces/default/deployments/a/status"),
        ("DELETE", "/api/v1/namespaces/default/pods/a"),
        ("DELETE", "/api/v1/namespaces/default/pods"),
    ],
)
async def test_bodies_that_are_nothing(api: Local, method: str, path: str) -> None:
    """The same for every endpoint, whatever it takes."""
    for body in (
        b"null", b"[]", b"1", b'"x"', b"{", b"\xff", b'{"spec":null,"metadata":null}', b'{"spec":[]}', b'{"kind":1}',
        b'{"apiVersion":"v9","kind":"Odd"}', b'{"spec":{"token":5}}', b'{"metadata":[]}', b"{" * 5000, b'{"a":' * 900 + b"1" + b"}" * 900,
        b'{"spec":{"audiences":[null],"expirationSeconds":1e400}}', b'{"spec":{"expirationSeconds":9223372036854775808}}',
    ):  # fmt: skip
        for media in (
            "application/json",
            "application/yaml",
            "application/vnd.kubernetes.protobuf",
            "application/merge-patch+json",
        ):
            reply = await api.raw(method, path, body, media)
            assert reply.code < 500, f"{body!r} {media}: {text(reply)!r}"

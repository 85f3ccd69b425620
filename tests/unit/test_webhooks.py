"""Admission webhooks: who is asked, what about, and what the answer does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from sampan.cluster.certificates import Pki
from tests.conftest import Local
from tests.webhook_server import Webhook, configuration, patch, rule, serving

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
REGISTER = "/apis/admissionregistration.k8s.io/v1/{}webhookconfigurations"


def config_map(name: str = "a", **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **more}, "data": {"k": "v"}}


@pytest.fixture
async def webhook(pki: Pki) -> AsyncIterator[Webhook]:
    async with serving(pki) as made:
        yield made


async def register(api: Local, kind: str, *hooks: dict[str, Any], name: str = "hooks") -> None:
    code, reply = await api("POST", REGISTER.format(kind.lower()), configuration(kind, *hooks, name=name))
    assert code == 201, reply


async def test_a_validating_webhook_is_asked_and_may_refuse(api: Local, webhook: Webhook) -> None:
    await register(api, "Validating", webhook.hook())
    webhook.answer = lambda request: {"allowed": request["name"] == "good", "status": {"message": "bad name"}}
    assert (await api("POST", CONFIG_MAPS, config_map("good")))[0] == 201
    code, status = await api("POST", CONFIG_MAPS, config_map("bad"))
    assert (code, status["message"]) == (400, 'admission webhook "a.example.com" denied the request: bad name')
    assert (await api("GET", CONFIG_MAPS + "/bad"))[0] == 404

    asked = webhook.seen[0]
    gvk = {"group": "", "version": "v1", "kind": "ConfigMap"}
    gvr = {"group": "", "version": "v1", "resource": "configmaps"}
    assert (asked["kind"], asked["requestKind"], asked["resource"], asked["requestResource"]) == (gvk, gvk, gvr, gvr)
    assert (asked["name"], asked["namespace"], asked["operation"]) == ("good", "default", "CREATE")
    assert asked["userInfo"]["username"] == "kubernetes-admin"
    assert (asked["dryRun"], asked["oldObject"], asked["object"]["data"]) == (False, None, {"k": "v"})
    assert asked["options"]["kind"] == "CreateOptions"
    assert webhook.paths[0] == "/?timeout=10s"

"""Admission webhooks: who is asked, what about, and what the answer does."""

from __future__ import annotations

import asyncio
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


async def test_failing_open_and_closed(api: Local, webhook: Webhook) -> None:
    gone = {**webhook.hook("gone.example.com")["clientConfig"], "url": "https://127.0.0.1:1/x"}
    await register(api, "Validating", webhook.hook("open.example.com", clientConfig=gone, failurePolicy="Ignore"))
    assert (await api("POST", CONFIG_MAPS, config_map()))[0] == 201
    await register(api, "Mutating", webhook.hook("shut.example.com", clientConfig=gone))
    code, status = await api("POST", CONFIG_MAPS, config_map("b"))
    words = (
        'failed calling webhook "shut.example.com": failed to call webhook: '
        'Post "https://127.0.0.1:1/x?timeout=10s": dial tcp 127.0.0.1:1: connect: connection refused'
    )
    assert (code, status["reason"]) == (500, "InternalError")
    assert status["message"] == f"Internal error occurred: {words}"
    assert status["details"]["causes"] == [{"message": words}]


async def test_a_mutating_webhook_patches(api: Local, webhook: Webhook) -> None:
    await register(api, "Mutating", webhook.hook())
    webhook.answer = lambda request: patch(
        {"op": "add", "path": "/metadata/labels", "value": {"by": "hook"}},
        {"op": "add", "path": "/data/more", "value": "x"},
        {"op": "add", "path": "/unknown", "value": "goes"},
    )
    code, made = await api("POST", CONFIG_MAPS, config_map())
    assert (code, made["metadata"]["labels"], made["data"]) == (201, {"by": "hook"}, {"k": "v", "more": "x"})
    assert "unknown" not in made
    # fields that webhooks set belong to nobody
    assert "f:more" not in str(made["metadata"]["managedFields"])


async def test_defaults_come_to_what_a_patch_adds(api: Local, webhook: Webhook) -> None:
    await register(api, "Mutating", webhook.hook(rules=[rule("services")]))
    webhook.answer = lambda request: patch({"op": "add", "path": "/spec/ports/-", "value": {"port": 81, "name": "b"}})
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s"},
        "spec": {"ports": [{"port": 80, "name": "a"}]},
    }
    code, made = await api("POST", "/api/v1/namespaces/default/services", body)
    assert code == 201, made
    assert made["spec"]["ports"][1] == {"name": "b", "protocol": "TCP", "port": 81, "targetPort": 81}


async def test_mutating_webhooks_in_order_and_again(api: Local, webhook: Webhook) -> None:
    """By configuration name, then index. What changes later is shown again to those that ask for it."""
    hook = webhook.hook
    again = hook("again.example.com", reinvocationPolicy="IfNeeded")
    await register(api, "Mutating", again, hook("never.example.com"), name="b")
    await register(api, "Mutating", hook("first.example.com"), name="a")
    order: list[str] = []

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        data = request["object"]["data"]
        order.append("".join(sorted(data)))
        key = {"k": "a", "ak": "b", "abk": "c"}.get(order[-1])
        return patch({"op": "add", "path": f"/data/{key}", "value": ""}) if key else {"allowed": True}

    webhook.answer = answer
    code, made = await api("POST", CONFIG_MAPS, config_map())
    assert code == 201
    # first, again, never; then only `again`, which was asked before the last change
    assert order == ["k", "ak", "abk", "abck"]
    assert set(made["data"]) == {"k", "a", "b", "c"}


async def test_selectors_and_scope(api: Local, webhook: Webhook) -> None:
    by_object: dict[str, Any] = {"objectSelector": {"matchLabels": {"watched": "yes"}}}
    await register(api, "Validating", webhook.hook(**by_object), name="object")
    webhook.answer = lambda request: {"allowed": False}
    assert (await api("POST", CONFIG_MAPS, config_map("free")))[0] == 201
    code, status = await api("POST", CONFIG_MAPS, config_map("held", labels={"watched": "yes"}))
    assert (code, status["message"]) == (
        400,
        'admission webhook "a.example.com" denied the request without explanation',
    )
    # the old labels count too
    webhook.answer = lambda request: {"allowed": True}
    await api("POST", CONFIG_MAPS, config_map("was", labels={"watched": "yes"}))
    webhook.answer = lambda request: {"allowed": False, "status": {"code": 403, "reason": "Forbidden"}}
    merge = "application/merge-patch+json"
    code, status = await api("PATCH", CONFIG_MAPS + "/was", {"metadata": {"labels": None}}, merge)
    assert (code, status["reason"]) == (403, "Forbidden")
    assert status["message"] == 'admission webhook "a.example.com" denied the request: Forbidden'
    await api("DELETE", REGISTER.format("validating") + "/object")
    by_namespace: dict[str, Any] = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}
    await register(api, "Validating", webhook.hook(**by_namespace), name="namespace")
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}
    assert (await api("POST", "/api/v1/namespaces", namespace))[0] == 201
    assert (await api("POST", CONFIG_MAPS, config_map("two")))[0] == 201
    assert (await api("POST", "/api/v1/namespaces/other/configmaps", config_map("two")))[0] == 403


async def test_another_version_of_the_kind_matches(api: Local, webhook: Webhook) -> None:
    """A webhook that knows autoscaling/v1 is asked about a v2 object in v1; one that says Exact is not."""
    old = rule("horizontalpodautoscalers", "autoscaling", "v1")
    await register(api, "Validating", webhook.hook("exact.example.com", rules=[old], matchPolicy="Exact"))
    await register(api, "Mutating", webhook.hook("same.example.com", rules=[old]))
    webhook.answer = lambda request: patch({"op": "replace", "path": "/spec/maxReplicas", "value": 7})
    body = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}},
    }
    code, made = await api("POST", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", body)
    assert (code, made.get("spec", {}).get("maxReplicas")) == (201, 7), made
    (asked,) = webhook.seen
    assert (asked["kind"]["version"], asked["requestKind"]["version"]) == ("v1", "v2")
    assert asked["object"]["apiVersion"] == "autoscaling/v1"


async def test_dry_run_needs_harmless_webhooks(api: Local, webhook: Webhook) -> None:
    await register(api, "Validating", webhook.hook(sideEffects="NoneOnDryRun"))
    assert (await api("POST", CONFIG_MAPS + "?dryRun=All", config_map()))[0] == 201
    assert webhook.seen[0]["dryRun"] is True
    assert webhook.seen[0]["options"]["dryRun"] == ["All"]


async def test_delete_and_subresources(api: Local, webhook: Webhook) -> None:
    deletes = rule(operations=["DELETE"])
    status = rule("deployments/status", "apps", operations=["UPDATE"])
    scale = rule("*/scale", "*", "*")
    await register(api, "Validating", webhook.hook(rules=[deletes, status, scale]))
    await api("POST", CONFIG_MAPS, config_map())
    assert webhook.seen == []
    assert (await api("DELETE", CONFIG_MAPS + "/a"))[0] == 200
    (asked,) = webhook.seen
    assert (asked["operation"], asked["object"], asked["oldObject"]["metadata"]["name"]) == ("DELETE", None, "a")
    assert asked["options"]["kind"] == "DeleteOptions"
    labels = {"matchLabels": {"a": "b"}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"selector": labels, "template": template},
    }
    path = "/apis/apps/v1/namespaces/default/deployments"
    assert (await api("POST", path, body))[0] == 201
    merge = "application/merge-patch+json"
    assert (await api("PATCH", path + "/d/status", {"status": {"replicas": 1}}, merge))[0] == 200
    assert webhook.seen[-1]["subResource"] == "status"
    assert (await api("PATCH", path + "/d/scale", {"spec": {"replicas": 2}}, merge))[0] == 200
    assert webhook.seen[-1]["subResource"] == "scale"


async def test_warnings_reach_the_client_with_a_refusal_too(api: Local, webhook: Webhook) -> None:
    await register(api, "Validating", webhook.hook())
    long = ["w" * 300 + str(index) for index in range(20)]
    webhook.answer = lambda request: {"allowed": request["name"] == "a", "warnings": ["old", "old", *long]}
    for name, code in (("a", 201), ("b", 400)):
        reply = await api.raw("POST", CONFIG_MAPS, config_map(name))
        shown = [value for key, value in reply.headers if key == "Warning"]
        assert reply.code == code
        assert shown[0] == '299 - "old"'
        assert len(shown) == 17
        assert all(len(text) <= 264 for text in shown)


async def test_configurations_themselves_are_exempt(api: Local, webhook: Webhook) -> None:
    everything = rule("*/*", "*", "*")
    await register(api, "Validating", webhook.hook(rules=[everything]))
    await register(api, "Mutating", webhook.hook(rules=[everything]))
    webhook.answer = lambda request: {"allowed": False}
    assert (await api("POST", CONFIG_MAPS, config_map()))[0] == 400
    for kind in ("mutating", "validating"):
        assert (await api("DELETE", REGISTER.format(kind) + "/hooks"))[0] == 200
    assert (await api("POST", CONFIG_MAPS, config_map()))[0] == 201


async def test_connections_are_kept(api: Local, webhook: Webhook) -> None:
    await register(api, "Validating", webhook.hook())
    opened = []
    connect = api.server.api.dialer.connect

    async def counted(*arguments: Any, **more: Any) -> Any:
        opened.append(arguments[1])
        return await connect(*arguments, **more)

    api.server.api.dialer.connect = counted
    for index in range(5):
        assert (await api("POST", CONFIG_MAPS, config_map(f"n{index}")))[0] == 201
    assert opened == ["127.0.0.1"]


async def test_match_conditions(api: Local, webhook: Webhook) -> None:
    conditions = [
        {"name": "not-mine", "expression": "request.userInfo.username != 'system:me'"},
        {"name": "marked", "expression": "object.metadata.labels.marked == 'yes'"},
    ]
    await register(api, "Validating", webhook.hook(matchConditions=conditions))
    webhook.answer = lambda request: {"allowed": False}
    assert (await api("POST", CONFIG_MAPS, config_map("a", labels={"marked": "no"})))[0] == 201
    assert (await api("POST", CONFIG_MAPS, config_map("b", labels={"marked": "yes"})))[0] == 400
    asked = len(webhook.seen)
    code, status = await api("POST", CONFIG_MAPS, config_map("c"))
    why = "expression 'object.metadata.labels.marked == 'yes'' resulted in error: no such key: labels"
    assert (code, status["message"]) == (403, f'configmaps "c" is forbidden: {why}')
    ignoring = webhook.hook(matchConditions=conditions, failurePolicy="Ignore")
    path = REGISTER.format("validating") + "/hooks"
    assert (await api.replace(path, configuration("Validating", ignoring)))[0] == 200
    assert (await api("POST", CONFIG_MAPS, config_map("c")))[0] == 201
    assert len(webhook.seen) == asked


async def test_a_service_is_dialled_at_a_ready_endpoint(api: Local, webhook: Webhook) -> None:
    """The name is checked against the certificate, the port is the endpoint's."""
    service = {"namespace": "default", "name": "kubernetes", "path": "/check/me", "port": 8443}
    hook = webhook.hook(clientConfig={"service": service, "caBundle": webhook.ca})
    await register(api, "Validating", hook)
    where = "https://kubernetes.default.svc:8443/check/me?timeout=10s"
    failed = (
        f'Internal error occurred: failed calling webhook "a.example.com": failed to call webhook: Post "{where}": '
    )
    code, status = await api("POST", CONFIG_MAPS, config_map())
    assert (code, status["message"]) == (500, f'{failed}no service port 8443 found for service "kubernetes"')

    services = "/api/v1/namespaces/default/services/kubernetes"
    ports = [{"name": "https", "port": 443}, {"name": "hook", "port": 8443}]
    merge = "application/merge-patch+json"
    assert (await api("PATCH", services, {"spec": {"ports": ports}}, merge))[0] == 200
    code, status = await api("POST", CONFIG_MAPS, config_map())
    assert status["message"] == f'{failed}no endpoints available for service "kubernetes"'

    dialled: list[tuple[str, int]] = []
    connect = api.server.api.dialer.connect

    async def to_us(factory: Any, host: str, port: int, **more: Any) -> Any:
        dialled.append((host, port))
        return await connect(factory, "127.0.0.1", webhook.port, **more)

    api.server.api.dialer.connect = to_us
    endpoints = [
        {"addresses": ["10.1.0.7"], "conditions": {"ready": True}},
        {"addresses": ["10.1.0.8"], "conditions": {"ready": False}},
    ]
    sliced = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "hook", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "ports": [{"name": "hook", "port": 9443}],
        "endpoints": endpoints,
    }
    assert (await api("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", sliced))[0] == 201
    assert (await api("POST", CONFIG_MAPS, config_map()))[0] == 201
    assert dialled == [("10.1.0.7", 9443)]
    assert webhook.paths == ["/check/me?timeout=10s"]

    gone = {**hook, "clientConfig": {"service": {**service, "name": "gone"}, "caBundle": webhook.ca}}
    await api.replace(REGISTER.format("validating") + "/hooks", configuration("Validating", gone))
    code, status = await api("POST", CONFIG_MAPS, config_map("b"))
    assert status["message"].endswith('svc:8443/check/me?timeout=10s": service "gone" not found')


async def test_custom_resources_are_patched_and_pruned(api: Local, webhook: Webhook) -> None:
    properties = {"spec": {"type": "object", "properties": {"size": {"type": "integer", "default": 1}}}}
    versions = [
        {
            "name": name,
            "served": True,
            "storage": name == "v1",
            "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
        }
        for name in ("v1", "v2")
    ]
    names = {"plural": "things", "singular": "thing", "kind": "Thing"}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": versions},
    }
    assert (await api("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition))[0] == 201
    await register(api, "Mutating", webhook.hook(rules=[rule("things", "example.com", "v1")]))
    webhook.answer = lambda request: patch({"op": "add", "path": "/spec", "value": {"unknown": 5}})
    path = "/apis/example.com/v2/namespaces/default/things"
    body = {"apiVersion": "example.com/v2", "kind": "Thing", "metadata": {"name": "t"}}
    for _ in range(100):
        code, made = await api("POST", path, body)
        if code != 404:
            break
        await asyncio.sleep(0)
    assert (code, made.get("apiVersion"), made.get("spec")) == (201, "example.com/v2", {"size": 1}), made
    assert webhook.seen[0]["object"]["apiVersion"] == "example.com/v1", "asked in the version of its rule"
    webhook.answer = lambda request: patch({"op": "add", "path": "/spec", "value": {"size": "big"}})
    assert (await api("POST", path, {**body, "metadata": {"name": "u"}}))[0] in (422, 500)


async def test_patches_that_cross_are_both_made(api: Local, webhook: Webhook) -> None:
    """While a webhook thinks, others write: a patch is made again on what is there then; a whole object is refused."""
    assert (await api("POST", CONFIG_MAPS, config_map()))[0] == 201
    await register(api, "Validating", webhook.hook())
    both, release = asyncio.Event(), asyncio.Event()

    async def answer(request: dict[str, Any]) -> dict[str, Any]:
        if len(webhook.seen) == 2:
            both.set()
        if "slow" in request["object"]["data"]:
            await release.wait()
        return {"allowed": True}

    webhook.answer = answer
    merge = "application/merge-patch+json"
    read = (await api("GET", CONFIG_MAPS + "/a"))[1]
    slow = asyncio.ensure_future(api("PATCH", CONFIG_MAPS + "/a", {"data": {"slow": "1"}}, merge))
    whole = asyncio.ensure_future(api("PUT", CONFIG_MAPS + "/a", {**read, "data": {"slow": "2"}}))
    await both.wait()
    assert (await api("PATCH", CONFIG_MAPS + "/a", {"data": {"fast": "1"}}, merge))[0] == 200
    release.set()
    assert (await slow)[0] == 200
    assert (await whole)[0] == 409
    assert (await api("GET", CONFIG_MAPS + "/a"))[1]["data"] == {"k": "v", "fast": "1", "slow": "1"}


async def test_built_in_plugins_run_again_after_a_change(api: Local, webhook: Webhook) -> None:
    """A container that a webhook adds gets the token's mount as the others did, and those get nothing twice."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    await api("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    await register(api, "Mutating", webhook.hook(rules=[rule("pods")]))
    added = {"name": "sidecar", "image": "s"}
    webhook.answer = lambda request: patch({"op": "add", "path": "/spec/containers/-", "value": added})
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "main", "image": "m"}]},
    }
    code, made = await api("POST", "/api/v1/namespaces/default/pods", pod)
    assert code == 201, made
    main, sidecar = made["spec"]["containers"]
    assert [mount["mountPath"] for mount in main["volumeMounts"]] == ["/var/run/secrets/kubernetes.io/serviceaccount"]
    assert sidecar["volumeMounts"] == main["volumeMounts"]
    assert len(made["spec"]["volumes"]) == 1
    assert len(webhook.seen) == 1, "it does not ask to be asked again"

"""MutatingAdmissionPolicy: changes in CEL, bound to what they are about."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from sampan.cluster.certificates import Pki
from tests.conftest import Local
from tests.mutating_policies import (
    BINDINGS,
    CONFIG_MAPS,
    DEFAULT,
    GROUP,
    MERGE,
    PARAMS,
    PODS,
    POLICIES,
    SERVICE,
    SERVICES,
    UNTYPED,
    binding,
    config_map,
    enforce,
    label,
    labels,
    pod,
    policy,
    refused,
    rule,
)
from tests.webhook_server import Webhook, configuration, patch, serving


async def test_a_policy_sets_a_label(api: Local) -> None:
    assert (await api("POST", POLICIES, policy(label(by="policy"))))[0] == 201
    assert await labels(api, config_map("unbound", {"k": "v"})) is None
    assert (await api("POST", BINDINGS, binding()))[0] == 201
    assert await labels(api, config_map(labels={"mine": "yes"})) == {"mine": "yes", "by": "policy"}
    code, made = await api("PATCH", CONFIG_MAPS + "/unbound", {"data": {"x": "y"}}, MERGE)
    assert (code, made["metadata"]["labels"]) == (200, {"by": "policy"})
    # fields that policies set belong to nobody
    (owner,) = made["metadata"]["managedFields"]
    assert owner["fieldsV1"] == {"f:data": {".": {}, "f:k": {}, "f:x": {}}}
    assert (await api("DELETE", CONFIG_MAPS + "/unbound"))[0] == 200


async def test_mutations_see_what_those_before_have_made(api: Local) -> None:
    """One failing does not keep the others from being made; by name, whoever was there first."""
    variables = [
        {"name": "n", "expression": "int(object.data.n)"},
        {"name": "next", "expression": "string(variables.n + 1)"},
    ]
    add = "[JSONPatch{op: 'replace', path: '/data/n', value: variables.next}]"
    apply = "Object{data: {'n': variables.next, 'by': request.name + namespaceObject.metadata.name}}"
    made = policy(add, "Object{dat: {'n': '9'}}", apply, variables=variables, failurePolicy="Ignore")
    await enforce(api, made)
    last = [{"name": "changed", "expression": "object.data.n == '3' && oldObject == null"}]
    await enforce(api, policy("Object{data: {'seen': object.data.n}}", name="q", matchConditions=last))
    code, found = await api("POST", CONFIG_MAPS, config_map(data={"n": "1"}))
    assert (code, found["data"]) == (201, {"n": "3", "by": "adefault", "seen": "3"})
    code, found = await api("PATCH", CONFIG_MAPS + "/a", {"data": {"n": "0", "seen": None}}, MERGE)
    assert (code, found["data"]) == (200, {"n": "2", "by": "adefault"})


async def test_what_failed_is_told_of_together(api: Local) -> None:
    await enforce(api, policy("Object{a: 1}", "Object{b: 1}", name="p"))
    kind = {"apiVersion": "rules.example.com/v1", "kind": "Limit"}
    ref = {"name": "x", "parameterNotFoundAction": "Deny"}
    await enforce(api, policy(label(q="q"), name="q", paramKind=kind), binding("q-b", "q", paramRef=ref))
    code, found = await api("POST", CONFIG_MAPS, config_map())
    unknown = "failed to find resource referenced by paramKind: 'rules.example.com/v1, Kind=Limit'"
    first = f'policy "q" denied request: failed to configure policy: {unknown}'
    assert (code, found["reason"], found["message"]) == (403, "Forbidden", first)
    others = [refused(f"{UNTYPED}.{name}: field not declared in schema")[1] for name in "ab"]
    assert [cause["message"] for cause in found["details"]["causes"]] == [first, *others]
    await api.replace(POLICIES + "/q", policy(label(q="q"), name="q", paramKind=PARAMS))
    assert (await api("DELETE", POLICIES + "/p"))[0] == 200
    missing = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    code, found = await api("POST", CONFIG_MAPS, config_map())
    assert (code, found["reason"], found["message"]) == (403, "Forbidden", refused(missing, name="q")[1])


PARAMETER = "Object{metadata: Object.metadata{annotations: params.data}}"


async def test_parameters(api: Local) -> None:
    """By name or by labels, then one after the other; none is fine with Allow."""
    for name, data in (("one", {"first": "1"}), ("two", {"second": "2"})):
        made = config_map(name, data, labels={"params": "yes"})
        assert (await api("POST", CONFIG_MAPS, made))[0] == 201
    rules = [rule("services", operations=["CREATE"])]
    by_name = binding("n", paramRef={"name": "one", "parameterNotFoundAction": "Deny"})
    await enforce(api, policy(PARAMETER, rules=rules, paramKind=PARAMS), by_name)

    async def annotations() -> Any:
        code, made = await api("POST", SERVICES + "?dryRun=All", SERVICE)
        return made["metadata"].get("annotations") if code == 201 else (code, made["message"])

    assert await annotations() == {"first": "1"}
    selector = {"selector": {"matchLabels": {"params": "yes"}}, "parameterNotFoundAction": "Allow"}
    await api.replace(BINDINGS + "/n", binding("n", paramRef={**selector, "namespace": "default"}))
    assert await annotations() == {"first": "1", "second": "2"}
    await api.replace(BINDINGS + "/n", binding("n", paramRef={**selector, "namespace": "kube-system"}))
    assert await annotations() is None
    # without paramRef there are no params
    await api.replace(BINDINGS + "/n", binding("n"))
    why = f"policy 'p' with binding 'n' denied request: expression '{PARAMETER}' resulted in error: no such key: data"
    assert await annotations() == (403, why)


COUNT = "Object{{metadata: Object.metadata{{annotations: {{'n': string(int(object.metadata.annotations['n']) + 1), '{}': ''}}}}}}"


async def counted(api: Local) -> Any:
    code, made = await api("POST", CONFIG_MAPS + "?dryRun=All", config_map(annotations={"n": "0"}))
    assert code == 201, made
    return made["metadata"]["annotations"]


async def test_policies_are_asked_again(api: Local) -> None:
    """Once, if they ask for it: they may have been asked before others made their changes."""
    for name, again in (("p1", "IfNeeded"), ("p2", "IfNeeded"), ("p3", "Never")):
        await enforce(api, policy(COUNT.format(name), name=name, reinvocationPolicy=again))
    assert await counted(api) == {"n": "5", "p1": "", "p2": "", "p3": ""}


async def test_for_each_parameter_they_are_asked_again(api: Local) -> None:
    for name in ("one", "two", "three"):
        made = config_map(name, {name: "yes"}, labels={"params": "no" if name == "three" else "yes"})
        assert (await api("POST", CONFIG_MAPS, made))[0] == 201
    count = COUNT.format("counted")
    again = policy(PARAMETER, count, name="p", paramKind=PARAMS, reinvocationPolicy="IfNeeded")
    selector = {"selector": {"matchLabels": {"params": "yes"}}, "parameterNotFoundAction": "Allow"}
    await enforce(api, again, binding("b", paramRef=selector))
    never = policy(PARAMETER, count, name="q", paramKind=PARAMS)
    await enforce(api, never, binding("c", "q", paramRef={"name": "three", "parameterNotFoundAction": "Allow"}))
    assert await counted(api) == {"n": "5", "counted": "", "one": "yes", "two": "yes", "three": "yes"}


@pytest.fixture
async def webhook(pki: Pki) -> AsyncIterator[Webhook]:
    async with serving(pki) as made:
        yield made


@pytest.mark.parametrize("again", ["IfNeeded", "Never"])
async def test_webhooks_come_after_policies_and_may_bring_them_back(api: Local, webhook: Webhook, again: str) -> None:
    condition = [{"name": "unseen", "expression": "!('seen' in object.metadata.annotations)"}]
    seen = "Object{metadata: Object.metadata{annotations: {?'seen': object.metadata.annotations[?'hook']}}}"
    await enforce(api, policy(seen, reinvocationPolicy=again, matchConditions=condition))
    hook = webhook.hook(reinvocationPolicy=again)
    path = f"{GROUP}/mutatingwebhookconfigurations"
    assert (await api("POST", path, configuration("Mutating", hook)))[0] == 201
    webhook.answer = lambda request: patch(
        {"op": "add", "path": "/metadata/annotations/hook", "value": str(len(webhook.seen))}
    )
    found = await counted(api)
    if again == "Never":
        assert found == {"n": "0", "hook": "1"}
        assert len(webhook.seen) == 1
        return
    # what the policy made of it in the second round the webhook is shown, and changes once more
    assert found == {"n": "0", "hook": "2", "seen": "1"}
    assert [asked["object"]["metadata"]["annotations"] for asked in webhook.seen] == [
        {"n": "0"},
        {"n": "0", "hook": "1", "seen": "1"},
    ]


async def test_a_policy_sees_what_webhooks_made_only_if_it_is_asked_again(api: Local, webhook: Webhook) -> None:
    """The one whose conditions did not hold the first time is not."""
    condition = [{"name": "hooked", "expression": "'hook' in object.metadata.annotations"}]
    await enforce(api, policy(COUNT.format("p"), reinvocationPolicy="IfNeeded", matchConditions=condition))
    path = f"{GROUP}/mutatingwebhookconfigurations"
    assert (await api("POST", path, configuration("Mutating", webhook.hook())))[0] == 201
    webhook.answer = lambda request: patch({"op": "add", "path": "/metadata/annotations/hook", "value": ""})
    assert await counted(api) == {"n": "0", "hook": ""}
    assert len(webhook.seen) == 1


async def test_built_in_plugins_see_what_policies_have_made(api: Local) -> None:
    """A container that a policy adds gets the token's mount as the others did."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    await api("POST", f"{DEFAULT}/serviceaccounts", account)
    added = "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'sidecar', image: 's'}]}}"
    await enforce(api, policy(added, rules=[rule("pods")]))
    code, made = await api("POST", PODS, pod(automountServiceAccountToken=True))
    assert code == 201, made
    main, sidecar = made["spec"]["containers"]
    assert sidecar["volumeMounts"] == main["volumeMounts"] != []
    assert len(made["spec"]["volumes"]) == 1


async def test_validation_comes_after(api: Local) -> None:
    await enforce(api, policy(label(bad="not a label!")))
    code, found = await api("POST", CONFIG_MAPS, config_map())
    assert (code, found["details"]["causes"][0]["field"]) == (422, "metadata.labels")


async def test_selectors_exclusions_and_bindings(api: Local) -> None:
    made = policy(label(a="c"))
    made["spec"]["matchConstraints"]["excludeResourceRules"] = [rule(resourceNames=["spared"])]
    resources = {"objectSelector": {"matchLabels": {"a": "b"}}, "resourceRules": [rule(operations=["CREATE"])]}
    await enforce(api, made, binding(matchResources=resources))
    # what selectors see is settled before the first change
    await enforce(api, policy(label(a="b"), name="o"))
    await api.replace(
        BINDINGS + "/o-b", binding("o-b", "o", matchResources={"resourceRules": [rule(resourceNames=["late"])]})
    )
    assert await labels(api, config_map("late")) == {"a": "b"}
    assert await labels(api, config_map("free")) is None
    assert await labels(api, config_map("spared", labels={"a": "b"})) == {"a": "b"}
    assert await labels(api, config_map("held", labels={"a": "b"})) == {"a": "c"}


async def test_applying_and_subresources(api: Local) -> None:
    """Who applies owns what he applied, not what policies make of it; a status and a scale are changed as such."""
    await enforce(api, policy("Object{data: {'k': 'policy'}}"))
    body = config_map("applied", {"k": "mine"})
    code, made = await api("PATCH", CONFIG_MAPS + "/applied?fieldManager=me", body, "application/apply-patch+yaml")
    assert (code, made["data"]) == (201, {"k": "policy"})
    (owner,) = made["metadata"]["managedFields"]
    assert (owner["manager"], owner["fieldsV1"]) == ("me", {"f:data": {"f:k": {}}})

    status = """Object{status: Object.status{conditions: [Object.status.conditions{
        type: "NamespaceDeletionContentFailure", message: "mutated"}]}}"""
    await enforce(api, policy(status, name="status", rules=[rule("namespaces/status")]))
    found = (await api("GET", "/api/v1/namespaces/default"))[1]
    found["status"]["conditions"] = [{"type": "NamespaceDeletionContentFailure", "status": "Unknown"}]
    code, found = await api("PUT", "/api/v1/namespaces/default/status", found)
    assert (code, found["status"]["conditions"][0]["message"]) == (200, "mutated")

    scale = "Object{spec: Object.spec{replicas: object.spec.replicas > 3 ? 3 : object.spec.replicas}}"
    await enforce(api, policy(scale, name="scale", rules=[rule("replicationcontrollers/scale")]))
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    controller = {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": "r"},
        "spec": {"replicas": 9, "selector": {"a": "b"}, "template": template},
    }
    assert (await api("POST", f"{DEFAULT}/replicationcontrollers", controller))[0] == 201
    where = f"{DEFAULT}/replicationcontrollers/r"
    assert (await api("PATCH", where + "/scale", {"spec": {"replicas": 8}}, MERGE))[1]["spec"]["replicas"] == 3
    assert (await api("GET", where))[1]["spec"]["replicas"] == 3


async def test_other_versions_of_a_kind(api: Local) -> None:
    """A policy for autoscaling/v1 changes a v2 object in v1, after one that changed it in v2."""
    second = policy(
        "Object{spec: Object.spec{maxReplicas: object.spec.maxReplicas + 1}}",
        name="a",
        rules=[rule("horizontalpodautoscalers", "autoscaling", "v2")],
    )
    first = policy(
        "Object{spec: Object.spec{targetCPUUtilizationPercentage: object.spec.maxReplicas * 10}}",
        name="b",
        rules=[rule("horizontalpodautoscalers", "autoscaling", "v1")],
    )
    await enforce(api, first)
    await enforce(api, second)
    body = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}},
    }
    code, made = await api("POST", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", body)
    assert (code, made["apiVersion"], made["spec"]["maxReplicas"]) == (201, "autoscaling/v2", 4)
    assert made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 40


async def test_costs_are_bounded(api: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each mutation by itself, with the variables it asks for."""
    monkeypatch.setattr("sampan.apiserver.policies.mutate.BUDGET", 1000)
    cheap = "object.data.all(k, object.data.all(l, k.size() < 100)) ? Object{} : Object{}"
    variables = [{"name": "v", "expression": "object.data.all(k, object.data.all(l, k.size() < 100))"}]
    await enforce(api, policy(cheap, cheap, cheap, variables=variables))
    data = {f"k{index}": "" for index in range(10)}
    assert await labels(api, config_map(data=data)) is None
    both = "variables.v && " + cheap
    await api.replace(POLICIES + "/p", policy(both, variables=variables))
    out = "validation failed due to running out of cost budget, no further validation rules will be run"
    assert await labels(api, config_map("b", data)) == refused(out)


async def test_policies_have_no_say_about_policies(api: Local) -> None:
    everything = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}
    await enforce(api, policy(label(by="policy"), rules=[everything]))
    for path, body in ((POLICIES, policy(label(), name="q")), (BINDINGS, binding("q"))):
        assert "labels" not in (await api("POST", path, body))[1]["metadata"]
    hooks = {**configuration("Mutating", name="h"), "webhooks": []}
    code, made = await api("POST", f"{GROUP}/mutatingwebhookconfigurations", hooks)
    assert (code, made["metadata"]["labels"]) == (201, {"by": "policy"})


async def test_who_may_refer_to_parameters(api: Local) -> None:
    """Those who may read them: a policy shows them to everybody."""
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "policies"},
        "rules": [{"apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"], "verbs": ["*"]}],
    }
    subject = {"kind": "User", "name": "ada", "apiGroup": "rbac.authorization.k8s.io"}
    bound = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "policies"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "policies"},
        "subjects": [subject],
    }
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    assert (await api("POST", f"{rbac}/clusterroles", role))[0] == 201
    assert (await api("POST", f"{rbac}/clusterrolebindings", bound))[0] == 201
    secrets = {"apiVersion": "v1", "kind": "Secret"}
    who = "&{ada  [system:authenticated] map[]}"

    async def as_ada(path: str, body: dict[str, Any]) -> tuple[int, str]:
        code, reply = await api("POST", path, body, impersonate_user="ada")
        return code, reply.get("message", "").partition("is invalid: ")[2]

    why = (
        f'user {who} must have "get" permission on all objects of the referenced paramKind (kind=Secret, apiVersion=v1)'
    )
    assert await as_ada(POLICIES, policy(PARAMETER, paramKind=secrets)) == (422, f"spec.paramKind: Forbidden: {why}")
    assert (await as_ada(POLICIES, policy(label(), name="q")))[0] == 201
    assert (await api("POST", POLICIES, policy(PARAMETER, paramKind=secrets)))[0] == 201
    named = binding(paramRef={"name": "s", "parameterNotFoundAction": "Deny"})
    why = f'user {who} does not have "get" permission on the object referenced by paramRef'
    assert await as_ada(BINDINGS, named) == (422, f"spec.paramRef: Forbidden: {why}")
    selected = binding(paramRef={"selector": {}, "parameterNotFoundAction": "Deny"})
    assert '"list" permission on the object' in (await as_ada(BINDINGS, selected))[1]
    why = (
        f"unable to get policy none to determine minimum required permissions and user {who} does not have "
        '"get" permission for all groups, versions and resources'
    )
    nowhere = binding(policy="none", paramRef=named["spec"]["paramRef"])
    assert await as_ada(BINDINGS, nowhere) == (422, f"spec.paramRef: Forbidden: {why}")
    assert (await as_ada(BINDINGS, binding()))[0] == 201


async def test_metrics(api: Local) -> None:
    await enforce(api, policy(label(a="b"), "Object{a: 1}", failurePolicy="Ignore"))
    assert await labels(api) == {"a": "b"}
    text = (await api.raw("GET", "/metrics")).body
    assert isinstance(text, bytes)
    name = "apiserver_mutating_admission_policy_check_total"
    found = [line for line in text.decode().splitlines() if line.startswith(name)]
    assert found == [
        f'{name}{{error_type="invalid_error",policy="p",policy_binding="p-b"}} 1',
        f'{name}{{error_type="no_error",policy="p",policy_binding="p-b"}} 1',
    ]
    assert "apiserver_mutating_admission_policy_check_duration_seconds_bucket" in text.decode()

"""ValidatingAdmissionPolicy: rules in CEL, bound to what they are about."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.apiserver.admission.chain import Attributes
from tests.conftest import Local

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
GROUP = "/apis/admissionregistration.k8s.io/v1"
POLICIES, BINDINGS = f"{GROUP}/validatingadmissionpolicies", f"{GROUP}/validatingadmissionpolicybindings"


def config_map(name: str = "a", data: dict[str, str] | None = None, **meta: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **meta}, "data": data or {}}


def policy(*validations: dict[str, Any] | str, name: str = "p", **more: Any) -> dict[str, Any]:
    rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    checks = [{"expression": item} if isinstance(item, str) else item for item in validations]
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": checks, **more}
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


def binding(name: str = "b", policy: str = "p", **more: Any) -> dict[str, Any]:
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding"}
    spec = {"policyName": policy, "validationActions": ["Deny"], **more}
    return {**kind, "metadata": {"name": name}, "spec": spec}


async def enforce(api: Local, made: dict[str, Any], *bindings: dict[str, Any]) -> None:
    for path, body in ((POLICIES, made), *((BINDINGS, item) for item in bindings or (binding(),))):
        code, reply = await api("POST", path, body)
        assert code == 201, reply


async def type_checked(api: Local) -> dict[str, Any]:
    """The policy, once its status tells of its types."""
    async with asyncio.timeout(10):
        while True:
            found: dict[str, Any] = (await api("GET", POLICIES + "/p"))[1]
            if found.get("status", {}).get("observedGeneration"):
                return found
            await asyncio.sleep(0.001)


def refused(message: str, name: str = "a") -> str:
    return (
        f"configmaps \"{name}\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: {message}"
    )


async def write(api: Local, body: dict[str, Any] | None = None, **more: Any) -> tuple[int, str]:
    code, reply = await api("POST", CONFIG_MAPS, body or config_map(), **more)
    return code, reply.get("message", "")


async def test_a_policy_refuses(api: Local) -> None:
    await enforce(api, policy("object.data.size() > 0"))
    code, status = await api("POST", CONFIG_MAPS, config_map())
    message = refused("failed expression: object.data.size() > 0")
    # an absent field is an error, not an empty map
    assert status["message"] == refused("expression 'object.data.size() > 0' resulted in error: no such key: data")
    code, status = await api("POST", CONFIG_MAPS, config_map(data={"k": "v"}))
    assert code == 201
    await api.replace(POLICIES + "/p", {**policy("object.data.size() > 1"), "metadata": {"name": "p"}})
    message = refused("failed expression: object.data.size() > 1", "b")
    code, status = await api("POST", CONFIG_MAPS, config_map("b", data={"k": "v"}))
    assert (code, status["reason"], status["message"]) == (422, "Invalid", message)
    cause = message.partition("forbidden: ")[2]
    assert status["details"] == {"name": "b", "kind": "configmaps", "causes": [{"message": cause}]}


async def test_without_a_binding_nothing_happens(api: Local) -> None:
    assert (await api("POST", POLICIES, policy("false")))[0] == 201
    assert (await write(api))[0] == 201


@pytest.mark.parametrize(
    ("validation", "code", "reason", "message"),
    [
        ({"message": " told "}, 422, "Invalid", "told"),
        ({"reason": "Forbidden"}, 403, "Forbidden", "failed expression: false"),
        ({"reason": "RequestEntityTooLarge"}, 413, "RequestEntityTooLarge", "failed expression: false"),
        ({"messageExpression": "'no ' + object.metadata.name", "message": "m"}, 422, "Invalid", "no a"),
        ({"messageExpression": "string(object.nothing)", "message": "m"}, 422, "Invalid", "m"),
        ({"messageExpression": "'a\\nb'"}, 422, "Invalid", "failed expression: false"),
        ({"messageExpression": "' '"}, 422, "Invalid", "failed expression: false"),
    ],
)
async def test_messages_and_reasons(
    api: Local, validation: dict[str, Any], code: int, reason: str, message: str
) -> None:
    await enforce(api, policy({"expression": "false", **validation}))
    got, status = await api("POST", CONFIG_MAPS, config_map())
    assert (got, status["reason"], status["message"]) == (code, reason, refused(message))


async def test_variables_are_lazy_and_build_on_each_other(api: Local) -> None:
    variables = [
        {"name": "labels", "expression": "object.metadata.?labels.orValue({})"},
        {"name": "count", "expression": "variables.labels.size()"},
        {"name": "broken", "expression": "object.metadata.labels.nothing"},
        {"name": "none", "expression": "dyn(null)"},
    ]
    made = policy(
        "variables.count < 2",
        "variables.count == 0 || variables.broken == 'x'",
        "variables.none == null",
        variables=variables,
    )
    await enforce(api, made)
    assert (await write(api))[0] == 201
    code, message = await write(api, config_map("b", labels={"a": "b"}))
    told = 'composited variable "broken" fails to evaluate: no such key: nothing'
    assert (code, message) == (
        422,
        refused(f"expression 'variables.count == 0 || variables.broken == 'x'' resulted in error: {told}", "b"),
    )
    assert (await write(api, config_map("c", labels={"a": "b", "c": "d"})))[1] == refused(
        "failed expression: variables.count < 2", "c"
    )


async def test_what_expressions_see(api: Local) -> None:
    made = policy(
        "request.operation == 'CREATE' ? oldObject == null : request.operation == 'DELETE' ? object == null : true",
        "request.userInfo.username == 'kubernetes-admin' && 'system:masters' in request.userInfo.groups",
        "request.resource.resource == 'configmaps' && request.kind.kind == 'ConfigMap' && !has(request.subResource)",
        "namespaceObject.metadata.name == 'default' && namespaceObject.status.phase == 'Active'",
        "namespaceObject.metadata.labels['kubernetes.io/metadata.name'] == request.namespace",
        "authorizer.group('').resource('pods').namespace('x').check('create').allowed()",
        "authorizer.requestResource.check('delete').allowed() && authorizer.path('/healthz').check('get').allowed()",
        "!authorizer.serviceAccount('default', 'nobody').group('').resource('secrets').check('get').allowed()",
        "request.dryRun == false || request.options.dryRun == ['All']",
    )
    await enforce(api, made)
    assert await write(api) == (201, "")
    assert (await api("PATCH", CONFIG_MAPS + "/a", {"data": {"x": "y"}}, "application/merge-patch+json"))[0] == 200
    assert (await api("DELETE", CONFIG_MAPS + "/a?dryRun=All"))[0] == 200
    assert (await api("DELETE", CONFIG_MAPS + "/a"))[0] == 200


async def test_match_conditions(api: Local) -> None:
    conditions = [
        {"name": "not-exempt", "expression": "!object.metadata.name.startsWith('exempt')"},
        {"name": "fails", "expression": "object.metadata.labels.strict == 'yes'"},
    ]
    await enforce(api, policy("false", matchConditions=conditions))
    assert (await write(api, config_map("exempt-1")))[0] == 201, "one that is false settles it"
    assert (await write(api, config_map("b", labels={"strict": "no"})))[0] == 201
    assert (await write(api, config_map("c", labels={"strict": "yes"})))[1] == refused("failed expression: false", "c")
    why = "expression 'object.metadata.labels.strict == 'yes'' resulted in error: no such key: labels"
    assert await write(api, config_map("d")) == (422, refused(why, "d"))


async def test_ignored_failures(api: Local) -> None:
    await enforce(api, policy("object.data.nothing == 1", failurePolicy="Ignore"))
    assert (await write(api))[0] == 201
    made = policy("object.data.nothing == 1", "object.metadata.name != 'z'", failurePolicy="Ignore")
    await api.replace(POLICIES + "/p", made)
    assert (await write(api, config_map("z")))[0] == 422, "only errors are ignored"


async def test_actions(api: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    noted: dict[str, str] = {}
    monkeypatch.setattr(Attributes, "annotate", lambda self, key, value: noted.setdefault(key, value))
    annotations = [
        {"key": "who", "valueExpression": "request.userInfo.username"},
        {"key": "none", "valueExpression": "null"},
    ]
    made = policy("false", {"expression": "true"}, auditAnnotations=annotations)
    await enforce(api, made, binding(validationActions=["Warn", "Audit"]))
    reply = await api.raw("POST", CONFIG_MAPS, config_map())
    by = "ValidatingAdmissionPolicy 'p' with binding 'b'"
    assert (reply.code, dict(reply.headers)["Warning"]) == (
        201,
        f'299 - "Validation failed for {by}: failed expression: false"',
    )
    failure = noted.pop("validation.policy.admission.k8s.io/validation_failure")
    assert '"expressionIndex":0' in failure
    assert noted == {"p/who": "kubernetes-admin"}


async def test_selectors_exclusions_and_bindings(api: Local) -> None:
    made = policy("false")
    rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["*"], "resources": ["configmaps"]}
    made["spec"]["matchConstraints"]["excludeResourceRules"] = [{**rule, "resourceNames": ["spared"]}]
    resources = {"objectSelector": {"matchLabels": {"a": "b"}}, "resourceRules": [{**rule, "operations": ["CREATE"]}]}
    await enforce(api, made, binding(matchResources=resources))
    assert (await write(api, config_map("free")))[0] == 201
    assert (await write(api, config_map("spared", labels={"a": "b"})))[0] == 201
    assert (await write(api, config_map("held", labels={"a": "b"})))[0] == 422


async def test_parameters(api: Local) -> None:
    made = policy("object.data.size() <= int(params.data.most)", paramKind={"apiVersion": "v1", "kind": "ConfigMap"})
    rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    made["spec"]["matchConstraints"]["excludeResourceRules"] = [{**rule, "resourceNames": ["limit", "limit2"]}]
    ref = {"name": "limit", "parameterNotFoundAction": "Deny"}
    await enforce(api, made, binding(paramRef=ref))
    missing = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    assert await write(api, config_map(data={"x": ""})) == (422, refused(missing))
    assert (await write(api, config_map("limit", {"most": "1"}, labels={"limits": "yes"})))[0] == 201
    assert (await write(api, config_map(data={"x": ""})))[0] == 201
    two = config_map("b", {"x": "", "y": ""})
    assert (await write(api, two))[1] == refused("failed expression: object.data.size() <= int(params.data.most)", "b")
    # by labels: each of them, in any order; none is fine with Allow
    selector = {"selector": {"matchLabels": {"limits": "yes"}}, "parameterNotFoundAction": "Allow"}
    await api.replace(BINDINGS + "/b", binding(paramRef=selector))
    assert (await write(api, two))[0] == 422
    assert (await api("DELETE", CONFIG_MAPS + "/limit"))[0] == 200
    assert (await write(api, two))[0] == 201
    await api.replace(BINDINGS + "/b", binding(paramRef={**ref, "namespace": "kube-system"}))
    assert "no params found" in (await write(api, config_map("c", {"x": ""})))[1]


async def test_an_unknown_kind_of_parameters(api: Local) -> None:
    made = policy("params == null", paramKind={"apiVersion": "rules.example.com/v1", "kind": "Limit"})
    await enforce(api, made, binding(paramRef={"name": "x", "parameterNotFoundAction": "Deny"}))
    why = "failed to find resource referenced by paramKind: 'rules.example.com/v1, Kind=Limit'"
    by = "configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'p' denied request"
    assert await write(api) == (422, f"{by}: failed to configure policy: {why}")


async def test_costs_are_bounded(api: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a policy's expressions together may cost so much, and others are served between them."""
    monkeypatch.setattr("sampan.apiserver.policies.evaluate.BUDGET", 200_000)
    square = "object.data.all(k, object.data.all(l, k.size() < 100))"
    await enforce(api, policy(*[square] * 12))
    writing = asyncio.ensure_future(write(api, config_map(data={f"k{index}": "" for index in range(100)})))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (await api("GET", "/api/v1/namespaces/default"))[0] == 200
    assert not writing.done()
    out = "validation failed due to running out of cost budget, no further validation rules will be run"
    assert await writing == (422, refused(out))


async def test_variables_have_their_share_of_what_it_may_cost(api: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.apiserver.policies.evaluate.BUDGET", 1000)
    square = "object.data.all(k, object.data.all(l, k.size() < 100))"
    await enforce(api, policy(square, variables=[{"name": "v", "expression": square}]))
    data = {f"k{index}": "" for index in range(10)}
    assert (await write(api, config_map(data=data)))[0] == 201
    await api.replace(
        POLICIES + "/p", policy(f"variables.v && {square}", variables=[{"name": "v", "expression": square}])
    )
    out = "validation failed due to running out of cost budget, no further validation rules will be run"
    assert await write(api, config_map("b", data)) == (422, refused(out, "b"))


@pytest.mark.slow
async def test_one_call_may_cost_so_much(api: Local) -> None:
    square = "object.data.all(k, object.data.all(l, k.size() < 100))"
    await enforce(api, policy(square))
    code, message = await write(api, config_map(data={f"k{index}": "" for index in range(600)}))
    why = f"expression '{square}' resulted in error: operation cancelled: actual cost limit exceeded"
    assert (code, message) == (422, refused(why))


async def test_type_checking_warns_in_status(api: Local) -> None:
    rule = {"operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
    made = policy(
        "object.replicas > 1",
        {"expression": "object.spec.replicas > 1", "messageExpression": "object.spec.replicas.x"},
        matchConstraints={"resourceRules": [rule]},
    )
    made["spec"]["validations"][1]["messageExpression"] = "string(object.specs.replicas)"
    assert (await api("POST", POLICIES, made))[0] == 201
    found = await type_checked(api)
    assert found["status"]["observedGeneration"] == 1
    first, second = found["status"]["typeChecking"]["expressionWarnings"]
    assert first["fieldRef"] == "spec.validations[0].expression"
    assert first["warning"] == (
        "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n | object.replicas > 1\n | ......^\n"
    )
    assert second["fieldRef"] == "spec.validations[1].messageExpression"
    managers = {entry["manager"]: entry for entry in found["metadata"]["managedFields"]}
    assert managers["validatingadmissionpolicy-status"]["operation"] == "Apply"


async def test_policies_are_exempt_from_policies(api: Local) -> None:
    everything = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}
    await enforce(api, policy("false", matchConstraints={"resourceRules": [everything]}))
    assert (await write(api))[0] == 422
    hooks = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
    path = f"{GROUP}/mutatingwebhookconfigurations"
    assert (await api("POST", path, {**hooks, "metadata": {"name": "h"}}))[0] == 422, "webhooks are not"
    assert (await api("DELETE", BINDINGS + "/b"))[0] == 200
    assert (await write(api))[0] == 201


async def test_other_versions_of_a_kind(api: Local) -> None:
    """A policy for autoscaling/v1 judges a v2 object in v1."""
    rule = {
        "operations": ["*"],
        "apiGroups": ["autoscaling"],
        "apiVersions": ["v1"],
        "resources": ["horizontalpodautoscalers"],
    }
    checks = ("object.apiVersion == 'autoscaling/v1'", "object.spec.targetCPUUtilizationPercentage < 50")
    await enforce(api, policy(*checks, matchConstraints={"resourceRules": [rule]}))
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
    }
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    body = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": target, "metrics": [metric]},
    }
    code, status = await api("POST", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", body)
    assert (code, status["message"].rpartition(": ")[2]) == (
        422,
        "object.spec.targetCPUUtilizationPercentage < 50",
    )


async def test_custom_kinds_as_objects_and_parameters(api: Local) -> None:
    """Typed where they are defined: a field that is not there is told of in status."""
    spec = {"type": "object", "properties": {"most": {"type": "integer"}}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
    }
    names = {"plural": "limits", "singular": "limit", "kind": "Limit"}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "limits.example.com"},
        "spec": {"group": "example.com", "scope": "Cluster", "names": names, "versions": [version]},
    }
    assert (await api("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition))[0] == 201
    limit = {"apiVersion": "example.com/v1", "kind": "Limit", "metadata": {"name": "l"}, "spec": {"most": 1}}
    for _ in range(100):
        code = (await api("POST", "/apis/example.com/v1/limits", limit))[0]
        if code != 404:
            break
        await asyncio.sleep(0)
    assert code == 201
    kind = {"apiVersion": "example.com/v1", "kind": "Limit"}
    made = policy("object.data.size() <= params.spec.most", "params.spec.least == 0 || true", paramKind=kind)
    await enforce(api, made, binding(paramRef={"name": "l", "parameterNotFoundAction": "Deny"}))
    assert (await write(api, config_map("a", {"x": ""})))[0] == 201
    assert (await write(api, config_map("b", {"x": "", "y": ""})))[0] == 422
    found = await type_checked(api)
    (warning,) = found["status"]["typeChecking"]["expressionWarnings"]
    assert warning["fieldRef"] == "spec.validations[1].expression"
    assert "undefined field 'least'" in warning["warning"]


async def test_policies_see_what_webhooks_have_made(api: Local) -> None:
    """Validation comes after all mutation; here the default that the server gives."""
    rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["services"]}
    await enforce(api, policy("object.spec.type != 'ClusterIP'", matchConstraints={"resourceRules": [rule]}))
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    assert (await api("POST", "/api/v1/namespaces/default/services", body))[0] == 422

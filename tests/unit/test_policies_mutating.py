"""MutatingAdmissionPolicy: changes in CEL, bound to what they are about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sampan.cluster.certificates import Pki
from tests.conftest import Local
from tests.webhook_server import Webhook, configuration, patch, serving

DEFAULT = "/api/v1/namespaces/default"
CONFIG_MAPS, PODS, SERVICES = f"{DEFAULT}/configmaps", f"{DEFAULT}/pods", f"{DEFAULT}/services"
GROUP = "/apis/admissionregistration.k8s.io/v1"
POLICIES, BINDINGS = f"{GROUP}/mutatingadmissionpolicies", f"{GROUP}/mutatingadmissionpolicybindings"
MERGE = "application/merge-patch+json"
PARAMS = {"apiVersion": "v1", "kind": "ConfigMap"}


def config_map(name: str = "a", data: dict[str, str] | None = None, **meta: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **meta}, "data": data or {}}


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    containers = [{"name": "main", "image": "m", "command": ["run"]}]
    spec = {"containers": containers, "automountServiceAccountToken": False, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def rule(resource: str = "configmaps", group: str = "", version: str = "v1", **more: Any) -> dict[str, Any]:
    made = {"operations": ["*"], "apiGroups": [group], "apiVersions": [version], "resources": [resource]}
    return {**made, **more}


def mutation(expression: str) -> dict[str, Any]:
    """Of the type that the expression looks like."""
    if expression.lstrip().startswith(("[", "JSON")) or "? [" in expression:
        return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def policy(*expressions: str, name: str = "p", rules: Any = None, **more: Any) -> dict[str, Any]:
    spec = {
        "matchConstraints": {"resourceRules": rules or [rule()]},
        "mutations": [mutation(expression) for expression in expressions],
        "reinvocationPolicy": "Never",
        **more,
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


def binding(name: str = "b", policy: str = "p", **more: Any) -> dict[str, Any]:
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding"}
    return {**kind, "metadata": {"name": name}, "spec": {"policyName": policy, **more}}


async def enforce(api: Local, made: dict[str, Any], *bindings: dict[str, Any]) -> None:
    name = made["metadata"]["name"]
    for path, body in ((POLICIES, made), *((BINDINGS, item) for item in bindings or (binding(f"{name}-b", name),))):
        reply = await api.raw("POST", path, body)
        assert (reply.code, [key for key, _ in reply.headers if key == "Warning"]) == (201, []), reply.body


def label(**labels: str) -> str:
    shown = ", ".join(f"'{key}': {value!r}" for key, value in labels.items())
    return f"Object{{metadata: Object.metadata{{labels: {{{shown}}}}}}}"


async def labels(api: Local, body: dict[str, Any] | None = None) -> Any:
    """Those of a new ConfigMap, or why there is none."""
    code, made = await api("POST", CONFIG_MAPS, body or config_map())
    return made["metadata"].get("labels") if code == 201 else (code, made["message"])


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


def refused(why: str, code: int = 403, name: str = "p") -> tuple[int, str]:
    return code, f"policy '{name}' with binding '{name}-b' denied request: {why}"


SIDECAR = """
  Object{
    spec: Object.spec{
      initContainers: [
        Object.spec.initContainers{
          name: "mesh-proxy",
          image: "mesh/proxy:v1.0.0",
          %s
          restartPolicy: "Always"
        }
      ]
    }
  }
"""
NO_SIDECAR = {
    "name": "does-not-already-have-sidecar",
    "expression": '!object.spec.initContainers.exists(ic, ic.name == "mesh-proxy")',
}
INITIALIZER = {"name": "myapp-initializer", "image": "example/initializer:v1.0.0"}


async def test_a_sidecar_by_apply_configuration(api: Local) -> None:
    """The example of upstream's documentation, but for `args`: an atomic list, which a configuration may not set."""
    made = policy(SIDECAR % "", rules=[rule("pods", operations=["CREATE"])], name="sidecar-policy.example.com")
    made["spec"].update(matchConditions=[NO_SIDECAR], reinvocationPolicy="IfNeeded", failurePolicy="Fail")
    await enforce(api, made)
    code, found = await api("POST", PODS, pod(initContainers=[INITIALIZER]))
    assert code == 201, found
    first, added = found["spec"]["initContainers"]
    assert first["name"] == "myapp-initializer"
    assert added["restartPolicy"] == "Always"
    # it is read as if the client had written it
    assert (added["imagePullPolicy"], added["terminationMessagePath"]) == ("IfNotPresent", "/dev/termination-log")
    code, found = await api("POST", PODS, pod("q"))
    why = f"expression '{NO_SIDECAR['expression']}' resulted in error: no such key: initContainers"
    assert (code, found["reason"], found["message"]) == (403, "Invalid", refused(why, name=made["metadata"]["name"])[1])

    made["spec"]["mutations"] = [mutation(SIDECAR % 'args: ["proxy", "sidecar"],')]
    assert (await api.replace(f"{POLICIES}/{made['metadata']['name']}", made))[0] == 200
    code, found = await api("POST", PODS, pod("q", initContainers=[INITIALIZER]))
    where = ".spec.initContainers[0].args"
    assert found["message"].endswith(
        "denied request: error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or "
        f"structs: {where}"
    )


async def test_a_sidecar_by_json_patch(api: Local) -> None:
    expression = """
    [
      JSONPatch{
        op: "add", path: "/spec/initContainers/-",
        value: Object.spec.initContainers{
          name: "mesh-proxy",
          image: "mesh-proxy/v1.0.0",
          restartPolicy: "Always"
        }
      }
    ]"""
    await enforce(api, policy(expression, rules=[rule("pods")], matchConditions=[NO_SIDECAR]))
    code, found = await api("POST", PODS, pod(initContainers=[INITIALIZER]))
    assert (code, [item["name"] for item in found["spec"]["initContainers"]]) == (
        201,
        ["myapp-initializer", "mesh-proxy"],
    )
    code, found = await api("POST", PODS, pod("q", initContainers=[{**INITIALIZER, "name": "mesh-proxy"}]))
    assert (code, len(found["spec"]["initContainers"])) == (201, 1)


SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "s", "labels": {"x": "1", "y": "2"}},
    "spec": {"selector": {"a": "b"}, "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]},
}


@pytest.mark.parametrize(
    ("expression", "labels", "ports"),
    [
        ("[JSONPatch{op: 'test', path: '/metadata/labels/x', value: '2'}, JSONPatch{op: 'remove', path: '/metadata/labels'}]", "x1 y2", "80 81"),
        ("[JSONPatch{op: 'test', path: '/metadata/labels/x', value: '1'}, JSONPatch{op: 'remove', path: '/metadata/labels'}]", "", "80 81"),
        ("[JSONPatch{op: 'remove', path: '/metadata/labels/x'}, JSONPatch{op: 'remove', path: '/spec/ports/0'}]", "y2", "81"),
        ("[JSONPatch{op: 'copy', from: '/metadata/labels/x', path: '/metadata/labels/z'}]", "x1 y2 z1", "80 81"),
        ("[JSONPatch{op: 'move', from: '/metadata/labels/x', path: '/metadata/labels/z'}]", "y2 z1", "80 81"),
        ("[JSONPatch{op: 'move', from: '/spec/ports/0', path: '/spec/ports/-'}]", "x1 y2", "81 80"),
        ("[JSONPatch{op: 'add', path: '/metadata/labels', value: {'z': '3'}}]", "z3", "80 81"),
        ("[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('k8s.io/x'), value: 't'}]", "k8s.io/xt x1 y2", "80 81"),
        ("[JSONPatch{op: 'replace', path: '/metadata/labels/w', value: '3'}]", "w3 x1 y2", "80 81"),
        ("[JSONPatch{op: 'add', path: '/spec/ports/-', value: {'name': dyn('c'), 'port': 1.0 + 81.0}}]", "x1 y2", "80 81 82"),
        ("[JSONPatch{op: 'add', path: '/spec/ports/0', value: Object.spec.ports{name: 'c', port: 79}}]", "x1 y2", "79 80 81"),
        ("has(object.metadata.labels) ? [JSONPatch{op: 'replace', path: '/spec/ports/1/port', value: object.spec.ports[1].port + 1}] : []", "x1 y2", "80 82"),
        ("[JSONPatch{op: 'add', path: '/metadata/labels', value: {'n': string(Object{n: 1}.n), 'h': string(has(JSONPatch{}.op))}}]", "hfalse n1", "80 81"),
        ("Object{metadata: Object.metadata{labels: {'z': '3'}}, spec: Object.spec{ports: [Object.spec.ports{port: 81, protocol: 'TCP', targetPort: 8}]}}", "x1 y2 z3", "80 81"),
        ("Object{spec: Object.spec{ports: [Object.spec.ports{port: 82, name: 'c'}, Object.spec.ports{port: 80, name: 'd'}]}}", "x1 y2", "82 80 81"),
        ("Object{?metadata: optional.none(), spec: Object.spec{ports: []}}", "x1 y2", "80 81"),
        ("object.metadata.name == 't' ? Object{metadata: Object.metadata{labels: {'z': '3'}}} : Object{}", "x1 y2", "80 81"),
    ],
)  # fmt: skip
async def test_what_mutations_make(api: Local, expression: str, labels: str, ports: str) -> None:
    await enforce(api, policy(expression, rules=[rule("services")]))
    code, made = await api("POST", SERVICES, SERVICE)
    assert code == 201, made
    found = made["metadata"].get("labels", {})
    assert " ".join(sorted(key + value for key, value in found.items())) == labels
    assert " ".join(str(port["port"]) for port in made["spec"]["ports"]) == ports
    assert all(port["protocol"] == "TCP" for port in made["spec"]["ports"])


TO_EACH_CONTAINER = """
Object{
  metadata: Object.metadata{labels: Object.metadata.labels{team: request.?userInfo.username.orValue('nobody')}},
  spec: Object.spec{
    containers: object.spec.containers.filter(c, c.name.startsWith("app")).map(c,
      Object.spec.containers{
        name: c.name,
        env: [Object.spec.containers.env{name: "MODE", value: variables.mode}] + [Object.spec.containers.env{
          name: "KIND", value: c.?env[0].name.orValue("none")
        }],
        resources: Object.spec.containers.resources{limits: {"cpu": "1500m", "memory": "1Gi"}},
        ?imagePullPolicy: c.image.endsWith(":latest") ? optional.of("Always") : optional.none()
      }
    )
  }
}"""
PORTS = """
[
  JSONPatch{op: "test", path: "/spec/containers/0/image", value: "app"},
  JSONPatch{op: "add", path: "/spec/containers/0/ports", value: [Object.spec.containers.ports{containerPort: 8080}]}
]"""


async def test_what_is_done_to_every_container(api: Local) -> None:
    variables = [{"name": "mode", "expression": "namespaceObject.metadata.name == 'default' ? 'test' : 'live'"}]
    await enforce(api, policy(TO_EACH_CONTAINER, PORTS, rules=[rule("pods")], variables=variables))
    mine = [{"name": "MODE", "value": "mine"}, {"name": "X", "value": "x"}]
    containers = [
        {"name": "app", "image": "app", "env": mine, "command": ["run"], "resources": {"limits": {"cpu": "1"}}},
        {"name": "other", "image": "other"},
        {"name": "app2", "image": "app2:latest"},
    ]
    code, made = await api("POST", PODS, pod(containers=containers))
    assert code == 201, made["message"]
    assert made["metadata"]["labels"] == {"team": "kubernetes-admin"}
    app, other, app2 = made["spec"]["containers"]
    assert app["env"] == [{"name": "MODE", "value": "test"}, mine[1], {"name": "KIND", "value": "MODE"}]
    assert (app["command"], app["resources"]["limits"]) == (["run"], {"cpu": "1500m", "memory": "1Gi"})
    assert app["ports"] == [{"containerPort": 8080, "protocol": "TCP"}]
    assert (app["imagePullPolicy"], app2["imagePullPolicy"]) == ("Always", "Always")
    assert "env" not in other and app2["env"][1]["value"] == "none"


MISPLACED = "type mismatch: unexpected type name"
NO_PATCH = "type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch"
NOT_THERE = "which matches field name path from root Object type"
KEYLESS = 'associative list with keys has an element that omits key field "port" (and doesn\'t have default value)'
ATOMIC = "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
UNDECLARED = "field not declared in schema"
UNTYPED = "error applying patch: failed to convert patch object to typed object: "


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("Object{spec: Object.spec{selector: {'l': 'v'}}}", f"{ATOMIC}.spec.selector"),
        ("Object{spec: Object.spec{loadBalancerSourceRanges: [], externalIPs: ['10.0.0.1']}}", f"{ATOMIC}.spec.loadBalancerSourceRanges, .spec.externalIPs"),
        ("Object{spec: Object.spec{portsx: 1}}", f"{UNTYPED}.spec.portsx: {UNDECLARED}"),
        ("Object{spec: Object.spec{type: 1}, x: 1}", f"{UNTYPED}errors:\n  .spec.type: expected string, got &value.valueUnstructured{{Value:1}}\n  .x: {UNDECLARED}"),
        ("Object{spec: Object.spec{ports: [Object.spec.ports{name: 'x'}]}}", f"{UNTYPED}.spec.ports: element 0: {KEYLESS}"),
        ("Object{spec: Object.specx{type: 'ClusterIP'}}", f'{MISPLACED} "Object.specx", expected "Object.spec", {NOT_THERE}'),
        ("[JSONPatch{op: 'add', path: '/spec/ports/-', value: Object.spec.ports{a: Object.x{}}}]", f'{MISPLACED} "Object.x", expected "Object.spec.ports.a", {NOT_THERE}'),
        ("[JSONPatch{op: 'replace', path: '/spec/ports/-', value: {'port': 1}}]", "JSON Patch: replace operation does not apply: doc is missing key: /spec/ports/-: missing value"),
        ("[JSONPatch{op: 'remove', path: '/metadata/labels/w'}]", "JSON Patch: error in remove for path: '/metadata/labels/w': Unable to remove nonexistent key: w: missing value"),
        ("[JSONPatch{op: 'copy', path: '/a'}]", "JSON Patch: copy operation failed to decode from: operation, missing from field: missing value"),
        ("[JSONPatch{path: '/a'}]", "JSON Patch: Unexpected kind: "),
        ("[null, JSONPatch{op: 'test', path: ''}]", f"{NO_PATCH}: type conversion error from 'null_type' to '*mutation.JSONPatchVal'"),
        ("[JSONPatch{op: dyn(1)}]", "expression '[JSONPatch{op: dyn(1)}]' resulted in error: unexpected type int64 for JSONPatchType 'op' field"),
        ("Object{spec: object.nothing}", "expression 'Object{spec: object.nothing}' resulted in error: no such key: nothing"),
        ("true ? Object{} : null", None),
        ("false ? Object{} : null", "unsupported return type from ApplyConfiguration expression: null_type"),
    ],
)  # fmt: skip
async def test_what_mutations_may_not_make(api: Local, expression: str, why: str | None) -> None:
    """Where failures are ignored, the object is as if there were no such mutation."""
    await enforce(api, policy(expression, rules=[rule("services")]))
    code, made = await api("POST", SERVICES, SERVICE)
    if why is None:
        assert code == 201
        return
    assert (code, made["message"]) == refused(why)
    told = {"name": "s", "kind": "services", "causes": [{"message": made["message"]}]}
    assert (made["reason"], made["details"]) == ("Invalid", told)
    ignoring = policy(expression, label(z="3"), rules=[rule("services")], failurePolicy="Ignore")
    await api.replace(POLICIES + "/p", ignoring)
    code, made = await api("POST", SERVICES, SERVICE)
    assert (code, made.get("metadata", {}).get("labels")) == (201, {"x": "1", "y": "2", "z": "3"})
    assert len(made["spec"]["ports"]) == 2


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("[JSONPatch{op: 'add', path: '/spec/ports/-', value: Object.spec.ports{port: 1, portZ: 2}}]", 'strict decoding error: unknown field "spec.ports[2].portZ"'),
        ("[JSONPatch{op: 'add', path: '/metadata/labels/x', value: 1}]", "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"),
        ("[JSONPatch{op: 'replace', path: '/kind', value: 'Pod'}]", "a JSON patch must not change apiVersion or kind"),
        ("[JSONPatch{op: 'replace', path: '/metadata', value: 'Pod'}]", "a JSON patch must leave metadata an object"),
    ],
)  # fmt: skip
async def test_what_cannot_be_read_any_more(api: Local, expression: str, why: str) -> None:
    """That is no failure to be ignored."""
    await enforce(api, policy(expression, rules=[rule("services")], failurePolicy="Ignore"))
    code, made = await api("POST", SERVICES, SERVICE)
    assert (code, made["message"]) == (500, f"Internal error occurred: {why}")


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


async def test_custom_resources(api: Local) -> None:
    """By their own schema; what they do not know goes, and defaults come."""
    spec = {
        "type": "object",
        "properties": {
            "size": {"type": "integer", "default": 1},
            "tags": {"type": "array", "items": {"type": "string"}},
            "owners": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    versions = [{"name": name, "served": True, "storage": name == "v1", "schema": schema} for name in ("v1", "v2")]
    names = {"plural": "things", "singular": "thing", "kind": "Thing"}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": versions},
    }
    assert (await api("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition))[0] == 201
    rules = [rule("things", "example.com")]

    async def made(*expressions: str, **given: Any) -> Any:
        await api("DELETE", POLICIES + "/p")
        assert (await api("POST", POLICIES, policy(*expressions, rules=rules)))[0] == 201
        body = {"apiVersion": "example.com/v2", "kind": "Thing", "metadata": {"name": "t"}, "spec": given}
        for _ in range(100):
            code, found = await api("POST", "/apis/example.com/v2/namespaces/default/things?dryRun=All", body)
            if code != 404:
                break
            await asyncio.sleep(0)
        return found["spec"] if code == 201 else found["message"].removeprefix(refused("")[1])

    assert (await api("POST", BINDINGS, binding("p-b")))[0] == 201
    assert await made("Object{spec: Object.spec{owners: ['b']}}", owners=["a"]) == {"size": 1, "owners": ["a", "b"]}
    assert await made("Object{spec: Object.spec{free: Object.spec.free{a: {'b': 1}}}}") == {
        "size": 1,
        "free": {"a": {"b": 1}},
    }
    assert await made("Object{spec: Object.spec{tags: ['b']}}") == f"{ATOMIC}.spec.tags"
    assert await made("Object{spec: Object.spec{x: 1}}") == f"{UNTYPED}.spec.x: field not declared in schema"
    assert await made("[JSONPatch{op: 'add', path: '/spec', value: {'x': 1}}]") == {"size": 1}
    assert await made("[JSONPatch{op: 'add', path: '/spec/tags', value: ['b']}]") == {"size": 1, "tags": ["b"]}
    # what nobody could walk through is not made
    deeper = "{'a': " * 10 + "object.spec.free" + "}" * 10
    patches = [f"[JSONPatch{{op: 'add', path: '/spec/free', value: {deeper}}}]"] * 26
    assert await made(*patches, free={}) == "the object is nested too deeply"
    configurations = [f"Object{{spec: Object.spec{{free: {deeper}}}}}"] * 26
    assert await made(*configurations, free={}) == "the object is nested too deeply"


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

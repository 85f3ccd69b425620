"""What a mutation of a MutatingAdmissionPolicy makes of an object, and what it may not make."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import Local
from tests.mutating_policies import (
    BINDINGS,
    PODS,
    POLICIES,
    SERVICE,
    SERVICES,
    UNTYPED,
    binding,
    enforce,
    label,
    mutation,
    pod,
    policy,
    refused,
    rule,
)

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


def things() -> dict[str, Any]:
    """Their definition, in two versions."""
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
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": versions},
    }


async def made(api: Local, *expressions: str, **given: Any) -> Any:
    """The spec of a new thing, or why there is none."""
    code, _ = await api("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", things())
    if code == 201:
        assert (await api("POST", BINDINGS, binding("p-b")))[0] == 201
    await api("DELETE", POLICIES + "/p")
    rules = [rule("things", "example.com")]
    assert (await api("POST", POLICIES, policy(*expressions, rules=rules)))[0] == 201
    body = {"apiVersion": "example.com/v2", "kind": "Thing", "metadata": {"name": "t"}, "spec": given}
    for _ in range(100):
        code, found = await api("POST", "/apis/example.com/v2/namespaces/default/things?dryRun=All", body)
        if code != 404:
            break
        await asyncio.sleep(0)
    return found["spec"] if code == 201 else found["message"].removeprefix(refused("")[1])


async def test_custom_resources(api: Local) -> None:
    """By their own schema; what they do not know goes, and defaults come."""
    assert await made(api, "Object{spec: Object.spec{owners: ['b']}}", owners=["a"]) == {
        "size": 1,
        "owners": ["a", "b"],
    }
    assert await made(api, "Object{spec: Object.spec{free: Object.spec.free{a: {'b': 1}}}}") == {
        "size": 1,
        "free": {"a": {"b": 1}},
    }
    assert await made(api, "Object{spec: Object.spec{tags: ['b']}}") == f"{ATOMIC}.spec.tags"
    assert await made(api, "Object{spec: Object.spec{x: 1}}") == f"{UNTYPED}.spec.x: field not declared in schema"
    assert await made(api, "[JSONPatch{op: 'add', path: '/spec', value: {'x': 1}}]") == {"size": 1}
    assert await made(api, "[JSONPatch{op: 'add', path: '/spec/tags', value: ['b']}]") == {"size": 1, "tags": ["b"]}


async def test_nothing_is_made_too_deep(api: Local) -> None:
    deeper = "{'a': " * 60 + "object.spec.free" + "}" * 60
    patches = [f"[JSONPatch{{op: 'add', path: '/spec/free', value: {deeper}}}]"] * 5
    assert await made(api, *patches, free={}) == "the object is nested too deeply"
    configurations = [f"Object{{spec: Object.spec{{free: {deeper}}}}}"] * 5
    assert await made(api, *configurations, free={}) == "the object is nested too deeply"

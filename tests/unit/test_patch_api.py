"""Patches through the API: what is stored, who owns it, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Local

APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MAPS = "/api/v1/namespaces/default/configmaps"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
Json = dict[str, Any]


def deployment(**spec: Any) -> Json:
    template = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]},
    }
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec},
    }  # fmt: skip


def config_map(data: Json, **meta: Any) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", **meta}, "data": data}


def owners(obj: Json) -> list[tuple[str, str, str, str]]:
    return [
        (e["manager"], e["operation"], e["apiVersion"], e.get("subresource", ""))
        for e in obj["metadata"]["managedFields"]
    ]


def fields(obj: Json, manager: str) -> Json:
    found: Json = next(e["fieldsV1"] for e in obj["metadata"]["managedFields"] if e["manager"] == manager)
    return found


async def ok(api: Local, method: str, target: str, body: Any = None, media: str = "application/json") -> Json:
    code, out = await api(method, target, body, media)
    assert code in (200, 201), out
    result: Json = out
    return result


async def test_applying_twice_writes_once(api: Local) -> None:
    target = f"{DEPLOYMENTS}/d?fieldManager=m"
    code, first = await api("PATCH", target, deployment(replicas=2), APPLY)
    assert code == 201
    again = await ok(api, "PATCH", target, deployment(replicas=2), APPLY)
    assert again == first
    changed = await ok(api, "PATCH", target, deployment(), APPLY)
    assert changed["spec"]["replicas"] == 1
    assert changed["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    ports = fields(changed, "m")["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"c"}']["f:ports"]
    assert ports == {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}}


async def test_who_applies_nothing_owns_nothing(api: Local) -> None:
    nothing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}}
    for config in (nothing, config_map({"a": "b"}), nothing):
        made = await ok(api, "PATCH", f"{MAPS}/m?fieldManager=me", config, APPLY)
        assert ("managedFields" in made["metadata"]) is ("data" in config)


async def test_scaling_owns_the_replicas(api: Local) -> None:
    await ok(api, "PATCH", f"{DEPLOYMENTS}/d?fieldManager=m", deployment(replicas=2), APPLY)
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 3}}
    code, said = await api("PATCH", f"{DEPLOYMENTS}/d/scale?fieldManager=s", scale, APPLY)
    assert code == 409
    assert said["message"] == 'Apply failed with 1 conflict: conflict with "m": .spec.replicas'
    await ok(api, "PATCH", f"{DEPLOYMENTS}/d/scale?fieldManager=s&force=true", scale, APPLY)
    found = await ok(api, "GET", f"{DEPLOYMENTS}/d")
    assert found["spec"]["replicas"] == 3
    assert owners(found) == [("s", "Apply", "apps/v1", "scale"), ("m", "Apply", "apps/v1", "")]
    assert fields(found, "s") == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in fields(found, "m")["f:spec"]
    code, said = await api("PATCH", f"{DEPLOYMENTS}/d?fieldManager=m", deployment(replicas=2), APPLY)
    assert said["message"] == 'Apply failed with 1 conflict: conflict with "s" with subresource "scale": .spec.replicas'
    await ok(api, "PATCH", f"{DEPLOYMENTS}/d/scale?fieldManager=u", {"spec": {"replicas": 4}}, MERGE)
    found = await ok(api, "GET", f"{DEPLOYMENTS}/d")
    assert owners(found) == [("m", "Apply", "apps/v1", ""), ("u", "Update", "apps/v1", "scale")]
    code, said = await api("PATCH", f"{DEPLOYMENTS}/d?fieldManager=m", deployment(replicas=2), APPLY)
    assert 'conflict with "u" with subresource "scale" using apps/v1: .spec.replicas' in said["message"]


@pytest.mark.parametrize(("media", "code"), [(STRATEGIC, 200), (MERGE, 400)])
async def test_a_strategic_patch_need_not_name_the_kind_it_patches(api: Local, media: str, code: int) -> None:
    await ok(api, "POST", DEPLOYMENTS, deployment())
    patch = {"kind": "Deployment", "spec": {"replicas": 3}}
    made, scale = await api("PATCH", f"{DEPLOYMENTS}/d/scale", patch, media)
    assert made == code and (code == 400 or (scale["kind"], scale["spec"]["replicas"]) == ("Scale", 3))


async def test_status_and_spec_are_owned_apart(api: Local) -> None:
    await ok(api, "PATCH", f"{DEPLOYMENTS}/d?fieldManager=m", {**deployment(), "status": {"replicas": 9}}, APPLY)
    status = {**deployment(paused=True), "status": {"observedGeneration": 1}}
    found = await ok(api, "PATCH", f"{DEPLOYMENTS}/d/status?fieldManager=s", status, APPLY)
    assert found["status"]["observedGeneration"] == 1 and not found["spec"].get("paused")
    assert fields(found, "s") == {"f:status": {"f:observedGeneration": {}}}
    assert set(fields(found, "m")) == {"f:spec"}
    code, _ = await api(
        "PATCH", f"{DEPLOYMENTS}/none/status?fieldManager=s", {**status, "metadata": {"name": "none"}}, APPLY
    )
    assert code == 404


async def test_labels_set_with_the_status_are_owned(api: Local) -> None:
    await ok(api, "PATCH", f"{DEPLOYMENTS}/d?fieldManager=m", deployment(), APPLY)
    found = await ok(
        api, "PATCH", f"{DEPLOYMENTS}/d/status?fieldManager=s", {"metadata": {"annotations": {"a": "b"}}}, MERGE
    )
    assert fields(found, "s") == {"f:metadata": {"f:annotations": {".": {}, "f:a": {}}}}


async def test_other_versions_of_a_kind(api: Local) -> None:
    base = "namespaces/default/horizontalpodautoscalers/h"
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    v1: Json = {
        "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50},
    }  # fmt: skip
    v2: Json = {**v1, "apiVersion": "autoscaling/v2", "spec": {"scaleTargetRef": target, "maxReplicas": 4}}
    await ok(api, "PATCH", f"/apis/autoscaling/v1/{base}?fieldManager=one", v1, APPLY)
    code, said = await api("PATCH", f"/apis/autoscaling/v2/{base}?fieldManager=two", v2, APPLY)
    assert code == 409
    assert said["message"] == 'Apply failed with 1 conflict: conflict with "one": .spec.maxReplicas'
    found = await ok(api, "PATCH", f"/apis/autoscaling/v2/{base}?fieldManager=two&force=true", v2, APPLY)
    assert owners(found) == [("one", "Apply", "autoscaling/v1", ""), ("two", "Apply", "autoscaling/v2", "")]
    assert "f:maxReplicas" not in fields(found, "one")["f:spec"]
    # one moves on to v2 and drops what it set in v1
    v2["spec"]["minReplicas"] = 2
    found = await ok(api, "PATCH", f"/apis/autoscaling/v2/{base}?fieldManager=one&force=true", v2, APPLY)
    assert [entry[2] for entry in owners(found)] == ["autoscaling/v2"] * 2


async def test_managed_fields_are_cleared_and_rewritten(api: Local) -> None:
    await ok(api, "POST", f"{MAPS}?fieldManager=c", config_map({"a": "1"}))
    clearings: list[list[Json]] = [[{}], []]
    for cleared in clearings:
        await ok(api, "PATCH", f"{MAPS}/m?fieldManager=c", {"metadata": {"managedFields": cleared}}, MERGE)
        found = await ok(api, "PATCH", f"{MAPS}/m?fieldManager=c", {"data": {"b": "2"}}, MERGE)
        assert "managedFields" not in found["metadata"]
        found = await ok(api, "PATCH", f"{MAPS}/m?fieldManager=s", config_map({"c": "3"}), APPLY)
        assert owners(found) == [("s", "Apply", "v1", ""), ("before-first-apply", "Update", "v1", "")]
        assert fields(found, "before-first-apply") == {"f:data": {".": {}, "f:a": {}, "f:b": {}}}
        await ok(api, "PATCH", f"{MAPS}/m", {"data": {"b": None, "c": None}}, MERGE)
    entries = (await ok(api, "GET", f"{MAPS}/m"))["metadata"]["managedFields"]
    entries[0]["manager"] = "renamed"
    rewrite = [
        {"op": "test", "path": "/metadata/managedFields/0/manager", "value": "before-first-apply"},
        {"op": "replace", "path": "/metadata/managedFields", "value": entries},
    ]
    code, said = await api("PATCH", f"{MAPS}/m", rewrite, JSON_PATCH)
    assert code == 200, said
    assert ("renamed", "Update", "v1", "") in owners(said)
    code, said = await api("PATCH", f"{MAPS}/m?fieldManager=s", config_map({}, managedFields=[]), APPLY)
    assert (code, said["message"]) == (400, "metadata.managedFields must be nil")


async def test_what_kubectl_applied_by_itself_it_may_take_over(api: Local) -> None:
    remembered = config_map({"a": "1", "b": "1"}, annotations={}, namespace="default")
    text = json.dumps(remembered)
    await ok(
        api,
        "POST",
        f"{MAPS}?fieldManager=kubectl-client-side-apply",
        config_map({"a": "1", "b": "1"}, annotations={LAST_APPLIED: text}),
    )
    await ok(api, "PATCH", f"{MAPS}/m?fieldManager=other", {"data": {"b": "2"}}, MERGE)
    code, said = await api("PATCH", f"{MAPS}/m?fieldManager=kubectl", config_map({"a": "3", "b": "3"}), APPLY)
    assert code == 409
    assert said["message"] == 'Apply failed with 1 conflict: conflict with "other" using v1: .data.b'
    code, _ = await api("PATCH", f"{MAPS}/m?fieldManager=mine", config_map({"a": "3"}), APPLY)
    assert code == 409
    found = await ok(api, "PATCH", f"{MAPS}/m?fieldManager=kubectl", config_map({"a": "<3>"}), APPLY)
    said_now = found["metadata"]["annotations"][LAST_APPLIED]
    assert said_now == (
        '{"apiVersion":"v1","data":{"a":"\\u003c3\\u003e"},"kind":"ConfigMap","metadata":{"name":"m","namespace":"default"}}\n'
    )


@pytest.mark.parametrize(
    ("config", "code", "said"),
    [
        ({**config_map({}), "kind": "Secret"}, 400, "invalid object type: /v1, Kind=Secret"),
        ({"metadata": {"name": "m"}}, 400, "invalid object type: /, Kind="),
        (
            {**config_map({}), "nope": 1}, 400,
            "failed to create typed patch object (default/m; /v1, Kind=ConfigMap): .nope: field not declared in schema",
        ),
        (
            config_map({"a": 1}), 400,
            "failed to create typed patch object (default/m; /v1, Kind=ConfigMap): .data.a: expected string, got &value.valueUnstructured{Value:1}",
        ),
        (
            config_map({}, uid="u"), 409,
            'Operation cannot be fulfilled on configmaps "m": uid mismatch: the provided object specified uid u, and no existing object was found',
        ),
        (config_map({}, namespace="other"), 400, "the namespace of the object (other) does not match the namespace on the URL (default)"),
    ],
)  # fmt: skip
async def test_configurations_that_are_refused(api: Local, config: Json, code: int, said: str) -> None:
    found, answer = await api("PATCH", f"{MAPS}/m?fieldManager=m", config, APPLY)
    assert (found, answer["message"]) == (code, said)


@pytest.mark.parametrize(
    ("media", "patch", "code", "said"),
    [
        (STRATEGIC, {"spec": {"replicas": "a"}}, 422, ' "" is invalid: patch: Invalid value: "map[spec:map[replicas:a]]": unrecognized type: int32'),
        (STRATEGIC, {"spec": {"template": []}}, 422, ' "" is invalid: patch: Invalid value: "map[spec:map[template:[]]]": cannot restore struct from: slice'),
        (STRATEGIC, [], 400, "json: cannot unmarshal array into Go value of type map[string]interface {}"),
        (MERGE, [], 400, "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"),
        (MERGE, None, 400, "error decoding patch: "),
        (JSON_PATCH, {}, 400, "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
        (JSON_PATCH, [1], 400, "error decoding patch: json: cannot unmarshal number into Go value of type handlers.jsonPatchOp"),
        (JSON_PATCH, [{"op": 1}], 400, "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string"),
        (JSON_PATCH, [{"op": "test", "path": "/kind", "value": "x"}], 422, "the server rejected our request due to an error in our request"),
        (
            JSON_PATCH, [{"op": "test", "path": "/kind", "value": "Deployment"}] * 10_001, 413,
            "The allowed maximum operations in a JSON patch is 10000, got 10001",
        ),
        (MERGE, {"metadata": {"resourceVersion": "1"}}, 409, 'Operation cannot be fulfilled on deployments.apps "d": the object has been modified'),
        (MERGE, {"metadata": {"uid": "u"}}, 409, 'Operation cannot be fulfilled on deployments.apps "d": Precondition failed: UID in precondition: u'),
        (MERGE, {"metadata": {"name": "e"}}, 400, "the name of the object (e) does not match the name on the URL (d)"),
    ],
)  # fmt: skip
async def test_patches_that_are_refused(api: Local, media: str, patch: Any, code: int, said: str) -> None:
    before = await ok(api, "POST", DEPLOYMENTS, deployment())
    found, answer = await api("PATCH", f"{DEPLOYMENTS}/d", patch, media)
    assert found == code and answer["message"].startswith(said), answer
    assert await ok(api, "GET", f"{DEPLOYMENTS}/d") == before


async def test_copies_have_a_limit(api: Local) -> None:
    await ok(api, "POST", MAPS, config_map({"a": "x" * 100_000}))
    patch = [{"op": "copy", "from": "/data/a", "path": f"/data/b{index}"} for index in range(40)]
    code, said = await api("PATCH", f"{MAPS}/m", patch, JSON_PATCH)
    assert code == 422
    assert "the accumulated size increase of copy is" in said["details"]["causes"][0]["message"]


async def test_unknown_fields_are_warned_of_or_refused(api: Local) -> None:
    await ok(api, "POST", DEPLOYMENTS, deployment())
    for media, patch in ((MERGE, {"spec": {"nope": 1}}), (STRATEGIC, {"spec": {"nope": 1}})):
        reply = await api.raw("PATCH", f"{DEPLOYMENTS}/d", patch, media)
        assert reply.code == 200
        assert [value for key, value in reply.headers if key.lower() == "warning"] == [
            '299 - "unknown field \\"spec.nope\\""'
        ]
        code, said = await api("PATCH", f"{DEPLOYMENTS}/d?fieldValidation=Strict", patch, media)
        assert code == 422
        assert said["message"].endswith('strict decoding error: unknown field "spec.nope"')
    operation = {"op": "test", "path": "/kind", "value": "Deployment", "nope": 1}
    code, said = await api("PATCH", f"{DEPLOYMENTS}/d?fieldValidation=Strict", [operation], JSON_PATCH)
    assert code == 422 and 'json patch unknown field "[0].nope"' in said["message"]


async def test_a_dry_run_changes_nothing(api: Local) -> None:
    before = await ok(api, "PATCH", f"{MAPS}/m?fieldManager=m", config_map({"a": "1"}), APPLY)
    shown = await ok(api, "PATCH", f"{MAPS}/m?fieldManager=m&dryRun=All", config_map({"a": "2"}), APPLY)
    assert shown["data"] == {"a": "2"}
    assert await ok(api, "GET", f"{MAPS}/m") == before
    code, _ = await api(
        "PATCH", f"{MAPS}/n?fieldManager=m&dryRun=All", {**config_map({}), "metadata": {"name": "n"}}, APPLY
    )
    assert code == 201
    assert (await api("GET", f"{MAPS}/n"))[0] == 404

"""CustomResourceDefinitions: established, served, changed and removed; their instances from create to clean-up."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable
from typing import Any

from tests.conftest import Local

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "stable.example.com"
CRONTABS = f"/apis/{GROUP}/v1/namespaces/default/crontabs"
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["cronSpec"],
    "properties": {
        "cronSpec": {"type": "string", "pattern": r"^\S+$"},
        "image": {"type": "string", "maxLength": 20},
        "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 3},
        "port": {"x-kubernetes-int-or-string": True},
        "mode": {"type": "string", "enum": ["fast", "slow"]},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "nodes": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "size": {"type": "integer", "default": 1}},
            },
        },
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "maybe": {"type": "string", "nullable": True},
    },
}
STATUS: dict[str, Any] = {
    "type": "object",
    "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}, "phase": {"type": "string"}},
}


def version(name: str = "v1", **more: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"spec": copy.deepcopy(SPEC), "status": copy.deepcopy(STATUS)}}
    return {"name": name, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **more}


def definition(
    *versions: dict[str, Any], plural: str = "crontabs", kind: str = "CronTab", **spec: Any
) -> dict[str, Any]:
    names = {"plural": plural, "kind": kind, **spec.pop("names", {})}
    body = {"group": GROUP, "scope": "Namespaced", "names": names, "versions": list(versions) or [version()], **spec}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{body['group']}"},
        "spec": body,
    }


def crontab(name: str, api_version: str = "v1", **spec: Any) -> dict[str, Any]:
    body = {"cronSpec": "x", **spec}
    return {"apiVersion": f"{GROUP}/{api_version}", "kind": "CronTab", "metadata": {"name": name}, "spec": body}


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(5):
        while not await check():  # noqa: ASYNC110  # the API is asked, which wakes nobody
            await asyncio.sleep(0)


def condition(crd: Any, kind: str) -> Any:
    return next((item for item in crd["status"]["conditions"] or () if item["type"] == kind), None)


async def define(api: Local, crd: dict[str, Any]) -> Any:
    """Create and wait for Established."""
    code, made = await api("POST", CRDS, crd)
    assert code == 201, made
    name = crd["metadata"]["name"]

    async def established() -> bool:
        found = condition((await api("GET", f"{CRDS}/{name}"))[1], "Established")
        return bool(found and found["status"] == "True")

    await until(established)
    return (await api("GET", f"{CRDS}/{name}"))[1]


async def test_names_are_accepted_and_the_kind_is_served_at_once(api: Local) -> None:
    crd = await define(api, definition(names={"shortNames": ["ct"], "categories": ["all"]}))
    accepted = condition(crd, "NamesAccepted")
    assert (accepted["status"], accepted["reason"], accepted["message"]) == (
        "True",
        "NoConflicts",
        "no conflicts found",
    )
    established = condition(crd, "Established")
    assert established["reason"] == "InitialNamesAccepted"
    assert established["message"] == "the initial names have been accepted"
    assert crd["status"]["storedVersions"] == ["v1"]
    assert crd["status"]["acceptedNames"] == {
        "plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabList", "shortNames": ["ct"],
        "categories": ["all"],
    }  # fmt: skip
    code, made = await api("POST", CRONTABS, crontab("a"))
    assert code == 201 and made["spec"] == {"cronSpec": "x", "replicas": 3} and made["metadata"]["generation"] == 1
    _, listed = await api("GET", CRONTABS)
    assert listed["kind"] == "CronTabList" and listed["items"][0]["kind"] == "CronTab"
    _, service = await api("GET", "/apis/apiregistration.k8s.io/v1/apiservices/v1.stable.example.com")
    assert service["metadata"]["labels"] == {"kube-aggregator.kubernetes.io/automanaged": "true"}
    assert service["spec"]["groupPriorityMinimum"] == 1000 and service["spec"]["versionPriority"] == 100


async def test_a_name_in_use_waits_until_it_is_free(api: Local) -> None:
    await define(api, definition(names={"shortNames": ["ct"]}))
    await api("POST", CRDS, definition(plural="others", kind="CronTab", names={"shortNames": ["ct"]}))

    async def state() -> tuple[str, str]:
        crd = (await api("GET", f"{CRDS}/others.{GROUP}"))[1]
        found = condition(crd, "NamesAccepted") or {"reason": "", "message": ""}
        return found["reason"], found["message"]

    async def refused() -> bool:
        return bool((await state())[0])

    await until(refused)
    assert await state() == ("ListKindConflict", '"CronTabList" is already in use')
    crd = (await api("GET", f"{CRDS}/others.{GROUP}"))[1]
    assert condition(crd, "Established")["reason"] == "NotAccepted"
    assert (await api("GET", f"/apis/{GROUP}/v1/others"))[0] == 404
    await api("DELETE", f"{CRDS}/crontabs.{GROUP}")

    async def accepted() -> bool:
        return (await state())[0] == "NoConflicts"

    await until(accepted)
    assert (await api("GET", f"/apis/{GROUP}/v1/others"))[0] == 200


async def test_deleting_a_definition_deletes_its_instances_and_ends_watches(api: Local) -> None:
    await define(api, definition())
    held = crontab("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    for body in (crontab("a"), held):
        assert (await api("POST", CRONTABS, body))[0] == 201
    seen: list[bytes] = []
    reply = await api.raw("GET", f"{CRONTABS}?watch=1&timeoutSeconds=60")
    assert reply.stream is not None
    watching = asyncio.ensure_future(reply.stream(Sink(seen)))
    code, crd = await api("DELETE", f"{CRDS}/crontabs.{GROUP}")
    assert code == 200 and crd["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    assert condition(crd, "Terminating")["reason"] == "InstanceDeletionPending"

    async def only_the_held_is_left() -> bool:
        items = (await api("GET", CRONTABS))[1]["items"]
        return [item["metadata"]["name"] for item in items] == ["held"]

    await until(only_the_held_is_left)
    _, crd = await api("GET", f"{CRDS}/crontabs.{GROUP}")
    assert condition(crd, "Terminating")["reason"] == "InstanceDeletionInProgress"
    code, refused = await api("POST", CRONTABS, crontab("new"))
    assert code == 405
    assert refused["message"] == "create not allowed while custom resource definition is terminating"
    await api("PATCH", f"{CRONTABS}/held", {"metadata": {"finalizers": None}}, MERGE)

    async def gone() -> bool:
        return (await api("GET", f"{CRDS}/crontabs.{GROUP}"))[0] == 404

    await until(gone)
    await asyncio.wait_for(watching, 5)
    assert b'"DELETED"' in b"".join(seen)
    code, body = await api("GET", CRONTABS)
    assert code == 404 and body == b"404 page not found\n"
    _, groups = await api("GET", "/apis")
    assert GROUP not in [group["name"] for group in groups["groups"]]

    async def no_service() -> bool:
        return (await api("GET", "/apis/apiregistration.k8s.io/v1/apiservices/v1.stable.example.com"))[0] == 404

    await until(no_service)


class Sink:
    """The sending half of a watch, into a list."""

    closed = False

    def __init__(self, into: list[bytes]) -> None:
        self.into = into

    def write(self, data: bytes) -> None:
        self.into.append(data)

    def pending(self) -> int:
        return 0

    async def drain(self) -> None:
        return None

    def on_close(self, callback: Callable[[], None]) -> None:
        return None

    def abort(self) -> None:
        return None


async def test_unknown_fields_are_dropped_warned_of_or_refused(api: Local) -> None:
    await define(api, definition())
    body = crontab("a", nonsense=1, nodes=[{"name": "n", "extra": True}], free={"any": {"thing": [1]}}) | {"top": 1}
    reply = await api.raw("POST", CRONTABS, body)
    made = json.loads(reply.body if isinstance(reply.body, bytes) else b"".join(reply.body))
    assert made["spec"] == {
        "cronSpec": "x", "replicas": 3, "nodes": [{"name": "n", "size": 1}], "free": {"any": {"thing": [1]}},
    }  # fmt: skip
    assert "top" not in made
    warnings = [value for name, value in reply.headers if name == "Warning"]
    assert warnings == [
        '299 - "unknown field \\"spec.nonsense\\""',
        '299 - "unknown field \\"spec.nodes[0].extra\\""',
        '299 - "unknown field \\"top\\""',
    ]
    code, refused = await api("POST", f"{CRONTABS}?fieldValidation=Strict", crontab("b", nonsense=1))
    assert code == 400 and refused["message"] == (
        'CronTab in version "v1" cannot be handled as a CronTab: strict decoding error: unknown field "spec.nonsense"'
    )


async def test_nulls_and_defaults(api: Local) -> None:
    await define(api, definition())
    _, made = await api("POST", CRONTABS, crontab("a", replicas=None, image=None, maybe=None, port="http"))
    assert made["spec"] == {"cronSpec": "x", "replicas": 3, "maybe": None, "port": "http"}
    _, changed = await api("PATCH", f"{CRONTABS}/a", {"spec": {"replicas": None}}, MERGE)
    assert changed["spec"]["replicas"] == 3


async def test_status_and_scale(api: Local) -> None:
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    await define(api, definition(version(subresources={"status": {}, "scale": scale})))
    _, made = await api("POST", CRONTABS, crontab("a") | {"status": {"phase": "No"}})
    assert "status" not in made
    status = {"status": {"phase": "Up", "replicas": 2, "selector": "app=a"}, "spec": {"image": "no"}}
    code, updated = await api("PATCH", f"{CRONTABS}/a/status", status | {"metadata": {"labels": {"no": "no"}}}, MERGE)
    assert code == 200 and updated["status"]["phase"] == "Up" and updated["metadata"]["generation"] == 1
    assert "image" not in updated["spec"] and "labels" not in updated["metadata"]
    code, refused = await api("PATCH", f"{CRONTABS}/a/status", {"status": {"replicas": "two"}}, MERGE)
    assert code == 422 and refused["details"]["causes"][0] == {
        "reason": "FieldValueTypeInvalid",
        "message": 'Invalid value: "string": status.replicas in body must be of type integer: "string"',
        "field": "status.replicas",
    }
    _, shown = await api("GET", f"{CRONTABS}/a/scale")
    assert shown["spec"] == {"replicas": 3} and shown["status"] == {"replicas": 2, "selector": "app=a"}
    code, scaled = await api("PATCH", f"{CRONTABS}/a/scale", {"spec": {"replicas": 5}}, MERGE)
    assert code == 200 and scaled["spec"] == {"replicas": 5}
    _, found = await api("GET", f"{CRONTABS}/a")
    assert found["spec"]["replicas"] == 5 and found["metadata"]["generation"] == 2
    code, refused = await api("PATCH", f"{CRONTABS}/a/scale", {"spec": {"replicas": 50}}, MERGE)
    assert code == 422 and "should be less than or equal to 10" in refused["message"]


async def test_generation_without_status_subresource(api: Local) -> None:
    await define(api, definition())
    await api("POST", CRONTABS, crontab("a"))
    _, one = await api("PATCH", f"{CRONTABS}/a", {"status": {"phase": "Up"}}, MERGE)
    assert one["metadata"]["generation"] == 2 and one["status"] == {"phase": "Up"}
    _, two = await api("PATCH", f"{CRONTABS}/a", {"metadata": {"labels": {"a": "b"}}}, MERGE)
    assert two["metadata"]["generation"] == 2
    assert (await api("GET", f"{CRONTABS}/a/status"))[0] == 404


async def test_updates_name_the_revision(api: Local) -> None:
    await define(api, definition())
    await api("POST", CRONTABS, crontab("a"))
    code, refused = await api("PUT", f"{CRONTABS}/a", crontab("a"))
    assert code == 422
    assert "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update" in refused["message"]


async def test_patches(api: Local) -> None:
    await define(api, definition())
    await api("POST", CRONTABS, crontab("a"))
    code, refused = await api("PATCH", f"{CRONTABS}/a", {}, "application/strategic-merge-patch+json")
    assert code == 415 and "strategic" not in refused["message"]
    config = crontab("a", nodes=[{"name": "n1", "size": 2}], free={"x": {"y": 1}})
    code, one = await api("PATCH", f"{CRONTABS}/a?fieldManager=one", config, APPLY)
    assert code == 200, one
    two_config = crontab("a", nodes=[{"name": "n2"}], free={"x": {"z": 2}})
    _, two = await api("PATCH", f"{CRONTABS}/a?fieldManager=two", two_config, APPLY)
    assert sorted(two["spec"]["nodes"], key=str) == [{"name": "n1", "size": 2}, {"name": "n2", "size": 1}]
    assert two["spec"]["free"] == {"x": {"y": 1, "z": 2}}
    clash = crontab("a", nodes=[{"name": "n1", "size": 9}])
    code, conflict = await api("PATCH", f"{CRONTABS}/a?fieldManager=two", clash, APPLY)
    assert code == 409 and conflict["details"]["causes"][0]["field"] == '.spec.nodes[name="n1"].size'
    _, pruned = await api("PATCH", f"{CRONTABS}/a?fieldManager=one", crontab("a"), APPLY)
    assert pruned["spec"]["nodes"] == [{"name": "n2", "size": 1}] and pruned["spec"]["free"] == {"x": {"z": 2}}


async def test_columns_and_selectable_fields(api: Local) -> None:
    columns = [
        {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec", "description": "When"},
        {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1},
        {"name": "First", "type": "string", "jsonPath": ".spec.nodes[?(@.name=='b')].size"},
        {"name": "Labels", "type": "string", "jsonPath": ".spec.labels"},
        {"name": "Since", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    fields = [{"jsonPath": ".spec.mode"}, {"jsonPath": ".spec.replicas"}]
    await define(api, definition(version(additionalPrinterColumns=columns, selectableFields=fields)))
    nodes = [{"name": "a"}, {"name": "b", "size": 7}]
    await api("POST", CRONTABS, crontab("a", mode="fast", nodes=nodes, labels={"z": "1", "a": "2"}))
    await api("POST", CRONTABS, crontab("b", mode="slow", replicas=4))
    _, table = await api("GET", CRONTABS, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert [(item["name"], item["type"], item["priority"]) for item in table["columnDefinitions"]][1:3] == [
        ("Spec", "string", 0),
        ("Replicas", "integer", 1),
    ]
    assert [row["cells"][:5] for row in table["rows"]] == [
        ["a", "x", 3, "7", '{"a":"2","z":"1"}'],
        ["b", "x", 4, None, None],
    ]
    assert table["rows"][0]["cells"][5].endswith("s")

    async def names(selector: str) -> list[str]:
        _, listed = await api("GET", f"{CRONTABS}?fieldSelector={selector}")
        return [item["metadata"]["name"] for item in listed["items"]]

    assert await names("spec.mode=fast") == ["a"]
    assert await names("spec.replicas!=3") == ["b"]
    assert await names("metadata.name=b,spec.mode=slow") == ["b"]
    code, refused = await api("GET", f"{CRONTABS}?fieldSelector=spec.image=x")
    assert code == 400 and refused["message"] == "field label not supported: spec.image"
    _, partial = await api("GET", CRONTABS, accept="application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")
    assert partial["kind"] == "PartialObjectMetadataList" and "spec" not in partial["items"][0]


async def test_a_changed_schema_shows_in_what_was_stored_before(api: Local) -> None:
    crd = await define(api, definition())
    await api("POST", CRONTABS, crontab("a", image="x"))
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    spec["zone"] = {"type": "string", "default": "north"}
    del spec["image"]
    assert (await api("PUT", f"{CRDS}/crontabs.{GROUP}", crd))[0] == 200
    for target in (f"{CRONTABS}/a", CRONTABS):
        _, found = await api("GET", target)
        shown = found["items"][0] if "items" in found else found
        assert shown["spec"] == {"cronSpec": "x", "replicas": 3, "zone": "north"}
    _, changed = await api("PATCH", f"{CRONTABS}/a", {"spec": {"replicas": 4}}, MERGE)
    assert changed["spec"]["zone"] == "north"
    _, document = await api("GET", f"/openapi/v3/apis/{GROUP}/v1")
    shown = document["components"]["schemas"]["com.example.stable.v1.CronTab"]["properties"]["spec"]["properties"]
    assert shown["zone"] == {"type": "string", "default": "north"} and "image" not in shown


async def test_versions_without_a_webhook(api: Local) -> None:
    old = version("v1beta1", storage=False, deprecated=True)
    crd = await define(api, definition(old, version()))
    beta = CRONTABS.replace("/v1/", "/v1beta1/")
    code, made = await api("POST", beta, crontab("a", "v1beta1"))
    assert code == 201 and made["apiVersion"] == f"{GROUP}/v1beta1"
    assert (await api("GET", f"{CRONTABS}/a"))[1]["apiVersion"] == f"{GROUP}/v1"
    reply = await api.raw("GET", beta)
    assert ("Warning", f'299 - "{GROUP}/v1beta1 CronTab is deprecated"') in list(reply.headers)
    _, group = await api("GET", f"/apis/{GROUP}")
    assert [item["version"] for item in group["versions"]] == ["v1", "v1beta1"]
    # the storage version moves; the old one stays among the stored
    crd["spec"]["versions"][0]["storage"], crd["spec"]["versions"][1]["storage"] = True, False
    _, moved = await api("PUT", f"{CRDS}/crontabs.{GROUP}", crd)
    assert moved["status"]["storedVersions"] == ["v1", "v1beta1"]
    assert (await api("GET", f"{CRONTABS}/a"))[1]["apiVersion"] == f"{GROUP}/v1"
    del moved["spec"]["versions"][1]
    code, refused = await api("PUT", f"{CRDS}/crontabs.{GROUP}", moved)
    assert code == 422 and "missing from spec.versions; v1 was previously a storage version" in refused["message"]
    _, crd = await api("GET", f"{CRDS}/crontabs.{GROUP}")
    crd["spec"]["versions"][1]["served"] = False
    await api("PUT", f"{CRDS}/crontabs.{GROUP}", crd)
    assert (await api("GET", f"{CRONTABS}/a"))[0] == 404
    assert (await api("GET", f"{beta}/a"))[0] == 200


async def test_documents_follow(api: Local) -> None:
    _, before = await api("GET", "/openapi/v3")
    await define(api, definition(version(subresources={"status": {}})))
    _, after = await api("GET", "/openapi/v3")
    assert set(after["paths"]) - set(before["paths"]) == {f"apis/{GROUP}/v1"}
    assert after["paths"]["apis/apps/v1"] == before["paths"]["apis/apps/v1"]
    _, two = await api("GET", "/openapi/v2")
    listing = two["paths"][f"/apis/{GROUP}/v1/namespaces/{{namespace}}/crontabs/{{name}}"]
    assert "strategic" not in " ".join(listing["patch"]["consumes"])
    shown = two["definitions"]["com.example.stable.v1.CronTab"]
    assert shown["properties"]["spec"]["properties"]["port"] == {"x-kubernetes-int-or-string": True}
    assert shown["x-kubernetes-group-version-kind"] == [{"group": GROUP, "kind": "CronTab", "version": "v1"}]
    code, raw = await api("GET", "/openapi/v2", accept="application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
    assert code == 200 and b"com.example.stable.v1.CronTab" in raw
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    _, groups = await api("GET", "/apis", accept=aggregated)
    found = next(item for item in groups["items"] if item["metadata"]["name"] == GROUP)
    resource = found["versions"][0]["resources"][0]
    assert resource["resource"] == "crontabs" and resource["subresources"][0]["subresource"] == "status"


async def test_protected_groups_and_what_is_built_in(api: Local) -> None:
    crd = definition(group="widgets.k8s.io")
    code, refused = await api("POST", CRDS, crd)
    assert (
        code == 422 and refused["details"]["causes"][0]["field"] == "metadata.annotations[api-approved.kubernetes.io]"
    )
    crd["metadata"]["annotations"] = {"api-approved.kubernetes.io": "unapproved, a test"}
    found = await define(api, crd)
    approved = condition(found, "KubernetesAPIApprovalPolicyConformant")
    assert (approved["status"], approved["reason"]) == ("False", "UnapprovedAnnotation")
    over = definition(group="networking.k8s.io", plural="ingresses", kind="Ingress")
    over["metadata"]["annotations"] = {"api-approved.kubernetes.io": "unapproved, a test"}
    await define(api, over)
    code, listed = await api("GET", "/apis/networking.k8s.io/v1/ingresses")
    assert code == 200 and listed["kind"] == "IngressList"
    await api("DELETE", f"{CRDS}/ingresses.networking.k8s.io")
    assert (await api("GET", "/apis/networking.k8s.io/v1/ingresses"))[0] == 200


async def test_bodies_are_json_or_yaml(api: Local) -> None:
    await define(api, definition())
    assert (await api("POST", CRONTABS, b"k8s\0", "application/vnd.kubernetes.protobuf"))[0] == 415
    text = f"apiVersion: {GROUP}/v1\nkind: CronTab\nmetadata: {{name: y}}\nspec: {{cronSpec: '* *'}}\n"
    code, refused = await api("POST", CRONTABS, text.encode(), "application/yaml")
    assert code == 422 and "spec.cronSpec in body should match '^\\S+$'" in refused["message"]


async def test_nesting_is_bounded(api: Local) -> None:
    schema: dict[str, Any] = {"type": "string"}
    deep: Any = "x"
    for _ in range(300):
        schema = {"type": "object", "properties": {"a": schema}}
        deep = {"a": deep}
    code, refused = await api("POST", CRDS, definition(version(schema={"openAPIV3Schema": schema})))
    assert code == 400 and refused["message"] == "the object is nested too deeply"
    await define(api, definition())
    for query in ("", "?fieldValidation=Ignore"):
        code, refused = await api("POST", CRONTABS + query, crontab("a", free=deep))
        assert code == 400 and refused["message"] == "the object is nested too deeply"

"""What creating and updating do besides storing, kind by kind."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.apiserver.replies import warning_header
from tests.conftest import Local

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
CORE = "/api/v1/namespaces/default"
APPS = "/apis/apps/v1/namespaces/default"
POD_SPEC = {"containers": [{"name": "c", "image": "i"}]}
#: everybody is warned of it
OLD_SPEC = {**POD_SPEC, "nodeSelector": {"beta.kubernetes.io/os": "linux"}}
TOLD = 'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead'
TIME = "2026-01-01T00:00:00Z"


def template(spec: dict[str, Any] = POD_SPEC, **more: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"a": "b"}}, "spec": {**spec, **more}}


def workload(name: str = "a", spec: dict[str, Any] = POD_SPEC, **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template(spec), **more},
    }


async def made(api: Local, path: str, body: dict[str, Any]) -> dict[str, Any]:
    code, obj = await api("POST", path, body)
    assert code == 201, obj
    found: dict[str, Any] = obj
    return found


async def warnings(api: Local, method: str, path: str, body: Any, media: str = "application/json") -> list[str]:
    reply = await api.raw(method, path, body, media)
    assert reply.code in (200, 201), reply.body
    return [value for key, value in reply.headers if key == "Warning" and "not enforced yet" not in value]


def said(*texts: str) -> list[str]:
    return [warning_header(text) for text in texts]


# -- generations -------------------------------------------------------------------------------------------------------


async def test_a_binding_is_no_new_generation(api: Local) -> None:
    await made(api, f"{CORE}/pods", {"metadata": {"name": "p"}, "spec": POD_SPEC})
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    assert (await api("POST", f"{CORE}/pods/p/binding", binding))[0] == 201
    _, pod = await api("GET", f"{CORE}/pods/p")
    assert (pod["spec"]["nodeName"], pod["metadata"]["generation"]) == ("n", 1)
    _, pod = await api("PATCH", f"{CORE}/pods/p", {"spec": {"activeDeadlineSeconds": 9}}, MERGE)
    assert pod["metadata"]["generation"] == 2


async def test_annotations_of_a_deployment_are_a_new_generation(api: Local) -> None:
    await made(api, f"{APPS}/deployments", workload())
    for body, generation in (
        ({"metadata": {"annotations": {"a": "b"}}}, 2),
        ({"metadata": {"labels": {"a": "b"}}}, 2),
        ({"metadata": {"annotations": {"a": "c"}}, "spec": {"replicas": 2}}, 3),
        ({"metadata": {"annotations": None}}, 4),
    ):
        code, deployment = await api("PATCH", f"{APPS}/deployments/a", body, MERGE)
        assert (code, deployment["metadata"]["generation"]) == (200, generation), body
    _, deployment = await api("PATCH", f"{APPS}/deployments/a/status", {"metadata": {"annotations": {"a": "d"}}}, MERGE)
    assert deployment["metadata"]["annotations"] == {"a": "d"} and deployment["metadata"]["generation"] == 4


CIDR = {"metadata": {"name": "c"}, "spec": {"cidrs": ["10.7.0.0/24"]}}
REQUEST = {"name": "r", "exactly": {"deviceClassName": "c"}}
CLAIM = {"metadata": {"name": "c"}, "spec": {"devices": {"requests": [REQUEST]}}}
MIGRATION = {"metadata": {"name": "m"}, "spec": {"resource": {"group": "apps", "resource": "deployments"}}}
RUNTIME_CLASS = {"metadata": {"name": "r"}, "handler": "h"}
NODE_KINDS = "/apis/node.k8s.io/v1/runtimeclasses"
CIDRS = "/apis/networking.k8s.io/v1/servicecidrs"
CLAIMS = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims"
MIGRATIONS = "/apis/storagemigration.k8s.io/v1/storageversionmigrations"
PRIORITIES = "/apis/scheduling.k8s.io/v1/priorityclasses"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (NODE_KINDS, RUNTIME_CLASS),
        (CIDRS, CIDR),
        (CLAIMS, CLAIM),
        (
            f"{CLAIMS}/templates".replace("claims/templates", "claimtemplates"),
            {**CLAIM, "spec": {"spec": CLAIM["spec"]}},
        ),
        (MIGRATIONS, MIGRATION),
        (f"{CORE}/configmaps", {"metadata": {"name": "c"}}),
    ],
)
async def test_a_kind_without_generations_keeps_the_one_that_was_sent(
    api: Local, path: str, body: dict[str, Any]
) -> None:
    one = await made(api, path, body)
    assert "generation" not in one["metadata"]
    sent = {**body, "metadata": {"name": "other", "generation": 7}}
    if path == CIDRS:
        sent["spec"] = {"cidrs": ["10.8.0.0/24"]}
    assert (await made(api, path, sent))["metadata"]["generation"] == 7


async def test_a_kind_with_generations_begins_with_the_first(api: Local) -> None:
    body = workload()
    body["metadata"]["generation"] = 7
    assert (await made(api, f"{APPS}/deployments", body))["metadata"]["generation"] == 1


async def test_the_generation_of_a_priority_class_is_never_counted(api: Local) -> None:
    one = await made(api, PRIORITIES, {"metadata": {"name": "p"}, "value": 1})
    assert one["metadata"]["generation"] == 1
    _, one = await api("PATCH", f"{PRIORITIES}/p", {"description": "x"}, MERGE)
    assert (one["description"], one["metadata"]["generation"]) == ("x", 1)


# -- PUT ---------------------------------------------------------------------------------------------------------------

HOOKS = "/apis/admissionregistration.k8s.io/v1"
POLICY = {
    "matchConstraints": {
        "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["x"]}]
    }
}
VALIDATING = {**POLICY, "validations": [{"expression": "true"}]}
MUTATING = {
    **POLICY,
    "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'test'}]"}}],
    "reinvocationPolicy": "Never",
}
ATTACHMENT = {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "v"}}
CAPACITIES = "/apis/storage.k8s.io/v1/namespaces/default/csistoragecapacities"
CRD: dict[str, Any] = {
    "metadata": {"name": "things.example.com"},
    "spec": {
        "group": "example.com",
        "names": {"plural": "things", "kind": "Thing"},
        "scope": "Cluster",
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        ],
    },
}
SERVICE = {"groupPriorityMinimum": 1, "versionPriority": 1, "group": "x.io", "version": "v1"}
TAINT = {"key": "a", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{HOOKS}/validatingwebhookconfigurations", {}),
        (f"{HOOKS}/mutatingwebhookconfigurations", {}),
        (f"{HOOKS}/validatingadmissionpolicies", {"spec": VALIDATING}),
        (f"{HOOKS}/validatingadmissionpolicybindings", {"spec": {"policyName": "p", "validationActions": ["Deny"]}}),
        (f"{HOOKS}/mutatingadmissionpolicies", {"spec": MUTATING}),
        (f"{HOOKS}/mutatingadmissionpolicybindings", {"spec": {"policyName": "p"}}),
        ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD),
        ("/apis/apiregistration.k8s.io/v1/apiservices", {"metadata": {"name": "v1.x.io"}, "spec": SERVICE}),
        ("/apis/storage.k8s.io/v1/csidrivers", {"spec": {}}),
        ("/apis/storage.k8s.io/v1/csinodes", {"spec": {"drivers": []}}),
        (CAPACITIES, {"storageClassName": "s"}),
        ("/apis/storage.k8s.io/v1/volumeattachments", {"spec": ATTACHMENT}),
        (NODE_KINDS, {"handler": "h"}),
        (MIGRATIONS, {"spec": MIGRATION["spec"]}),
        ("/apis/resource.k8s.io/v1/devicetaintrules", {"spec": {"deviceSelector": {"driver": "d"}, "taint": TAINT}}),
    ],
)
async def test_put_needs_a_revision(api: Local, path: str, body: dict[str, Any]) -> None:
    body = {"metadata": {"name": "a.b"}, **body}
    name = body["metadata"]["name"]
    await made(api, path, body)
    code, refused = await api("PUT", f"{path}/{name}", body)
    group, resource = path.split("/")[2], path.rpartition("/")[2]
    why = "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
    assert (code, refused["message"]) == (422, f'{resource}.{group} "{name}" is invalid: {why}')
    assert refused["details"]["kind"] == resource
    assert (await api.replace(f"{path}/{name}", body))[0] == 200


ROLE_REF = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{CORE}/services", {"spec": {"ports": [{"port": 80}]}}),
        (f"{CORE}/limitranges", {"spec": {"limits": []}}),
        (f"{RBAC}/namespaces/default/roles", {"rules": []}),
        (f"{RBAC}/clusterroles", {"rules": []}),
        (f"{RBAC}/namespaces/default/rolebindings", {"roleRef": ROLE_REF}),
        (f"{RBAC}/clusterrolebindings", {"roleRef": ROLE_REF}),
        (NODE_KINDS, {"handler": "h"}),
    ],
)
async def test_put_creates(api: Local, path: str, body: dict[str, Any]) -> None:
    code, obj = await api("PUT", f"{path}/new", {"metadata": {"name": "new"}, **body})
    assert code == 201, obj
    assert (await api("GET", f"{path}/new"))[1] == obj


async def test_put_does_not_create_what_is_posted(api: Local) -> None:
    assert (await api("PUT", f"{CORE}/configmaps/new", {"metadata": {"name": "new"}}))[0] == 404


async def test_another_time_of_creation_is_overlooked(api: Local) -> None:
    one = await made(api, f"{CORE}/configmaps", {"metadata": {"name": "a"}})
    sent = {"metadata": {"name": "a", "creationTimestamp": TIME}, "data": {"a": "b"}}
    code, after = await api("PUT", f"{CORE}/configmaps/a", sent)
    assert code == 200 and after["metadata"]["creationTimestamp"] == one["metadata"]["creationTimestamp"] != TIME


@pytest.mark.parametrize(("field", "value"), [("deletionTimestamp", TIME), ("deletionGracePeriodSeconds", 0)])
async def test_an_update_begins_no_deletion(api: Local, field: str, value: Any) -> None:
    await made(api, f"{CORE}/configmaps", {"metadata": {"name": "a", "finalizers": ["a/b"]}})
    path, body = f"{CORE}/configmaps/a", {"metadata": {field: value}}
    code, refused = await api("PATCH", path, body, MERGE)
    shown = f'"{value}"' if isinstance(value, str) else value
    why = f"metadata.{field}: Invalid value: {shown}: field is immutable"
    assert (code, refused["message"]) == (422, f'ConfigMap "a" is invalid: {why}')
    # nor does it change one that has begun
    _, going = await api("DELETE", path)
    code, after = await api("PATCH", path, {"metadata": {"deletionTimestamp": TIME, "labels": {"a": "b"}}}, MERGE)
    assert code == 200 and after["metadata"]["labels"] == {"a": "b"}
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds"):
        assert after["metadata"][name] == going["metadata"][name]


async def test_the_status_of_a_pod_says_nothing_of_its_deletion(api: Local) -> None:
    await made(api, f"{CORE}/pods", {"metadata": {"name": "p"}, "spec": POD_SPEC})
    code, pod = await api("PATCH", f"{CORE}/pods/p/status", {"metadata": {"deletionTimestamp": TIME}}, MERGE)
    assert code == 200 and "deletionTimestamp" not in pod["metadata"]


@pytest.mark.parametrize(
    ("path", "subresource", "body"),
    [
        (f"{CORE}/pods", "ephemeralcontainers", {"spec": POD_SPEC}),
        (f"{CORE}/pods", "resize", {"spec": POD_SPEC}),
        ("/apis/certificates.k8s.io/v1/certificatesigningrequests", "approval", None),
        ("/api/v1/namespaces", "finalize", {}),
    ],
)
async def test_the_uid_that_is_sent_to_a_subresource_is_a_precondition(
    api: Local, path: str, subresource: str, body: dict[str, Any] | None
) -> None:
    if body is None:
        body = {"spec": {"signerName": "a.b/c", "usages": ["digital signature"], "request": signing_request()}}
    one = await made(api, path, {"metadata": {"name": "a"}, **body})
    other = {**one, "metadata": {**one["metadata"], "uid": "other"}}
    code, refused = await api("PUT", f"{path}/a/{subresource}", other)
    why = f"Precondition failed: UID in precondition: other, UID in object meta: {one['metadata']['uid']}"
    assert code == 409 and refused["message"].endswith(why)
    assert (await api("PUT", f"{path}/a/{subresource}", one))[0] == 200


def signing_request() -> str:
    import base64

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(signed.public_bytes(Encoding.PEM)).decode()


# -- /status -----------------------------------------------------------------------------------------------------------

FLOWS = "/apis/flowcontrol.apiserver.k8s.io/v1"
FLOW = {"priorityLevelConfiguration": {"name": "catch-all"}}
LEVEL = {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}


@pytest.mark.parametrize(
    ("path", "body", "owned"),
    [
        (CIDRS, CIDR, None),
        ("/apis/storage.k8s.io/v1/volumeattachments", {"spec": ATTACHMENT}, False),
        (CLAIMS, CLAIM, False),
        (MIGRATIONS, MIGRATION, False),
        (
            "/apis/resource.k8s.io/v1/devicetaintrules",
            {"spec": {"deviceSelector": {"driver": "d"}, "taint": TAINT}},
            False,
        ),
        (f"{HOOKS}/validatingadmissionpolicies", {"spec": VALIDATING}, False),
        (f"{FLOWS}/flowschemas", {"spec": FLOW}, False),
        (f"{FLOWS}/prioritylevelconfigurations", {"spec": LEVEL}, False),
        ("/apis/apiregistration.k8s.io/v1/apiservices", {"metadata": {"name": "v1.x.io"}, "spec": SERVICE}, False),
    ],
)
async def test_a_status_leaves_metadata_alone(api: Local, path: str, body: dict[str, Any], owned: bool | None) -> None:
    meta = {"labels": {"a": "b"}, "annotations": {"a": "b"}, "finalizers": ["a/b"]}
    one = await made(api, path, {**body, "metadata": {"name": "a", **body.get("metadata", {}), **meta}})
    changed = {"labels": {"a": "c"}, "annotations": {"a": "c"}, "finalizers": None}
    owners = [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}]
    sent = {"metadata": {**changed, "ownerReferences": owners}}
    code, after = await api("PATCH", f"{path}/{one['metadata']['name']}/status", sent, MERGE)
    assert code == 200, after
    assert {name: after["metadata"][name] for name in meta} == meta and "ownerReferences" not in after["metadata"]
    if owned is not None:
        entries = [item for item in after["metadata"]["managedFields"] if item.get("subresource") == "status"]
        assert any("f:metadata" in item["fieldsV1"] for item in entries) == owned


async def test_the_status_of_other_kinds_brings_metadata(api: Local) -> None:
    path = f"{APPS}/statefulsets"
    await made(api, path, workload())
    _, after = await api("PATCH", f"{path}/a/status", {"metadata": {"labels": {"a": "c"}}}, MERGE)
    assert after["metadata"]["labels"] == {"a": "c"}


async def test_the_status_of_a_deployment_leaves_labels_alone(api: Local) -> None:
    path = f"{APPS}/deployments"
    await made(api, path, workload())
    sent = {"metadata": {"labels": {"a": "c"}, "annotations": {"a": "c"}}}
    _, after = await api("PATCH", f"{path}/a/status", sent, MERGE)
    assert "labels" not in after["metadata"] and after["metadata"]["annotations"] == {"a": "c"}
    fields = next(item for item in after["metadata"]["managedFields"] if item.get("subresource") == "status")
    assert fields["fieldsV1"]["f:metadata"].keys() == {"f:annotations"}


# -- namespaces, addresses ---------------------------------------------------------------------------------------------


async def test_the_label_of_a_namespace_is_its_name(api: Local) -> None:
    wrong = {"metadata": {"labels": {"kubernetes.io/metadata.name": "kube-system"}}}
    path = "/api/v1/namespaces"
    one = await made(api, path, {"metadata": {"name": "n", **wrong["metadata"]}})
    for at, media in (("", MERGE), ("/status", MERGE)):
        code, one = await api("PATCH", f"{path}/n{at}", wrong, media)
        assert code == 200 and one["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n"}
    _, one = await api("PUT", f"{path}/n", {"metadata": {}})
    assert one["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n"}
    sent = {**one, "metadata": {**one["metadata"], "labels": {"kubernetes.io/metadata.name": "x", "a": "b"}}}
    code, one = await api("PUT", f"{path}/n/finalize", sent)
    # what else is said of it is taken
    assert code == 200 and one["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n", "a": "b"}
    assert one["spec"] == {"finalizers": ["kubernetes"]} and one["status"]["phase"] == "Active"


async def test_the_name_of_an_address_has_no_suffix(api: Local) -> None:
    parent = {"group": "", "resource": "services", "namespace": "default", "name": "s"}
    body = {"metadata": {"generateName": "10.96.0.77"}, "spec": {"parentRef": parent}}
    one = await made(api, "/apis/networking.k8s.io/v1/ipaddresses", body)
    assert one["metadata"]["name"] == "10.96.0.77"


# -- warnings ----------------------------------------------------------------------------------------------------------

JOBS = "/apis/batch/v1/namespaces/default"
JOB = {"template": {"spec": {**POD_SPEC, "restartPolicy": "Never"}}}
OLD_JOB = {"template": {"spec": {**OLD_SPEC, "restartPolicy": "Never"}}}
CONTROLLED = {"selector": {"a": "b"}, "template": template()}


@pytest.mark.parametrize(
    ("path", "spec"),
    [
        (f"{APPS}/deployments", workload()["spec"]),
        (f"{APPS}/replicasets", workload()["spec"]),
        (f"{CORE}/replicationcontrollers", CONTROLLED),
        (f"{JOBS}/jobs", JOB),
        (f"{JOBS}/cronjobs", {"schedule": "* * * * *", "jobTemplate": {"spec": JOB}}),
    ],
)
async def test_names_of_what_makes_pods_are_better_labels(api: Local, path: str, spec: dict[str, Any]) -> None:
    why = "this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended"
    told = said(f"metadata.name: {why}: [must not contain dots]")
    assert await warnings(api, "POST", path, {"metadata": {"name": "a.b"}, "spec": spec}) == told
    assert await warnings(api, "PATCH", f"{path}/a.b", {"metadata": {"labels": {"a": "b"}}}, MERGE) == []
    assert await warnings(api, "POST", path, {"metadata": {"name": "a-b"}, "spec": spec}) == []


@pytest.mark.parametrize(
    ("path", "body", "where", "change"),
    [
        (f"{APPS}/deployments", workload(spec=OLD_SPEC), "spec.template", {"spec": {"replicas": 2}}),
        (f"{APPS}/deployments", workload(spec=OLD_SPEC), "spec.template", {"metadata": {"annotations": {"a": "b"}}}),
        (f"{APPS}/replicasets", workload(spec=OLD_SPEC), "spec.template", {"spec": {"replicas": 2}}),
        (f"{APPS}/statefulsets", workload(spec=OLD_SPEC), "spec.template", {"spec": {"replicas": 2}}),
        (f"{JOBS}/jobs", {"spec": OLD_JOB}, "spec.template", {"spec": {"parallelism": 2}}),
        (
            f"{JOBS}/cronjobs",
            {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": OLD_JOB}}},
            "spec.jobTemplate.spec.template",
            {"spec": {"suspend": True}},
        ),
    ],
)
async def test_a_template_is_told_of_with_every_new_generation(
    api: Local, path: str, body: dict[str, Any], where: str, change: dict[str, Any]
) -> None:
    body = {**body, "metadata": {"name": "a"}}
    told = said(f"{where}.{TOLD}")
    assert await warnings(api, "POST", path, body) == told
    assert await warnings(api, "PATCH", f"{path}/a", {"metadata": {"labels": {"a": "b"}}}, MERGE) == []
    assert await warnings(api, "PATCH", f"{path}/a", change, MERGE) == told


async def test_a_pod_template_is_told_of_when_it_changes(api: Local) -> None:
    path = f"{CORE}/podtemplates"
    told = said(f"template.{TOLD}")
    assert await warnings(api, "POST", path, {"metadata": {"name": "a"}, "template": template(OLD_SPEC)}) == told
    assert await warnings(api, "PATCH", f"{path}/a", {"metadata": {"labels": {"a": "b"}}}, MERGE) == []
    change = {"template": {"spec": {"priority": 1}}}
    assert await warnings(api, "PATCH", f"{path}/a", change, MERGE) == told


async def test_a_daemon_set_is_told_of_only_with_its_template(api: Local) -> None:
    path = f"{APPS}/daemonsets"
    assert await warnings(api, "POST", path, workload(spec=OLD_SPEC)) == said(f"spec.template.{TOLD}")
    assert await warnings(api, "PATCH", f"{path}/a", {"spec": {"minReadySeconds": 1}}, MERGE) == []


async def test_scaling_tells_of_the_template(api: Local) -> None:
    path = f"{APPS}/deployments"
    await made(api, path, workload(spec=OLD_SPEC))
    told = said(f"spec.template.{TOLD}")
    assert await warnings(api, "PATCH", f"{path}/a/scale", {"spec": {"replicas": 3}}, MERGE) == told


async def test_many_indexes_are_told_of_with_every_new_generation(api: Local) -> None:
    spec = {**JOB, "completionMode": "Indexed", "completions": 200_000, "parallelism": 20_000}
    await made(api, f"{JOBS}/jobs", {"metadata": {"name": "a"}, "spec": {**spec, "maxFailedIndexes": None}})
    told = await warnings(api, "PATCH", f"{JOBS}/jobs/a", {"spec": {"parallelism": 30_000}}, MERGE)
    assert len(told) == 1 and "spec: In Indexed Jobs with a number of completions higher than 10^5" in told[0]


async def test_formats_that_a_definition_had_are_not_told_of_again(api: Local) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

    def definition(**formats: str) -> dict[str, Any]:
        fields = {name: {"type": "string", "format": value} for name, value in formats.items()}
        properties = {"spec": {"type": "object", "properties": fields, "anyOf": [{"properties": {"a": {}}}]}}
        version = {
            **CRD["spec"]["versions"][0],
            "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
        }
        return {**CRD, "spec": {**CRD["spec"], "versions": [version]}}

    told = await warnings(api, "POST", path, definition(a="odd", b="odd", c="date"))
    assert told == said('unrecognized format "odd"')
    spec = {"spec": definition(a="odd", b="odder")["spec"]}
    assert await warnings(api, "PATCH", f"{path}/things.example.com", spec, MERGE) == said(
        'unrecognized format "odder"'
    )


@pytest.mark.parametrize(
    ("resource", "spec"),
    [
        ("validatingwebhookconfigurations", {}),
        ("mutatingwebhookconfigurations", {}),
        ("validatingadmissionpolicies", {"spec": VALIDATING}),
        ("mutatingadmissionpolicies", {"spec": MUTATING}),
        ("validatingadmissionpolicybindings", {"spec": {"policyName": "p", "validationActions": ["Deny"]}}),
        ("mutatingadmissionpolicybindings", {"spec": {"policyName": "p"}}),
    ],
)
async def test_names_of_what_files_configure_are_reserved(api: Local, resource: str, spec: dict[str, Any]) -> None:
    why = 'names ending with ".static.k8s.io" are reserved for static manifest-based configurations and cannot be managed via the API'
    code, refused = await api("POST", f"{HOOKS}/{resource}", {"metadata": {"name": "a.static.k8s.io"}, **spec})
    assert code == 422
    told = f'metadata.name: Invalid value: "a.static.k8s.io": {why}'
    assert refused["message"].endswith(f'"a.static.k8s.io" is invalid: {told}')
    kind = api.server.api.registry.get("admissionregistration.k8s.io", "v1", resource)
    before = {"metadata": {"name": "a.static.k8s.io"}}
    assert kind is not None and kind.warnings(before, before) == [f"metadata.name: {why}"]


async def test_who_applies_to_a_part_of_a_pod_owns_nothing_else_of_it(api: Local) -> None:
    path = f"{CORE}/pods"
    await made(api, path, {"metadata": {"name": "p"}, "spec": POD_SPEC})
    container = {"name": "c", "image": "other", "resources": {"requests": {"cpu": "1"}}}
    sent = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {"a": "b"}},
        "spec": {"containers": [container], "ephemeralContainers": [{"name": "e", "image": "i"}]},
    }
    code, pod = await api("PATCH", f"{path}/p/ephemeralcontainers?fieldManager=m", sent, APPLY)
    assert code == 200, pod
    code, refused = await api("PATCH", f"{path}/p/resize?fieldManager=m", sent, APPLY)
    # quality of service does not change, and nothing else of it comes that far
    assert code == 422 and "image" not in refused["message"]
    assert pod["spec"]["containers"][0]["image"] == "i" and "labels" not in pod["metadata"]
    owned = {
        item["subresource"]: item["fieldsV1"] for item in pod["metadata"]["managedFields"] if "subresource" in item
    }
    named: dict[str, Any] = {'k:{"name":"e"}': {".": {}, "f:image": {}, "f:name": {}}}
    assert owned == {"ephemeralcontainers": {"f:spec": {"f:ephemeralContainers": named}}}

    requests = {**POD_SPEC["containers"][0], "resources": {"requests": {"cpu": "1"}}}
    await made(api, path, {"metadata": {"name": "q"}, "spec": {"containers": [requests]}})
    container["resources"]["requests"]["cpu"] = "2"  # type: ignore[index]
    sent["metadata"] = {"name": "q", "labels": {"a": "b"}}
    code, pod = await api("PATCH", f"{path}/q/resize?fieldManager=m&force=true", sent, APPLY)
    assert code == 200, pod
    assert pod["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "2"}}
    owned = {
        item["subresource"]: item["fieldsV1"] for item in pod["metadata"]["managedFields"] if "subresource" in item
    }
    resources: dict[str, Any] = {".": {}, "f:resources": {"f:requests": {"f:cpu": {}}}}
    assert owned == {"resize": {"f:spec": {"f:containers": {'k:{"name":"c"}': resources}}}}

"""What every kind keeps, and the particulars of some."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.api.errors import StatusError
from sampan.api.kind import Kind, Obj
from sampan.api.registry import Registry
from sampan.api.schema.decode import decode
from sampan.api.table import human_duration
from tests.conftest import Local
from tests.objects import Maker

REGISTRY = Registry()
KINDS = [
    kind
    for group, versions in REGISTRY.groups()
    for version in versions
    for names in REGISTRY.names(group, version)
    if "list" in names.verbs and (kind := REGISTRY.get(group, version, names.resource)) is not None
]
IDS = [f"{kind.names.group or 'core'}-{kind.names.version}-{kind.names.kind}" for kind in KINDS]
NOW = 1_800_000_000.0


def blank(kind: Kind) -> dict[str, Any]:
    obj = decode(kind.schema, {"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"}}, strict=None)
    kind.default(obj)
    return obj


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_a_row_has_a_cell_for_each_column(kind: Kind) -> None:
    obj = blank(kind)
    assert len(kind.row(obj, NOW)) == len(kind.columns)
    assert all(isinstance(value, str) for value in kind.selectable_fields(obj).values())
    if not kind.converts:
        assert kind.field_labels() == {name: name for name in kind.selectable_fields(obj)}


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_defaults_are_there_once_and_for_all(kind: Kind) -> None:
    obj = blank(kind)
    again = decode(kind.schema, obj, strict=[])
    kind.default(again)
    assert again == obj


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_other_versions_come_back_as_they_went(kind: Kind) -> None:
    once = kind.from_storage(kind.to_storage(blank(kind)))
    assert kind.from_storage(kind.to_storage(once)) == once


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_every_step_answers_whatever_decodes(kind: Kind, seed: int) -> None:
    maker = Maker(seed)
    made: list[Obj] = []
    while len(made) < 2:
        raw = maker.object(kind)
        try:
            obj = decode(kind.schema, raw, strict=None)
        except StatusError as error:
            assert error.code == 400
            return
        kind.default(obj)
        made.append(obj)
    obj, old = made
    for found in (kind.validate(obj), kind.validate_update(obj, old), kind.validate_status_update(obj, old)):
        assert all(str(error) for error in found)
    assert all(isinstance(text, str) for text in [*kind.warnings(obj, None), *kind.warnings(obj, old)])
    assert len(kind.row(obj, NOW)) == len(kind.columns)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5, "5s"),
        (119, "119s"),
        (125, "2m5s"),
        (600, "10m"),
        (3 * 3600, "3h"),
        (86400, "24h"),
        (200000, "2d7h"),
        (10**9, "31y"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def pod(**spec: Any) -> dict[str, Any]:
    containers = [{"name": "c", "image": "x"}]
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}, "spec": {"containers": containers, **spec}}


PODS = "/api/v1/namespaces/default/pods"


async def test_a_pod_gets_upstreams_defaults(api: Local) -> None:
    limits = {"cpu": "1", "memory": "1Gi"}
    code, made = await api(
        "POST", PODS, pod(containers=[{"name": "c", "image": "x:1", "resources": {"limits": limits}}])
    )
    assert code == 201
    spec = made["spec"]
    assert spec["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert spec["containers"][0]["resources"] == {"limits": limits, "requests": limits}
    assert (spec["restartPolicy"], spec["dnsPolicy"], spec["schedulerName"]) == (
        "Always",
        "ClusterFirst",
        "default-scheduler",
    )
    assert spec["terminationGracePeriodSeconds"] == 30 and spec["securityContext"] == {} and spec["enableServiceLinks"]
    assert made["status"] == {"phase": "Pending", "qosClass": "Guaranteed"}


@pytest.mark.parametrize(
    ("spec", "field", "reason", "message"),
    [
        ({"containers": []}, "spec.containers", "FieldValueRequired", "Required value"),
        (
            {"containers": [{"name": "c", "image": "x"}, {"name": "c", "image": "x"}]},
            "spec.containers[1].name",
            "FieldValueDuplicate",
            'Duplicate value: "c"',
        ),
        (
            {"restartPolicy": "Perhaps"},
            "spec.restartPolicy",
            "FieldValueNotSupported",
            'Unsupported value: "Perhaps": supported values: "Always", "OnFailure", "Never"',
        ),
        (
            {"containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 70000}]}]},
            "spec.containers[0].ports[0].containerPort",
            "FieldValueInvalid",
            "Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            {"containers": [{"name": "c", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]},
            "spec.containers[0].volumeMounts[0].name",
            "FieldValueNotFound",
            'Not found: "v"',
        ),
        (
            {
                "containers": [
                    {"name": "c", "image": "x", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}
                ]
            },
            "spec.containers[0].resources.requests",
            "FieldValueInvalid",
            'Invalid value: "2": must be less than or equal to cpu limit of 1',
        ),
    ],
)
async def test_pods_are_refused_in_upstreams_words(
    api: Local, spec: dict[str, Any], field: str, reason: str, message: str
) -> None:
    code, refused = await api("POST", PODS, pod(**spec))
    assert code == 422
    assert {"field": field, "reason": reason, "message": message} in refused["details"]["causes"]


async def test_binding_and_eviction(api: Local) -> None:
    await api("POST", PODS, pod())
    bind = {"kind": "Binding", "apiVersion": "v1", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    assert (await api("POST", f"{PODS}/p/binding", bind))[0] == 201
    _, bound = await api("GET", f"{PODS}/p")
    assert bound["spec"]["nodeName"] == "n1"
    code, again = await api("POST", f"{PODS}/p/binding", bind)
    assert code == 409 and 'is already assigned to node "n1"' in again["message"]
    _, listed = await api("GET", "/api/v1/pods?fieldSelector=spec.nodeName=n1")
    assert [item["metadata"]["name"] for item in listed["items"]] == ["p"]
    _, marked = await api("DELETE", f"{PODS}/p")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
    evict = {"kind": "Eviction", "apiVersion": "policy/v1beta1", "metadata": {"name": "p"}}
    evict["deleteOptions"] = {"gracePeriodSeconds": 0}
    assert (await api("POST", f"{PODS}/p/eviction", evict))[0] == 201
    assert (await api("GET", f"{PODS}/p"))[0] == 404


async def test_hpa_is_one_object_in_two_versions(api: Local) -> None:
    target = {"kind": "Deployment", "name": "web"}
    v1 = {
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": target, "targetCPUUtilizationPercentage": 50},
    }
    code, made = await api("POST", "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers", v1)
    assert code == 201 and made["apiVersion"] == "autoscaling/v1"
    _, seen = await api("GET", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/h")
    assert seen["spec"]["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 50}
    _, back = await api("GET", "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers/h")
    assert back["spec"]["targetCPUUtilizationPercentage"] == 50


async def test_what_v1_of_an_hpa_cannot_say_is_kept_in_annotations(api: Local) -> None:
    one, two = (f"/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers" for version in ("v1", "v2"))
    metric, service = {"name": "m", "selector": {"matchLabels": {"a": "b"}}}, {"kind": "Service", "name": "s"}
    metrics: list[Obj] = [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
        {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
        {"type": "Pods", "pods": {"metric": metric, "target": {"type": "AverageValue", "averageValue": "2"}}},
        {
            "type": "Object",
            "object": {
                "metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "3"},
                "describedObject": service,
            },
        },
        {"type": "External", "external": {"metric": metric, "target": {"type": "Value", "value": "4"}}},
        {
            "type": "ContainerResource",
            "containerResource": {
                "name": "cpu", "container": "c", "target": {"type": "Utilization", "averageUtilization": 60},
            },
        },
    ]  # fmt: skip
    rules = {"selectPolicy": "Max", "policies": [{"type": "Pods", "value": 1, "periodSeconds": 2}]}
    behavior = {"scaleUp": {**rules, "stabilizationWindowSeconds": 0}, "scaleDown": {**rules, "tolerance": "50m"}}
    spec = {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "w"}}
    body = {"metadata": {"name": "h"}, "spec": {**spec, "metrics": metrics, "behavior": behavior}}
    assert (await api("POST", two, body))[0] == 201
    conditions = [{"type": "AbleToScale", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    current = [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageValue": "1"}}}]
    status = {"currentReplicas": 1, "desiredReplicas": 2, "currentMetrics": current, "conditions": conditions}
    assert (await api("PATCH", f"{two}/h/status", {"status": status}, "application/merge-patch+json"))[0] == 200
    _, seen = await api("GET", f"{one}/h")
    notes = {
        name.removeprefix("autoscaling.alpha.kubernetes.io/"): json.loads(text)
        for name, text in seen["metadata"]["annotations"].items()
    }
    selector = metric["selector"]
    assert notes["metrics"] == [
        {"type": "Resource", "resource": {"name": "memory", "targetAverageValue": "1Gi"}},
        {"type": "Pods", "pods": {"metricName": "m", "selector": selector, "targetAverageValue": "2"}},
        {"type": "Object", "object": {"target": service, "metricName": "m", "targetValue": "0", "averageValue": "3"}},
        {"type": "External", "external": {"metricName": "m", "metricSelector": selector, "targetValue": "4"}},
        {
            "type": "ContainerResource",
            "containerResource": {"name": "cpu", "container": "c", "targetAverageUtilization": 60},
        },
    ]
    policies = [{"Type": "Pods", "Value": 1, "PeriodSeconds": 2}]
    assert notes["behavior"] == {
        "ScaleUp": {"StabilizationWindowSeconds": 0, "SelectPolicy": "Max", "Policies": policies, "Tolerance": None},
        "ScaleDown": {
            "StabilizationWindowSeconds": None, "SelectPolicy": "Max", "Policies": policies, "Tolerance": "50m",
        },
    }  # fmt: skip
    assert notes["current-metrics"] == [{"type": "Resource", "resource": {"name": "cpu", "currentAverageValue": "1"}}]
    assert notes["conditions"] == conditions
    # a client that knows only v1 takes nothing away of the status, but the spec is what it writes
    seen["metadata"]["annotations"] = {"autoscaling.alpha.kubernetes.io/behavior": "nonsense", "mine": "x"}
    assert (await api("PUT", f"{one}/h", seen))[0] == 200
    _, after = await api("GET", f"{two}/h")
    assert after["metadata"]["annotations"] == {"mine": "x"} and after["metadata"]["generation"] == 2
    assert after["status"]["conditions"] == conditions and after["status"]["currentMetrics"] == current
    assert (after["spec"]["metrics"], after["spec"].get("behavior", {})) == (metrics[:1], {})
    # ... and the other way round
    after["spec"]["metrics"] = metrics
    assert (await api("PUT", f"{two}/h", after))[0] == 200
    status = {"currentReplicas": 5, "desiredReplicas": 5}
    body = {"metadata": {"annotations": None}, "status": status}
    assert (await api("PATCH", f"{one}/h/status", body, "application/merge-patch+json"))[0] == 200
    _, after = await api("GET", f"{two}/h")
    assert after["spec"]["metrics"] == metrics and after["metadata"]["generation"] == 3
    assert after["status"]["currentReplicas"] == 5 and "conditions" not in after["status"]


async def test_scale(api: Local) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    body = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}
    path = "/apis/apps/v1/namespaces/default/deployments"
    assert (await api("POST", path, body))[0] == 201
    _, scale = await api("GET", f"{path}/d/scale")
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == ("Scale", {"replicas": 1}, "a=b")
    scale["spec"]["replicas"] = 4
    assert (await api("PUT", f"{path}/d/scale", scale))[0] == 200
    _, after = await api("GET", f"{path}/d")
    assert after["spec"]["replicas"] == 4 and after["metadata"]["generation"] == 2
    managers = {(e["manager"], e.get("subresource")) for e in after["metadata"]["managedFields"]}
    assert ("test", "scale") in managers

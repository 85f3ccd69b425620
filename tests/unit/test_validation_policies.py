"""Roles and their bindings, autoscalers and disruption budgets: what is refused."""

# ruff: noqa: E501 (a row is a line)
# fmt: off

from __future__ import annotations

import pytest

from tests.validation import Change, Valid, ids

ROLE = Valid("rbac.authorization.k8s.io", "v1", "roles", {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]})

ROLE_ROWS: list[tuple[Change, list[str]]] = [
    ({"rules": [{}]}, ["rules[0].verbs: Required value: verbs must contain at least one value", "rules[0].apiGroups: Required value: resource rules must supply at least one api group", "rules[0].resources: Required value: resource rules must supply at least one resource"]),
    ({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/a"]}]}, ['rules[0].nonResourceURLs: Invalid value: ["/a"]: namespaced rules cannot apply to non-resource URLs']),
    ({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/a"], "resources": ["pods"]}]}, ['rules[0].nonResourceURLs: Invalid value: ["/a"]: namespaced rules cannot apply to non-resource URLs', 'rules[0].nonResourceURLs: Invalid value: ["/a"]: rules cannot apply to both regular resources and non-resource URLs']),
]

@pytest.mark.parametrize(("change", "expected"), ROLE_ROWS, ids=ids(ROLE_ROWS))
def test_role(change: Change, expected: list[str]) -> None:
    assert ROLE.errors(change) == expected


CLUSTER_ROLE = Valid("rbac.authorization.k8s.io", "v1", "clusterroles", {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/a"]}]})

CLUSTER_ROLE_ROWS: list[tuple[Change, list[str]]] = [
    ({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/a"], "resources": ["pods"]}]}, ['rules[0].nonResourceURLs: Invalid value: ["/a"]: rules cannot apply to both regular resources and non-resource URLs']),
    ({"aggregationRule": {}}, ["aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil"]),
    ({"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a b": "c"}}]}}, ['aggregationRule.clusterRoleSelectors.matchLabels: Invalid value: "a b": name part must consist of …']),
]

@pytest.mark.parametrize(("change", "expected"), CLUSTER_ROLE_ROWS, ids=ids(CLUSTER_ROLE_ROWS))
def test_cluster_role(change: Change, expected: list[str]) -> None:
    assert CLUSTER_ROLE.errors(change) == expected


BINDING = Valid("rbac.authorization.k8s.io", "v1", "rolebindings", {"roleRef": {"kind": "Role", "name": "r"}})

ROLE_BINDING_ROWS: list[tuple[Change, list[str]]] = [
    ({"roleRef": {}}, ['roleRef.kind: Unsupported value: "": supported values: "ClusterRole", "Role"', "roleRef.name: Required value"]),
    ({"roleRef": {"kind": "x", "name": "a/b", "apiGroup": "y"}}, ['roleRef.apiGroup: Unsupported value: "y": supported values: "rbac.authorization.k8s.io"', 'roleRef.kind: Unsupported value: "x": supported values: "ClusterRole", "Role"', "roleRef.name: Invalid value: \"a/b\": may not contain '/'"]),
    ({"subjects": [{"kind": "User"}]}, ["subjects[0].name: Required value"]),
    ({"subjects": [{"kind": "x", "name": "a"}]}, ['subjects[0].kind: Unsupported value: "x": supported values: "Group", "ServiceAccount", "User"']),
    ({"subjects": [{"kind": "ServiceAccount", "name": "A", "apiGroup": "x"}]}, ['subjects[0].name: Invalid value: "A": a lowercase RFC 1123 subdomain …', 'subjects[0].apiGroup: Unsupported value: "x": supported values: ""']),
    ({"subjects": [{"kind": "User", "name": "a", "apiGroup": "x"}]}, ['subjects[0].apiGroup: Unsupported value: "x": supported values: "rbac.authorization.k8s.io"']),
]

@pytest.mark.parametrize(("change", "expected"), ROLE_BINDING_ROWS, ids=ids(ROLE_BINDING_ROWS))
def test_role_binding(change: Change, expected: list[str]) -> None:
    assert BINDING.errors(change) == expected


ROLE_BINDING_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"roleRef/name": "s"}, {}, ['roleRef: Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"s"}: cannot change roleRef']),
    ({"subjects": [{"kind": "User", "name": "a"}]}, {}, []),
]

@pytest.mark.parametrize(("change", "old", "expected"), ROLE_BINDING_UPDATE_ROWS, ids=ids(ROLE_BINDING_UPDATE_ROWS))
def test_role_binding_update(change: Change, old: Change, expected: list[str]) -> None:
    assert BINDING.update(change, old) == expected


CLUSTER_BINDING = Valid("rbac.authorization.k8s.io", "v1", "clusterrolebindings", {"roleRef": {"kind": "ClusterRole", "name": "r"}})

CLUSTER_ROLE_BINDING_ROWS: list[tuple[Change, list[str]]] = [
    ({"roleRef/kind": "Role"}, ['roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"']),
    ({"subjects": [{"kind": "ServiceAccount", "name": "a"}]}, ["subjects[0].namespace: Required value"]),
]

@pytest.mark.parametrize(("change", "expected"), CLUSTER_ROLE_BINDING_ROWS, ids=ids(CLUSTER_ROLE_BINDING_ROWS))
def test_cluster_role_binding(change: Change, expected: list[str]) -> None:
    assert CLUSTER_BINDING.errors(change) == expected


SCALER = Valid("autoscaling", "v2", "horizontalpodautoscalers", {"spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "a"}}})

CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
EXTERNAL = {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "1"}}}
OBJECT = {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s"}, "metric": {"name": "q"}, "target": {"type": "Value", "value": "1"}}}

AUTOSCALER_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/minReplicas": -1}, ["spec.minReplicas: Invalid value: -1: must be greater than or equal to 0"]),
    ({"spec/minReplicas": 0}, ["spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas"]),
    ({"spec/minReplicas": 0, "spec/metrics": [CPU, EXTERNAL]}, []),
    ({"spec/minReplicas": 0, "spec/metrics": [OBJECT]}, []),
    ({"spec/minReplicas": 0, "spec/metrics": [CPU]}, ["spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas"]),
    ({"spec/maxReplicas": 0}, ["spec.maxReplicas: Invalid value: 0: must be greater than 0", "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`"]),
    ({"spec/minReplicas": 4}, ["spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"]),
    ({"spec/scaleTargetRef": {"kind": "", "name": "a/b"}}, ["spec.scaleTargetRef.kind: Required value", "spec.scaleTargetRef.name: Invalid value: \"a/b\": may not contain '/'"]),
    ({"spec/metrics": [{"type": ""}]}, ["spec.metrics[0].type: Required value: must specify a metric source type"]),
    ({"spec/metrics": [{"type": "x"}]}, ['spec.metrics[0].type: Unsupported value: "x": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"', 'spec.metrics[0].type: Unsupported value: "x": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"']),
    ({"spec/metrics": [{"type": "Resource"}]}, ["spec.metrics[0].resource: Required value: must populate information for the given metric source"]),
    ({"spec/metrics": [{"type": "Resource", "resource": {"name": "", "target": {"type": "x"}}}]}, ["spec.metrics[0].resource.name: Required value: must specify a resource name", 'spec.metrics[0].resource.target.type: Invalid value: "x": must be either Utilization, Value, or AverageValue', "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization"]),
    ({"spec/metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 0, "averageValue": "0"}}}]}, ['spec.metrics[0].resource.target.averageValue: Invalid value: "0": must be positive', "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0", "spec.metrics[0].resource.target.averageValue: Forbidden: may not set both a target raw value and a target utilization"]),
    ({"spec/metrics": [{"type": "Pods", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 1}}}]}, ["spec.metrics[0].pods: Required value: must populate information for the given metric source", "spec.metrics[0].resource: Forbidden: must populate the given metric source only"]),
    ({"spec/metrics": [{"type": "Pods", "pods": {"metric": {"name": ""}, "target": {"type": "Value"}}}]}, ["spec.metrics[0].pods.metric.name: Required value: must specify a metric name", "spec.metrics[0].pods.target.averageValue: Required value: must specify a positive target averageValue"]),
    ({"spec/metrics": [{"type": "Object", "object": {"describedObject": {"kind": "a", "name": "b"}, "metric": {"name": "a/b"}, "target": {"type": "Value"}}}]}, ["spec.metrics[0].object.metric.name: Invalid value: \"a/b\": may not contain '/'", "spec.metrics[0].object.target.averageValue: Required value: must set either a target value or averageValue"]),
    ({"spec/metrics": [{"type": "External", "external": {"metric": {"name": "a"}, "target": {"type": "Value"}}}]}, ["spec.metrics[0].external.target.averageValue: Required value: must set either a target value for metric or a per-pod target"]),
    ({"spec/metrics": [{"type": "External", "external": {"metric": {"name": "a"}, "target": {"type": "Value", "value": "1", "averageValue": "1"}}}]}, ["spec.metrics[0].external.target.value: Forbidden: may not set both a target value for metric and a per-pod target"]),
    ({"spec/metrics": [{"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "", "target": {"type": "Utilization", "averageUtilization": 1}}}]}, ["spec.metrics[0].containerResource.container: Required value: must specify a container"]),
    ({"spec/behavior": {"scaleUp": {"stabilizationWindowSeconds": 3601, "selectPolicy": "x", "policies": [{"type": "x", "value": 0, "periodSeconds": 1801}]}}}, ["spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600", 'spec.behavior.scaleUp.selectPolicy: Unsupported value: "x": supported values: "Disabled", "Max", "Min"', 'spec.behavior.scaleUp.policies[0].type: Unsupported value: "x": supported values: "Percent", "Pods"', "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero", "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800"]),
    ({"spec/behavior": {"scaleDown": {"stabilizationWindowSeconds": -1}}}, ["spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: -1: must be greater than or equal to zero"]),
]

@pytest.mark.parametrize(("change", "expected"), AUTOSCALER_ROWS, ids=ids(AUTOSCALER_ROWS))
def test_autoscaler(change: Change, expected: list[str]) -> None:
    assert SCALER.errors(change) == expected


AUTOSCALER_STATUS_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"status": {"currentReplicas": -1, "desiredReplicas": -1}}, {}, ["status.currentReplicas: Invalid value: -1: must be greater than or equal to 0", "status.desiredReplicas: Invalid value: -1: must be greater than or equal to 0"]),
]

@pytest.mark.parametrize(("change", "old", "expected"), AUTOSCALER_STATUS_ROWS, ids=ids(AUTOSCALER_STATUS_ROWS))
def test_autoscaler_status(change: Change, old: Change, expected: list[str]) -> None:
    assert SCALER.status(change, old) == expected


BUDGET = Valid("policy", "v1", "poddisruptionbudgets", {"spec": {"minAvailable": 1}})

DISRUPTION_BUDGET_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/maxUnavailable": 1}, ['spec: Invalid value: {"maxUnavailable":1,"minAvailable":1}: minAvailable and maxUnavailable cannot be both set']),
    ({"spec/minAvailable": -1}, ["spec.minAvailable: Invalid value: -1: must be greater than or equal to 0"]),
    ({"spec/minAvailable": "x"}, ["spec.minAvailable: Invalid value: \"x\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"]),
    ({"spec/minAvailable": "101%"}, ['spec.minAvailable: Invalid value: "101%": must not be greater than 100%']),
    ({"spec/selector": {"matchLabels": {"a b": "c"}}}, ['spec.selector.matchLabels: Invalid value: "a b": name part must consist of …']),
    ({"spec/unhealthyPodEvictionPolicy": "x"}, ['spec.unhealthyPodEvictionPolicy: Unsupported value: "x": supported values: "AlwaysAllow", "IfHealthyBudget"']),
]

@pytest.mark.parametrize(("change", "expected"), DISRUPTION_BUDGET_ROWS, ids=ids(DISRUPTION_BUDGET_ROWS))
def test_disruption_budget(change: Change, expected: list[str]) -> None:
    assert BUDGET.errors(change) == expected


DISRUPTION_BUDGET_STATUS_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"status": {"disruptionsAllowed": -1, "currentHealthy": -1, "desiredHealthy": -1, "expectedPods": -1}}, {}, ["status.disruptionsAllowed: Invalid value: -1: must be greater than or equal to 0", "status.currentHealthy: Invalid value: -1: must be greater than or equal to 0", "status.desiredHealthy: Invalid value: -1: must be greater than or equal to 0", "status.expectedPods: Invalid value: -1: must be greater than or equal to 0"]),
    ({"status": {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0, "conditions": [{"type": "", "status": "x", "reason": "a b", "message": "", "lastTransitionTime": None}]}}, {}, ["status.conditions[0].type: Required value: must be set", 'status.conditions[0].status: Unsupported value: "x": supported values: "False", "True", "Unknown"', "status.conditions[0].lastTransitionTime: Required value: must be set", "status.conditions[0].reason: Invalid value: \"a b\": a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')"]),
]

@pytest.mark.parametrize(("change", "old", "expected"), DISRUPTION_BUDGET_STATUS_ROWS, ids=ids(DISRUPTION_BUDGET_STATUS_ROWS))
def test_disruption_budget_status(change: Change, old: Change, expected: list[str]) -> None:
    assert BUDGET.status(change, old) == expected

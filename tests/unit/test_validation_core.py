"""Nodes, namespaces, quotas, limits, events and other small kinds: what is refused."""

# ruff: noqa: E501 (a row is a line)
# fmt: off

from __future__ import annotations

import pytest

from tests.validation import GONE, Change, Valid, ids

NODE = Valid("", "v1", "nodes", {})

NODE_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/taints": [{"key": "a b", "effect": "x"}, {"key": "a"}, {"key": "b", "effect": "NoSchedule"}, {"key": "b", "effect": "NoSchedule"}]}, ['metadata.taints[0].key: Invalid value: "a b": name part must consist of …', 'metadata.taints[0].effect: Unsupported value: "x": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"', "metadata.taints[1].effect: Required value", 'metadata.taints[3]: Duplicate value: {"effect":"NoSchedule","key":"b"}: taints must be unique by key and effect pair']),
    ({"spec/podCIDRs": ["x"]}, ['spec.podCIDRs[0]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)']),
    ({"spec/podCIDRs": ["10.0.0.0/24", "10.0.1.0/24"]}, ['spec.podCIDRs: Invalid value: ["10.0.0.0/24","10.0.1.0/24"]: may specify no more than one CIDR for each IP family']),
    ({"status/capacity": {"disk": "1", "cpu": "-1"}}, ['status.capacity.disk: Invalid value: "disk": must be a standard resource type or fully qualified', 'status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0', 'status.allocatable.disk: Invalid value: "disk": must be a standard resource type or fully qualified', 'status.allocatable.cpu: Invalid value: "-1": must be greater than or equal to 0']),
]

@pytest.mark.parametrize(("change", "expected"), NODE_ROWS, ids=ids(NODE_ROWS))
def test_node(change: Change, expected: list[str]) -> None:
    assert NODE.errors(change) == expected


NODE_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"spec/podCIDRs": ["10.0.1.0/24"]}, {"spec/podCIDRs": ["10.0.0.0/24"]}, ['spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid']),
    ({"spec/providerID": "b"}, {"spec/providerID": "a"}, ['spec.providerID: Forbidden: node updates may not change providerID except from "" to valid']),
    ({"spec/providerID": "b"}, {}, []),
    ({"status/addresses": [{"type": "InternalIP", "address": "1.2.3.4"}, {"type": "InternalIP", "address": "1.2.3.4"}]}, {}, ['status.addresses[1]: Duplicate value: {"address":"1.2.3.4","type":"InternalIP"}']),
    ({"spec/taints": [{"key": "a"}]}, {}, ["metadata.taints[0].effect: Required value"]),
]

@pytest.mark.parametrize(("change", "old", "expected"), NODE_UPDATE_ROWS, ids=ids(NODE_UPDATE_ROWS))
def test_node_update(change: Change, old: Change, expected: list[str]) -> None:
    assert NODE.update(change, old) == expected


NODE_WARNINGS_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/podCIDRs": ["10.0.0.1/24"]}, ['spec.podCIDRs[0]: CIDR value "10.0.0.1/24" is ambiguous in this context (should be "10.0.0.0/24" or "10.0.0.1/32"?)']),
]

@pytest.mark.parametrize(("change", "expected"), NODE_WARNINGS_ROWS, ids=ids(NODE_WARNINGS_ROWS))
def test_node_warnings(change: Change, expected: list[str]) -> None:
    assert NODE.warnings(change) == expected


NAMESPACE = Valid("", "v1", "namespaces", {"status": {"phase": "Active"}})

NAMESPACE_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/finalizers": ["x", "a b/c"]}, ['spec.finalizers: Invalid value: "x": name is neither a standard finalizer name nor is it fully qualified', 'spec.finalizers: Invalid value: "a b/c": prefix part a lowercase RFC 1123 subdomain …']),
]

@pytest.mark.parametrize(("change", "expected"), NAMESPACE_ROWS, ids=ids(NAMESPACE_ROWS))
def test_namespace(change: Change, expected: list[str]) -> None:
    assert NAMESPACE.errors(change) == expected


NAMESPACE_STATUS_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"status/phase": "Terminating"}, {}, ["status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"]),
    ({"status/phase": "Active", "metadata/deletionTimestamp": "2026-01-01T00:00:00Z"}, {}, ["status.Phase: Invalid value: \"Active\": may only be 'Terminating' if `deletionTimestamp` is not empty"]),
]

@pytest.mark.parametrize(("change", "old", "expected"), NAMESPACE_STATUS_ROWS, ids=ids(NAMESPACE_STATUS_ROWS))
def test_namespace_status(change: Change, old: Change, expected: list[str]) -> None:
    assert NAMESPACE.status(change, old) == expected


CONFIG_MAP = Valid("", "v1", "configmaps", {"data": {"a": "b"}})

CONFIG_MAP_ROWS: list[tuple[Change, list[str]]] = [
    ({"data": {"..": "x"}}, ["data[..]: Invalid value: \"..\": must not be '..'"]),
    ({"data": {"a": "x"}, "binaryData": {"a": "eA=="}}, ['data[a]: Invalid value: "a": duplicate of key present in binaryData']),
]

@pytest.mark.parametrize(("change", "expected"), CONFIG_MAP_ROWS, ids=ids(CONFIG_MAP_ROWS))
def test_config_map(change: Change, expected: list[str]) -> None:
    assert CONFIG_MAP.errors(change) == expected


CONFIG_MAP_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"data": {"a": "c"}, "immutable": GONE}, {"immutable": True}, ["immutable: Forbidden: field is immutable when `immutable` is set", "data: Forbidden: field is immutable when `immutable` is set"]),
    ({"immutable": True}, {}, []),
]

@pytest.mark.parametrize(("change", "old", "expected"), CONFIG_MAP_UPDATE_ROWS, ids=ids(CONFIG_MAP_UPDATE_ROWS))
def test_config_map_update(change: Change, old: Change, expected: list[str]) -> None:
    assert CONFIG_MAP.update(change, old) == expected


SECRET = Valid("", "v1", "secrets", {"data": {"a": "eA=="}})

SECRET_ROWS: list[tuple[Change, list[str]]] = [
    ({"data": {"a b": "eA=="}}, ['data[a b]: Invalid value: "a b": a valid config key must consist of …']),
    ({"type": "kubernetes.io/service-account-token"}, ["metadata.annotations[kubernetes.io/service-account.name]: Required value"]),
    ({"type": "kubernetes.io/dockerconfigjson"}, ["data[.dockerconfigjson]: Required value"]),
    ({"type": "kubernetes.io/basic-auth"}, ["data[username]: Required value", "data[password]: Required value"]),
    ({"type": "kubernetes.io/ssh-auth"}, ["data[ssh-privatekey]: Required value"]),
    ({"type": "kubernetes.io/tls"}, ["data[tls.crt]: Required value", "data[tls.key]: Required value"]),
]

@pytest.mark.parametrize(("change", "expected"), SECRET_ROWS, ids=ids(SECRET_ROWS))
def test_secret(change: Change, expected: list[str]) -> None:
    assert SECRET.errors(change) == expected


SECRET_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"type": "x"}, {}, ['type: Invalid value: "x": field is immutable']),
    ({"data": {"a": "eQ=="}, "immutable": GONE}, {"immutable": True}, ["immutable: Forbidden: field is immutable when `immutable` is set", "data: Forbidden: field is immutable when `immutable` is set"]),
]

@pytest.mark.parametrize(("change", "old", "expected"), SECRET_UPDATE_ROWS, ids=ids(SECRET_UPDATE_ROWS))
def test_secret_update(change: Change, old: Change, expected: list[str]) -> None:
    assert SECRET.update(change, old) == expected


QUOTA = Valid("", "v1", "resourcequotas", {"spec": {"hard": {"pods": "1"}}})

RESOURCE_QUOTA_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/hard": {"x": "1"}}, ['spec.hard[x]: Invalid value: "x": must be a standard resource type or fully qualified', 'spec.hard[x]: Invalid value: "x": must be a standard resource for quota']),
    ({"spec/hard": {"pods": "-1"}}, ['spec.hard[pods]: Invalid value: "-1": must be greater than or equal to 0']),
    ({"spec/hard": {"pods": "500m"}}, ['spec.hard[pods]: Invalid value: "500m": must be an integer']),
    ({"spec/scopes": ["x"]}, ['spec.scopes: Invalid value: ["x"]: unsupported scope']),
    ({"spec/scopes": ["BestEffort"], "spec/hard": {"cpu": "1"}}, ['spec.scopes: Invalid value: ["BestEffort"]: unsupported scope applied to resource']),
    ({"spec/scopes": ["BestEffort", "NotBestEffort"]}, ['spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes']),
    ({"spec/scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}}, ["spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"]),
    ({"spec/scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "Exists", "values": ["a"]}]}}, ["spec.scopeSelector.matchExpressions.values: Invalid value: [\"a\"]: must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"]),
    ({"spec/scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "x"}]}}, ['spec.scopeSelector.matchExpressions.operator: Invalid value: "x": not a valid selector operator']),
    ({"spec/scopeSelector": {"matchExpressions": [{"scopeName": "BestEffort", "operator": "In", "values": ["a"]}]}}, ["spec.scopeSelector.matchExpressions.operator: Invalid value: \"In\": must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"]),
]

@pytest.mark.parametrize(("change", "expected"), RESOURCE_QUOTA_ROWS, ids=ids(RESOURCE_QUOTA_ROWS))
def test_resource_quota(change: Change, expected: list[str]) -> None:
    assert QUOTA.errors(change) == expected


RESOURCE_QUOTA_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"spec/scopes": ["NotBestEffort"]}, {}, ['spec.scopes: Invalid value: ["NotBestEffort"]: field is immutable']),
    ({"spec/hard": {"pods": "2"}}, {}, []),
]

@pytest.mark.parametrize(("change", "old", "expected"), RESOURCE_QUOTA_UPDATE_ROWS, ids=ids(RESOURCE_QUOTA_UPDATE_ROWS))
def test_resource_quota_update(change: Change, old: Change, expected: list[str]) -> None:
    assert QUOTA.update(change, old) == expected


RESOURCE_QUOTA_STATUS_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"status": {"hard": {"x": "1"}, "used": {"pods": "-1"}}}, {}, ['status.hard[x]: Invalid value: "x": must be a standard resource type or fully qualified', 'status.hard[x]: Invalid value: "x": must be a standard resource for quota', 'status.used[pods]: Invalid value: "-1": must be greater than or equal to 0']),
]

@pytest.mark.parametrize(("change", "old", "expected"), RESOURCE_QUOTA_STATUS_ROWS, ids=ids(RESOURCE_QUOTA_STATUS_ROWS))
def test_resource_quota_status(change: Change, old: Change, expected: list[str]) -> None:
    assert QUOTA.status(change, old) == expected


LIMITS = Valid("", "v1", "limitranges", {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}}]}})

LIMIT_RANGE_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/limits/0/type": "x"}, ['spec.limits[0].type: Invalid value: "x": must be a standard limit type or fully qualified']),
    ({"spec/limits": [{"type": "Pod"}, {"type": "Pod"}]}, ['spec.limits[1].type: Duplicate value: "Pod"']),
    ({"spec/limits/0/type": "Pod", "spec/limits/0/default": {"cpu": "1"}}, ["spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"]),
    ({"spec/limits/0/type": "PersistentVolumeClaim", "spec/limits/0/max": GONE}, ["spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided"]),
    ({"spec/limits/0/min": {"cpu": "3"}}, ['spec.limits[0].min[cpu]: Invalid value: "3": min value 3 is greater than max value 2', 'spec.limits[0].defaultRequest[cpu]: Invalid value: "2": min value 3 is greater than default request value 2', 'spec.limits[0].default[cpu]: Invalid value: "3": min value 3 is greater than default value 2']),
    ({"spec/limits/0/default": {"cpu": "3"}}, ['spec.limits[0].defaultRequest[cpu]: Invalid value: "3": default request value 3 is greater than max value 2', 'spec.limits[0].default[cpu]: Invalid value: "2": default value 3 is greater than max value 2']),
    ({"spec/limits/0/defaultRequest": {"cpu": "1"}, "spec/limits/0/default": {"cpu": "500m"}}, ['spec.limits[0].defaultRequest[cpu]: Invalid value: "1": default request value 1 is greater than default limit value 500m']),
    ({"spec/limits/0/max": {"disk": "1"}}, ['spec.limits[0].max[disk]: Invalid value: "disk": must be a standard resource for containers', 'spec.limits[0].default[disk]: Invalid value: "disk": must be a standard resource for containers', 'spec.limits[0].defaultRequest[disk]: Invalid value: "disk": must be a standard resource for containers']),
    ({"spec/limits/0/maxLimitRequestRatio": {"cpu": "500m"}}, ['spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1']),
    ({"spec/limits/0/min": {"cpu": "1"}, "spec/limits/0/maxLimitRequestRatio": {"cpu": "3"}}, ['spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "3": ratio 3 is greater than max/min = 2.000000']),
]

@pytest.mark.parametrize(("change", "expected"), LIMIT_RANGE_ROWS, ids=ids(LIMIT_RANGE_ROWS))
def test_limit_range(change: Change, expected: list[str]) -> None:
    assert LIMITS.errors(change) == expected


EVENT = Valid("", "v1", "events", {"involvedObject": {"namespace": "default"}})

EVENT_ROWS: list[tuple[Change, list[str]]] = [
    ({"involvedObject/namespace": "other"}, ['involvedObject.namespace: Invalid value: "other": does not match event.namespace']),
    ({"involvedObject/namespace": GONE}, []),
    ({"eventTime": "2026-01-01T00:00:00.000000Z"}, ["reportingController: Required value", "reportingInstance: Required value", "action: Required value", "reason: Required value"]),
]

@pytest.mark.parametrize(("change", "expected"), EVENT_ROWS, ids=ids(EVENT_ROWS))
def test_event(change: Change, expected: list[str]) -> None:
    assert EVENT.errors(change) == expected


NEWER_EVENT = Valid("events.k8s.io", "v1", "events", {"regarding": {"namespace": "default"}, "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "a.b/c", "reportingInstance": "i", "action": "a", "reason": "r", "type": "Normal"})

NEWER_EVENT_ROWS: list[tuple[Change, list[str]]] = [
    ({"eventTime": GONE}, ["eventTime: Required value"]),
    ({"reportingController": GONE, "reportingInstance": GONE, "action": GONE, "reason": GONE}, ["reportingController: Required value", "reportingInstance: Required value", "action: Required value", "reason: Required value"]),
    ({"type": "x"}, ['type: Invalid value: "": has invalid value: x']),
    ({"note": "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"}, ['message: Invalid value: "": can have at most 1024 characters']),
    ({"deprecatedCount": 1}, ['deprecatedCount: Invalid value: "": needs to be unset']),
    ({"series": {"count": 1, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}}, ['series.count: Invalid value: "": should be at least 2']),
]

@pytest.mark.parametrize(("change", "expected"), NEWER_EVENT_ROWS, ids=ids(NEWER_EVENT_ROWS))
def test_newer_event(change: Change, expected: list[str]) -> None:
    assert NEWER_EVENT.errors(change) == expected


EVENT_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}}, {}, []),
    ({"reason": "other", "eventTime": "2026-01-01T00:00:01.000000Z"}, {}, ['reason: Invalid value: "other": field is immutable', 'eventTime: Invalid value: "2026-01-01T00:00:01.000000Z": field is immutable']),
]

@pytest.mark.parametrize(("change", "old", "expected"), EVENT_UPDATE_ROWS, ids=ids(EVENT_UPDATE_ROWS))
def test_event_update(change: Change, old: Change, expected: list[str]) -> None:
    assert NEWER_EVENT.update(change, old) == expected


LEASE = Valid("coordination.k8s.io", "v1", "leases", {"spec": {}})

LEASE_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/leaseDurationSeconds": 0, "spec/leaseTransitions": -1}, ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0", "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"]),
    ({"spec/strategy": "x"}, ['spec.strategy: Unsupported value: "x": supported values: "OldestEmulationVersion"']),
    ({"spec/preferredHolder": "x"}, ["spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined"]),
    ({"spec/strategy": "a.b/c", "spec/preferredHolder": "x"}, []),
]

@pytest.mark.parametrize(("change", "expected"), LEASE_ROWS, ids=ids(LEASE_ROWS))
def test_lease(change: Change, expected: list[str]) -> None:
    assert LEASE.errors(change) == expected


PRIORITY = Valid("scheduling.k8s.io", "v1", "priorityclasses", {"value": 1})

PRIORITY_CLASS_ROWS: list[tuple[Change, list[str]]] = [
    ({"value": 1000000001}, ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"]),
    ({"metadata/name": "system-x"}, ["metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-x is not a known system priority class"]),
    ({"metadata/name": "system-node-critical"}, ["metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: value of system-node-critical PriorityClass must be 2000001000"]),
    ({"preemptionPolicy": "x"}, ['preemptionPolicy: Unsupported value: "x": supported values: "Never", "PreemptLowerPriority"']),
]

@pytest.mark.parametrize(("change", "expected"), PRIORITY_CLASS_ROWS, ids=ids(PRIORITY_CLASS_ROWS))
def test_priority_class(change: Change, expected: list[str]) -> None:
    assert PRIORITY.errors(change) == expected


PRIORITY_CLASS_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"value": 2}, {}, ["value: Forbidden: may not be changed in an update."]),
    ({"preemptionPolicy": "Never"}, {}, ['preemptionPolicy: Invalid value: "Never": field is immutable']),
]

@pytest.mark.parametrize(("change", "old", "expected"), PRIORITY_CLASS_UPDATE_ROWS, ids=ids(PRIORITY_CLASS_UPDATE_ROWS))
def test_priority_class_update(change: Change, old: Change, expected: list[str]) -> None:
    assert PRIORITY.update(change, old) == expected


RUNTIME = Valid("node.k8s.io", "v1", "runtimeclasses", {"handler": "h"})

RUNTIME_CLASS_ROWS: list[tuple[Change, list[str]]] = [
    ({"handler": "A"}, ['handler: Invalid value: "A": a lowercase RFC 1123 label …']),
    ({"overhead": {"podFixed": {"cpu": "-1"}}}, ['overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0']),
    ({"scheduling": {"nodeSelector": {"a b": "c"}, "tolerations": [{"key": "a"}, {"key": "a"}]}}, ['scheduling.nodeSelector: Invalid value: "a b": name part must consist of …', 'scheduling.tolerations[1]: Duplicate value: {"key":"a"}']),
]

@pytest.mark.parametrize(("change", "expected"), RUNTIME_CLASS_ROWS, ids=ids(RUNTIME_CLASS_ROWS))
def test_runtime_class(change: Change, expected: list[str]) -> None:
    assert RUNTIME.errors(change) == expected


RUNTIME_CLASS_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"handler": "i"}, {}, ['handler: Invalid value: "i": field is immutable']),
]

@pytest.mark.parametrize(("change", "old", "expected"), RUNTIME_CLASS_UPDATE_ROWS, ids=ids(RUNTIME_CLASS_UPDATE_ROWS))
def test_runtime_class_update(change: Change, old: Change, expected: list[str]) -> None:
    assert RUNTIME.update(change, old) == expected


RUNTIME_CLASS_WARNINGS_ROWS: list[tuple[Change, list[str]]] = [
    ({"scheduling": {"nodeSelector": {"beta.kubernetes.io/os": "linux"}}}, ['scheduling.nodeSelector: beta.kubernetes.io/os is deprecated since v1.14; use "kubernetes.io/os" instead']),
]

@pytest.mark.parametrize(("change", "expected"), RUNTIME_CLASS_WARNINGS_ROWS, ids=ids(RUNTIME_CLASS_WARNINGS_ROWS))
def test_runtime_class_warnings(change: Change, expected: list[str]) -> None:
    assert RUNTIME.warnings(change) == expected


API_SERVICE = Valid("apiregistration.k8s.io", "v1", "apiservices", {"metadata": {"name": "v1.a.b"}, "spec": {"group": "a.b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}})

API_SERVICE_ROWS: list[tuple[Change, list[str]]] = [
    ({"metadata/name": "x"}, ['metadata.name: Invalid value: "x": must be `spec.version+"."+spec.group`: "v1.a.b"']),
    ({"spec/groupPriorityMinimum": 0, "spec/versionPriority": 1001}, ["spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000", "spec.versionPriority: Invalid value: 1001: must be positive and less than 1000"]),
    ({"spec/caBundle": "eA=="}, ['spec.caBundle: Invalid value: "4 bytes": local APIServices may not have a caBundle']),
    ({"spec/insecureSkipTLSVerify": True}, ["spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify"]),
    ({"spec/service": {"port": 0}}, ["spec.service.namespace: Required value", "spec.service.name: Required value", "spec.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive"]),
    ({"spec/service": {"namespace": "a", "name": "b"}, "spec/caBundle": "eA==", "spec/insecureSkipTLSVerify": True}, ["spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present"]),
]

@pytest.mark.parametrize(("change", "expected"), API_SERVICE_ROWS, ids=ids(API_SERVICE_ROWS))
def test_api_service(change: Change, expected: list[str]) -> None:
    assert API_SERVICE.errors(change) == expected


MIGRATION = Valid("storagemigration.k8s.io", "v1", "storageversionmigrations", {"spec": {"resource": {"group": "apps", "resource": "deployments"}}})

MIGRATION_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/resource": {}}, ["spec.resource.resource: Required value: resource is required"]),
    ({"spec/resource/group": "A"}, ['spec.resource.group: Invalid value: "A": a lowercase RFC 1123 subdomain …']),
]

@pytest.mark.parametrize(("change", "expected"), MIGRATION_ROWS, ids=ids(MIGRATION_ROWS))
def test_migration(change: Change, expected: list[str]) -> None:
    assert MIGRATION.errors(change) == expected


MIGRATION_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"spec/resource/group": "batch"}, {}, ['spec: Invalid value: {"resource":{"group":"batch","resource":"deployments"}}: field is immutable']),
]

@pytest.mark.parametrize(("change", "old", "expected"), MIGRATION_UPDATE_ROWS, ids=ids(MIGRATION_UPDATE_ROWS))
def test_migration_update(change: Change, old: Change, expected: list[str]) -> None:
    assert MIGRATION.update(change, old) == expected


AVOID = "scheduler.alpha.kubernetes.io/preferAvoidPods"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ('{"preferAvoidPods": [{"podSignature": {"podController": {"kind": "ReplicaSet", "controller": true}}}]}', []),
        ('{"preferAvoidPods": [{}]}', [f"metadata.annotations.{AVOID}[0].PodSignature: Required value"]),
        (
            '{"preferAvoidPods": [{"podSignature": {"podController": {"controller": false}}}]}',
            [
                f"metadata.annotations.{AVOID}[0].PodSignature.PodController.Controller: "
                "Invalid value: false: must point to a controller"
            ],
        ),
        *(
            (bad, [f'metadata.annotations.AvoidPods: Invalid value: "{AVOID}": invalid JSON, or not a list of pods to avoid'])
            for bad in ("{", '{"preferAvoidPods": [1]}', "3")
        ),
    ],
)
def test_avoided_pods(text: str, expected: list[str]) -> None:
    change: Change = {"metadata/annotations": {AVOID: text}}
    assert NODE.errors(change) == NODE.update(change) == expected

"""Flow control and devices: what is refused."""

# ruff: noqa: E501 (a row is a line)
# fmt: off

from __future__ import annotations

import pytest

from tests.validation import GONE, Change, Valid, ids

FLOW_SCHEMA = Valid("flowcontrol.apiserver.k8s.io", "v1", "flowschemas", {"spec": {"priorityLevelConfiguration": {"name": "p"}, "rules": [{"subjects": [{"kind": "User", "user": {"name": "u"}}], "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/a"]}]}]}})

FLOW_SCHEMA_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/matchingPrecedence": -1}, ["spec.matchingPrecedence: Invalid value: -1: must be a positive value"]),
    ({"spec/matchingPrecedence": 10001}, ["spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000"]),
    ({"spec/matchingPrecedence": 1}, ["spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1"]),
    ({"spec/distinguisherMethod": {"type": "x"}}, ['spec.distinguisherMethod.type: Unsupported value: "x": supported values: "ByNamespace", "ByUser"']),
    ({"spec/priorityLevelConfiguration": {"name": ""}}, ["spec.priorityLevelConfiguration.name: Required value: must reference a priority level"]),
    ({"spec/rules/0/subjects": []}, ["spec.rules[0].subjects: Required value: subjects must contain at least one value"]),
    ({"spec/rules/0/subjects": [{"kind": "x"}]}, ['spec.rules[0].subjects[0].kind: Unsupported value: "x": supported values: "Group", "ServiceAccount", "User"']),
    ({"spec/rules/0/subjects": [{"kind": "User"}]}, ["spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'"]),
    ({"spec/rules/0/subjects": [{"kind": "ServiceAccount", "serviceAccount": {"name": "A", "namespace": ""}}]}, ['spec.rules[0].subjects[0].serviceAccount.name: Invalid value: "A": a lowercase RFC 1123 subdomain …', "spec.rules[0].subjects[0].serviceAccount.namespace: Required value: must specify namespace for service account"]),
    ({"spec/rules/0/nonResourceRules": []}, ["spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty"]),
    ({"spec/rules/0/nonResourceRules": [{"verbs": ["*", "get"], "nonResourceURLs": ["a", "/a//b", "/a/*/b", " "]}]}, ["spec.rules[0].nonResourceRules[0].verbs: Invalid value: [\"*\",\"get\"]: if '*' is present, must not specify other verbs", 'spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "a": must start with slash', 'spec.rules[0].nonResourceRules[0].nonResourceURLs[1]: Invalid value: "/a//b": must not contain double slash', 'spec.rules[0].nonResourceRules[0].nonResourceURLs[2]: Invalid value: "/a/*/b": wildcard can only do suffix matching', 'spec.rules[0].nonResourceRules[0].nonResourceURLs[3]: Invalid value: " ": must start with slash']),
    ({"spec/rules/0/nonResourceRules": [{"verbs": ["see"], "nonResourceURLs": []}]}, ['spec.rules[0].nonResourceRules[0].verbs: Unsupported value: ["see"]: supported values: "create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"', "spec.rules[0].nonResourceRules[0].nonResourceURLs: Required value: nonResourceURLs must contain at least one value"]),
    ({"spec/rules/0/resourceRules": [{"verbs": [], "apiGroups": [], "resources": [], "namespaces": []}]}, ["spec.rules[0].resourceRules[0].verbs: Required value: verbs must contain at least one value", "spec.rules[0].resourceRules[0].apiGroups: Required value: resource rules must supply at least one api group", "spec.rules[0].resourceRules[0].resources: Required value: resource rules must supply at least one resource", "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace"]),
    ({"spec/rules/0/resourceRules": [{"verbs": ["get"], "apiGroups": ["*", "a"], "resources": ["*", "a"], "namespaces": ["*", "a"]}]}, ["spec.rules[0].resourceRules[0].apiGroups: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other api groups", "spec.rules[0].resourceRules[0].resources: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other resources", "spec.rules[0].resourceRules[0].namespaces: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other namespaces"]),
    ({"spec/rules/0/resourceRules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["A"]}]}, ['spec.rules[0].resourceRules[0].namespaces[0]: Invalid value: "A": a lowercase RFC 1123 label …']),
    ({"metadata/name": "catch-all"}, ["spec: Invalid value: {\"matchingPrecedence\":1000,\"priorityLevelConfiguration\":{\"name\":\"p\"},\"rules\":[{\"nonResourceRules\":[{\"nonResourceURLs\":[\"/a\"],\"verbs\":[\"get\"]}],\"subjects\":[{\"kind\":\"User\",\"user\":{\"name\":\"u\"}}]}]}: spec of 'catch-all' must equal the fixed value"]),
]

@pytest.mark.parametrize(("change", "expected"), FLOW_SCHEMA_ROWS, ids=ids(FLOW_SCHEMA_ROWS))
def test_flow_schema(change: Change, expected: list[str]) -> None:
    assert FLOW_SCHEMA.errors(change) == expected


LEVEL = Valid("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations", {"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}})

PRIORITY_LEVEL_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/type": "x"}, ['spec.type: Unsupported value: "x": supported values: "Exempt", "Limited"']),
    ({"spec/type": "Exempt"}, ["spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if `name` is 'exempt'", "spec.limited: Forbidden: must be nil if the type is not Limited"]),
    ({"spec/limited": GONE}, ["spec.limited: Required value: must not be empty when type is Limited"]),
    ({"spec/exempt": {}}, ["spec.exempt: Forbidden: must be nil if the type is Limited"]),
    ({"spec/limited/nominalConcurrencyShares": -1, "spec/limited/lendablePercent": 101, "spec/limited/borrowingLimitPercent": -1}, ["spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer", "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive", "spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer"]),
    ({"spec/limited/limitResponse/type": "x"}, ['spec.limited.limitResponse.type: Unsupported value: "x": supported values: "Queue", "Reject"']),
    ({"spec/limited/limitResponse/type": "Reject"}, ["spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited"]),
    ({"spec/limited/limitResponse/queuing": GONE}, ["spec.limited.limitResponse.queuing: Required value: must not be empty if limited.limitResponse.type is Limited"]),
    ({"spec/limited/limitResponse/queuing": {"queues": -1, "handSize": -1, "queueLengthLimit": -1}}, ["spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: -1: must be positive", "spec.limited.limitResponse.queuing.queues: Invalid value: -1: must be positive", "spec.limited.limitResponse.queuing.handSize: Invalid value: -1: must be positive"]),
    ({"spec/limited/limitResponse/queuing": {"queues": 10000001}}, ["spec.limited.limitResponse.queuing.queues: Invalid value: 10000001: must not be greater than 10000000", "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: required entropy bits of deckSize 10000001 and handSize 8 should not be greater than 60"]),
    ({"spec/limited/limitResponse/queuing": {"queues": 4}}, ["spec.limited.limitResponse.queuing.handSize: Invalid value: 8: should not be greater than queues (4)"]),
    ({"spec/limited/limitResponse/queuing": {"queues": 1024, "handSize": 7}}, ["spec.limited.limitResponse.queuing.handSize: Invalid value: 7: required entropy bits of deckSize 1024 and handSize 7 should not be greater than 60"]),
    ({"metadata/name": "exempt"}, ["spec.type: Invalid value: \"Limited\": type must be 'Exempt' if and only if `name` is 'exempt'", "spec: Invalid value: {\"limited\":{\"lendablePercent\":0,\"limitResponse\":{\"queuing\":{\"handSize\":8,\"queueLengthLimit\":50,\"queues\":64},\"type\":\"Queue\"},\"nominalConcurrencyShares\":30},\"type\":\"Limited\"}: spec of 'exempt' except the spec.exempt field must equal the fixed value"]),
    ({"metadata/name": "catch-all"}, ["spec: Invalid value: {\"limited\":{\"lendablePercent\":0,\"limitResponse\":{\"queuing\":{\"handSize\":8,\"queueLengthLimit\":50,\"queues\":64},\"type\":\"Queue\"},\"nominalConcurrencyShares\":30},\"type\":\"Limited\"}: spec of 'catch-all' must equal the fixed value"]),
]

@pytest.mark.parametrize(("change", "expected"), PRIORITY_LEVEL_ROWS, ids=ids(PRIORITY_LEVEL_ROWS))
def test_priority_level(change: Change, expected: list[str]) -> None:
    assert LEVEL.errors(change) == expected


CLAIM = Valid("resource.k8s.io", "v1", "resourceclaims", {"spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}})

RESOURCE_CLAIM_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/devices/requests/0/name": "A"}, ['spec.devices.requests[0].name: Invalid value: "A": a lowercase RFC 1123 label …']),
    ({"spec/devices/requests": [{"name": "r"}]}, ["spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required"]),
    ({"spec/devices/requests/0/firstAvailable": [{"name": "s", "deviceClassName": "c"}]}, ['spec.devices.requests[0]: Invalid value: {"exactly":{"allocationMode":"ExactCount","count":1,"deviceClassName":"c"},"firstAvailable":[{"allocationMode":"ExactCount","count":1,"deviceClassName":"c","name":"s"}],"name":"r"}: exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set']),
    ({"spec/devices/requests/0/exactly/deviceClassName": ""}, ["spec.devices.requests[0].exactly.deviceClassName: Required value"]),
    ({"spec/devices/requests/0/exactly/allocationMode": "x"}, ['spec.devices.requests[0].exactly.allocationMode: Unsupported value: "x": supported values: "All", "ExactCount"']),
    ({"spec/devices/requests/0/exactly/count": -1}, ["spec.devices.requests[0].exactly.count: Invalid value: -1: must be greater than zero"]),
    ({"spec/devices/requests/0/exactly/allocationMode": "All", "spec/devices/requests/0/exactly/count": 1}, ["spec.devices.requests[0].exactly.count: Invalid value: 1: must not be specified when allocationMode is 'All'"]),
    ({"spec/devices/requests/0/exactly/selectors": [{}]}, ["spec.devices.requests[0].exactly.selectors[0].cel: Required value"]),
    ({"spec/devices/requests/0/exactly/tolerations": [{"operator": "x", "effect": "y"}]}, ['spec.devices.requests[0].exactly.tolerations[0].operator: Unsupported value: "x": supported values: "Equal", "Exists"', 'spec.devices.requests[0].exactly.tolerations[0].effect: Unsupported value: "y": supported values: "NoExecute", "NoSchedule", "None"']),
    ({"spec/devices/constraints": [{"requests": ["x"]}]}, ["spec.devices.constraints[0].requests[0]: Invalid value: \"x\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'", "spec.devices.constraints[0].matchAttribute: Required value"]),
    ({"spec/devices/constraints": [{"matchAttribute": "a"}]}, ['spec.devices.constraints[0].matchAttribute: Invalid value: "a": must include a domain']),
    ({"spec/devices/config": [{"requests": ["r", "r"]}]}, ['spec.devices.config[0].requests[1]: Duplicate value: "r"', "spec.devices.config[0].opaque: Required value"]),
    ({"spec/devices/config": [{"opaque": {"driver": "", "parameters": {}}}]}, ["spec.devices.config[0].opaque.driver: Required value"]),
    ({"spec/devices/requests": [{"name": "r0", "exactly": {"deviceClassName": "c"}}, {"name": "r1", "exactly": {"deviceClassName": "c"}}, {"name": "r2", "exactly": {"deviceClassName": "c"}}, {"name": "r3", "exactly": {"deviceClassName": "c"}}, {"name": "r4", "exactly": {"deviceClassName": "c"}}, {"name": "r5", "exactly": {"deviceClassName": "c"}}, {"name": "r6", "exactly": {"deviceClassName": "c"}}, {"name": "r7", "exactly": {"deviceClassName": "c"}}, {"name": "r8", "exactly": {"deviceClassName": "c"}}, {"name": "r9", "exactly": {"deviceClassName": "c"}}, {"name": "r10", "exactly": {"deviceClassName": "c"}}, {"name": "r11", "exactly": {"deviceClassName": "c"}}, {"name": "r12", "exactly": {"deviceClassName": "c"}}, {"name": "r13", "exactly": {"deviceClassName": "c"}}, {"name": "r14", "exactly": {"deviceClassName": "c"}}, {"name": "r15", "exactly": {"deviceClassName": "c"}}, {"name": "r16", "exactly": {"deviceClassName": "c"}}, {"name": "r17", "exactly": {"deviceClassName": "c"}}, {"name": "r18", "exactly": {"deviceClassName": "c"}}, {"name": "r19", "exactly": {"deviceClassName": "c"}}, {"name": "r20", "exactly": {"deviceClassName": "c"}}, {"name": "r21", "exactly": {"deviceClassName": "c"}}, {"name": "r22", "exactly": {"deviceClassName": "c"}}, {"name": "r23", "exactly": {"deviceClassName": "c"}}, {"name": "r24", "exactly": {"deviceClassName": "c"}}, {"name": "r25", "exactly": {"deviceClassName": "c"}}, {"name": "r26", "exactly": {"deviceClassName": "c"}}, {"name": "r27", "exactly": {"deviceClassName": "c"}}, {"name": "r28", "exactly": {"deviceClassName": "c"}}, {"name": "r29", "exactly": {"deviceClassName": "c"}}, {"name": "r30", "exactly": {"deviceClassName": "c"}}, {"name": "r31", "exactly": {"deviceClassName": "c"}}, {"name": "r32", "exactly": {"deviceClassName": "c"}}]}, ["spec.devices.requests: Too many: 33: must have at most 32 items"]),
]

@pytest.mark.parametrize(("change", "expected"), RESOURCE_CLAIM_ROWS, ids=ids(RESOURCE_CLAIM_ROWS))
def test_resource_claim(change: Change, expected: list[str]) -> None:
    assert CLAIM.errors(change) == expected


RESOURCE_CLAIM_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"spec/devices/requests/0/exactly/count": 2}, {}, ['spec: Invalid value: {"devices":{"requests":[{"exactly":{"allocationMode":"ExactCount","count":2,"deviceClassName":"c"},"name":"r"}]}}: field is immutable']),
]

@pytest.mark.parametrize(("change", "old", "expected"), RESOURCE_CLAIM_UPDATE_ROWS, ids=ids(RESOURCE_CLAIM_UPDATE_ROWS))
def test_resource_claim_update(change: Change, old: Change, expected: list[str]) -> None:
    assert CLAIM.update(change, old) == expected


RESOURCE_CLAIM_STATUS_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"status/reservedFor": [{"resource": "pods", "name": "p", "uid": ""}]}, {}, ["status.reservedFor[0].uid: Required value", "status.reservedFor: Forbidden: may not be specified when `allocated` is not set"]),
]

@pytest.mark.parametrize(("change", "old", "expected"), RESOURCE_CLAIM_STATUS_ROWS, ids=ids(RESOURCE_CLAIM_STATUS_ROWS))
def test_resource_claim_status(change: Change, old: Change, expected: list[str]) -> None:
    assert CLAIM.status(change, old) == expected


TEMPLATE = Valid("resource.k8s.io", "v1", "resourceclaimtemplates", {"spec": {"spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}}})

RESOURCE_CLAIM_TEMPLATE_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/metadata/name": "x"}, ["spec.metadata.name: Forbidden: cannot be set"]),
    ({"spec/spec/devices/requests/0/name": "A"}, ['spec.spec.devices.requests[0].name: Invalid value: "A": a lowercase RFC 1123 label …']),
]

@pytest.mark.parametrize(("change", "expected"), RESOURCE_CLAIM_TEMPLATE_ROWS, ids=ids(RESOURCE_CLAIM_TEMPLATE_ROWS))
def test_resource_claim_template(change: Change, expected: list[str]) -> None:
    assert TEMPLATE.errors(change) == expected


DEVICE_CLASS = Valid("resource.k8s.io", "v1", "deviceclasses", {"spec": {}})

DEVICE_CLASS_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/selectors": [{}]}, ["spec.selectors[0].cel: Required value"]),
    ({"spec/config": [{}]}, ["spec.config[0].opaque: Required value"]),
    ({"spec/extendedResourceName": "cpu"}, ['spec.extendedResourceName: Invalid value: "cpu": must be a valid extended resource name']),
]

@pytest.mark.parametrize(("change", "expected"), DEVICE_CLASS_ROWS, ids=ids(DEVICE_CLASS_ROWS))
def test_device_class(change: Change, expected: list[str]) -> None:
    assert DEVICE_CLASS.errors(change) == expected


SLICE = Valid("resource.k8s.io", "v1", "resourceslices", {"spec": {"driver": "d", "nodeName": "n", "pool": {"name": "p", "generation": 0, "resourceSliceCount": 1}}})

RESOURCE_SLICE_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/driver": ""}, ["spec.driver: Required value"]),
    ({"spec/driver": "A_"}, ['spec.driver: Invalid value: "a_": a lowercase RFC 1123 subdomain …']),
    ({"spec/nodeName": GONE}, ["spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"]),
    ({"spec/allNodes": True}, ['spec: Invalid value: "{nodeName, allNodes}": exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set']),
    ({"spec/pool": {"name": "", "generation": -1, "resourceSliceCount": 0}}, ["spec.pool.name: Required value", "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero", "spec.pool.generation: Invalid value: -1: must be greater than or equal to zero"]),
    ({"spec/devices": [{"name": "a"}, {"name": "a"}]}, ['spec.devices[1]: Duplicate value: "a"']),
    ({"spec/devices": [{"name": "a", "attributes": {"x": {}, "A b": {"int": 1}}}]}, ["spec.devices[0].attributes[A b]: Invalid value: \"A b\": a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')", "spec.devices[0].attributes[x]: Required value: exactly one value must be specified"]),
    ({"spec/devices": [{"name": "a", "taints": [{"key": "a b", "effect": "x"}]}]}, ['spec.devices[0].taints[0].key: Invalid value: "a b": name part must consist of …', 'spec.devices[0].taints[0].effect: Unsupported value: "x": supported values: "NoExecute", "NoSchedule", "None"']),
]

@pytest.mark.parametrize(("change", "expected"), RESOURCE_SLICE_ROWS, ids=ids(RESOURCE_SLICE_ROWS))
def test_resource_slice(change: Change, expected: list[str]) -> None:
    assert SLICE.errors(change) == expected


RESOURCE_SLICE_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"spec/driver": "e", "spec/nodeName": "m", "spec/pool/name": "q"}, {}, ['spec.driver: Invalid value: "e": field is immutable', 'spec.nodeName: Invalid value: "m": field is immutable', 'spec.pool.name: Invalid value: "q": field is immutable']),
    ({"spec/pool/generation": 1}, {}, []),
]

@pytest.mark.parametrize(("change", "old", "expected"), RESOURCE_SLICE_UPDATE_ROWS, ids=ids(RESOURCE_SLICE_UPDATE_ROWS))
def test_resource_slice_update(change: Change, old: Change, expected: list[str]) -> None:
    assert SLICE.update(change, old) == expected

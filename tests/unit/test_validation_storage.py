"""Volumes, claims and the kinds of storage: what is refused."""

# ruff: noqa: E501 (a row is a line)
# fmt: off

from __future__ import annotations

import pytest

from tests.validation import GONE, Change, Valid, ids

VOLUME = Valid("", "v1", "persistentvolumes", {"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "csi": {"driver": "d", "volumeHandle": "h"}}})

VOLUME_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/accessModes": []}, ["spec.accessModes: Required value"]),
    ({"spec/accessModes": ["x"]}, ['spec.accessModes: Unsupported value: "x": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"']),
    ({"spec/accessModes": ["ReadWriteOncePod", "ReadOnlyMany"]}, ["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"]),
    ({"spec/capacity": {}}, ["spec.capacity: Required value", 'spec.capacity: Unsupported value: {}: supported values: "storage"']),
    ({"spec/capacity": {"storage": "0"}}, ['spec.capacity[storage]: Invalid value: "0": must be greater than zero']),
    ({"spec/persistentVolumeReclaimPolicy": "x"}, ['spec.persistentVolumeReclaimPolicy: Unsupported value: "x": supported values: "Delete", "Recycle", "Retain"']),
    ({"spec/csi": GONE}, ["spec: Required value: must specify a volume type"]),
    ({"spec/csi": {"driver": "", "volumeHandle": ""}}, ["spec.csi.driver: Required value", 'spec.csi.driver: Invalid value: "": a lowercase RFC 1123 subdomain …', "spec.csi.volumeHandle: Required value"]),
    ({"spec/hostPath": {"path": "/a"}}, ["spec.csi: Forbidden: may not specify more than 1 volume type"]),
    ({"spec/csi": GONE, "spec/hostPath": {"path": "/"}, "spec/persistentVolumeReclaimPolicy": "Recycle"}, ["spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"]),
    ({"spec/csi": GONE, "spec/local": {"path": "/a"}}, ["spec.nodeAffinity: Required value: Local volume requires node affinity"]),
    ({"spec/nodeAffinity": {}}, ["spec.nodeAffinity.required: Required value: must specify required node constraints"]),
    ({"spec/storageClassName": "A"}, ['spec.storageClassName: Invalid value: "A": a lowercase RFC 1123 subdomain …']),
    ({"spec/volumeMode": "x"}, ['spec.volumeMode: Unsupported value: "x": supported values: "Block", "Filesystem"']),
    ({"spec/volumeAttributesClassName": ""}, ["spec.volumeAttributesClassName: Required value: an empty string is disallowed"]),
    ({"spec/csi/nodePublishSecretRef": {"name": "a"}}, ["spec.csi.nodePublishSecretRef.namespace: Required value"]),
]

@pytest.mark.parametrize(("change", "expected"), VOLUME_ROWS, ids=ids(VOLUME_ROWS))
def test_volume(change: Change, expected: list[str]) -> None:
    assert VOLUME.errors(change) == expected


VOLUME_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"spec/csi/controllerExpandSecretRef": {"name": "a", "namespace": "b"}}, {}, []),
    ({"spec/csi/driver": "e"}, {}, ["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n@@ -1,6 +1,6 @@\n {\n   \"csi\": {\n-    \"driver\": \"d\",\n+    \"driver\": \"e\",\n     \"volumeHandle\": \"h\"\n   }\n }\n"]),
    ({"spec/volumeMode": "Block"}, {}, ['volumeMode: Invalid value: "Block": field is immutable']),
    ({"spec/nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}}, {}, []),
    ({"spec/volumeAttributesClassName": GONE}, {"spec/volumeAttributesClassName": "a"}, ["spec.volumeAttributesClassName: Forbidden: update from non-nil value to nil is forbidden"]),
]

@pytest.mark.parametrize(("change", "old", "expected"), VOLUME_UPDATE_ROWS, ids=ids(VOLUME_UPDATE_ROWS))
def test_volume_update(change: Change, old: Change, expected: list[str]) -> None:
    assert VOLUME.update(change, old) == expected


VOLUME_WARNINGS_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/persistentVolumeReclaimPolicy": "Recycle"}, ["spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning."]),
    ({"spec/csi": GONE, "spec/glusterfs": {"endpoints": "a", "path": "b"}}, ["spec.glusterfs: deprecated in v1.25, non-functional in v1.26+"]),
    ({"spec/capacity": {"storage": "500m"}}, ['spec.capacity[storage]: fractional byte value "500m" is invalid, must be an integer']),
]

@pytest.mark.parametrize(("change", "expected"), VOLUME_WARNINGS_ROWS, ids=ids(VOLUME_WARNINGS_ROWS))
def test_volume_warnings(change: Change, expected: list[str]) -> None:
    assert VOLUME.warnings(change) == expected


CLAIM = Valid("", "v1", "persistentvolumeclaims", {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})

CLAIM_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/accessModes": []}, ["spec.accessModes: Required value: at least 1 access mode is required"]),
    ({"spec/accessModes": ["x"]}, ['spec.accessModes: Unsupported value: "x": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"']),
    ({"spec/resources": GONE}, ["spec.resources[storage]: Required value"]),
    ({"spec/resources/requests/storage": "0"}, ['spec.resources[storage]: Invalid value: "0": must be greater than zero']),
    ({"spec/selector": {"matchLabels": {"a b": "c"}}}, ['spec.selector.matchLabels: Invalid value: "a b": name part must consist of …']),
    ({"spec/storageClassName": "A"}, ['spec.storageClassName: Invalid value: "A": a lowercase RFC 1123 subdomain …']),
    ({"spec/volumeMode": "x"}, ['spec.volumeMode: Unsupported value: "x": supported values: "Block", "Filesystem"']),
    ({"spec/dataSource": {"kind": "x", "name": ""}}, ["spec.dataSource.name: Required value", "spec.dataSource: Invalid value: \"x\": must be 'PersistentVolumeClaim' when referencing the default apiGroup"]),
    ({"spec/dataSource": {"kind": "PersistentVolumeClaim", "name": "a"}, "spec/dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "b"}}, ['spec: Invalid value: "spec.dataSource": must match dataSourceRef']),
]

@pytest.mark.parametrize(("change", "expected"), CLAIM_ROWS, ids=ids(CLAIM_ROWS))
def test_claim(change: Change, expected: list[str]) -> None:
    assert CLAIM.errors(change) == expected


CLAIM_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"spec/volumeName": "v"}, {}, []),
    ({"spec/resources/requests/storage": "2Gi"}, {"status/phase": "Bound", "spec/volumeName": "v", "status/capacity": {"storage": "1Gi"}}, []),
    ({"spec/resources/requests/storage": "2Gi"}, {}, ["spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n@@ -4,7 +4,7 @@\n   ],\n   \"resources\": {\n     \"requests\": {\n-      \"storage\": \"1Gi\"\n+      \"storage\": \"2Gi\"\n     }\n   },\n   \"volumeMode\": \"Filesystem\",\n"]),
    ({"spec/resources/requests/storage": "500Mi"}, {"status/phase": "Bound", "spec/volumeName": "v", "status/capacity": {"storage": "1Gi"}}, ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]),
    ({"spec/accessModes": ["ReadWriteMany"]}, {"status/phase": "Bound", "spec/volumeName": "v", "status/capacity": {"storage": "1Gi"}}, ["spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n@@ -1,6 +1,6 @@\n {\n   \"accessModes\": [\n-    \"ReadWriteOnce\"\n+    \"ReadWriteMany\"\n   ],\n   \"resources\": {\n     \"requests\": {\n"]),
    ({"spec/storageClassName": "a"}, {}, []),
    ({"spec/storageClassName": "b"}, {"spec/storageClassName": "a"}, ["spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n@@ -7,7 +7,7 @@\n       \"storage\": \"1Gi\"\n     }\n   },\n-  \"storageClassName\": \"a\",\n+  \"storageClassName\": \"b\",\n   \"volumeMode\": \"Filesystem\",\n   \"volumeName\": \"\"\n }\n"]),
    ({"spec/volumeAttributesClassName": GONE}, {"status/phase": "Bound", "spec/volumeName": "v", "status/capacity": {"storage": "1Gi"}, "spec/volumeAttributesClassName": "a"}, ["spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n@@ -7,7 +7,6 @@\n       \"storage\": \"1Gi\"\n     }\n   },\n-  \"volumeAttributesClassName\": \"a\",\n   \"volumeMode\": \"Filesystem\",\n   \"volumeName\": \"v\"\n }\n", "spec.volumeAttributesClassName: Forbidden: update from non-nil value to nil is forbidden"]),
]

@pytest.mark.parametrize(("change", "old", "expected"), CLAIM_UPDATE_ROWS, ids=ids(CLAIM_UPDATE_ROWS))
def test_claim_update(change: Change, old: Change, expected: list[str]) -> None:
    assert CLAIM.update(change, old) == expected


CLAIM_STATUS_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"status/allocatedResourceStatuses": {"storage": "x", "cpu": "NodeResizePending"}}, {}, ['status.allocatedResourceStatus: Unsupported value: "x": supported values: "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible", "NodeResizePending"', 'status.allocatedResourceStatus: Unsupported value: "cpu": supported values: "storage"']),
]

@pytest.mark.parametrize(("change", "old", "expected"), CLAIM_STATUS_ROWS, ids=ids(CLAIM_STATUS_ROWS))
def test_claim_status(change: Change, old: Change, expected: list[str]) -> None:
    assert CLAIM.status(change, old) == expected


CLAIM_WARNINGS_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/resources/requests/storage": "500m"}, ['spec.resources.requests[storage]: fractional byte value "500m" is invalid, must be an integer']),
]

@pytest.mark.parametrize(("change", "expected"), CLAIM_WARNINGS_ROWS, ids=ids(CLAIM_WARNINGS_ROWS))
def test_claim_warnings(change: Change, expected: list[str]) -> None:
    assert CLAIM.warnings(change) == expected


STORAGE_CLASS = Valid("storage.k8s.io", "v1", "storageclasses", {"provisioner": "a.b/c"})

STORAGE_CLASS_ROWS: list[tuple[Change, list[str]]] = [
    ({"provisioner": GONE}, ["provisioner: Required value"]),
    ({"provisioner": "a b"}, ['provisioner: Invalid value: "a b": name part must consist of …']),
    ({"reclaimPolicy": "Recycle"}, ['reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"']),
    ({"volumeBindingMode": "x"}, ['volumeBindingMode: Unsupported value: "x": supported values: "Immediate", "WaitForFirstConsumer"']),
    ({"parameters": {"": "x"}}, ['parameters: Invalid value: "": field can not be empty.']),
    ({"allowedTopologies": [{"matchLabelExpressions": [{"key": "a", "values": []}]}]}, ["allowedTopologies[0].matchLabelExpressions[0].values: Required value"]),
]

@pytest.mark.parametrize(("change", "expected"), STORAGE_CLASS_ROWS, ids=ids(STORAGE_CLASS_ROWS))
def test_storage_class(change: Change, expected: list[str]) -> None:
    assert STORAGE_CLASS.errors(change) == expected


STORAGE_CLASS_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"provisioner": "a.b/d", "parameters": {"a": "b"}, "reclaimPolicy": "Retain", "volumeBindingMode": "WaitForFirstConsumer"}, {}, ["parameters: Forbidden: updates to parameters are forbidden.", "provisioner: Forbidden: updates to provisioner are forbidden.", "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.", 'volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable']),
]

@pytest.mark.parametrize(("change", "old", "expected"), STORAGE_CLASS_UPDATE_ROWS, ids=ids(STORAGE_CLASS_UPDATE_ROWS))
def test_storage_class_update(change: Change, old: Change, expected: list[str]) -> None:
    assert STORAGE_CLASS.update(change, old) == expected


STORAGE_CLASS_WARNINGS_ROWS: list[tuple[Change, list[str]]] = [
    ({"allowedTopologies": [{"matchLabelExpressions": [{"key": "failure-domain.beta.kubernetes.io/zone", "values": ["a"]}]}]}, ['allowedTopologies[0].matchLabelExpressions[0].key: failure-domain.beta.kubernetes.io/zone is deprecated since v1.17; use "topology.kubernetes.io/zone" instead']),
]

@pytest.mark.parametrize(("change", "expected"), STORAGE_CLASS_WARNINGS_ROWS, ids=ids(STORAGE_CLASS_WARNINGS_ROWS))
def test_storage_class_warnings(change: Change, expected: list[str]) -> None:
    assert STORAGE_CLASS.warnings(change) == expected


ATTACHMENT = Valid("storage.k8s.io", "v1", "volumeattachments", {"spec": {"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": "v"}}})

ATTACHMENT_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/attacher": GONE}, ["spec.attacher: Required value", "spec.attacher: Required value", 'spec.attacher: Invalid value: "": a lowercase RFC 1123 subdomain …']),
    ({"spec/source": {}}, ["spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"]),
    ({"spec/source/persistentVolumeName": ""}, ["spec.source.persistentVolumeName: Required value", 'spec.source.persistentVolumeName: Invalid value: "": a lowercase RFC 1123 subdomain …']),
    ({"spec/source/persistentVolumeName": "A"}, ['spec.source.persistentVolumeName: Invalid value: "A": a lowercase RFC 1123 subdomain …']),
    ({"spec/nodeName": "A"}, ['spec.nodeName: Invalid value: "A": a lowercase RFC 1123 subdomain …']),
    ({"spec/attacher": "A_"}, ['spec.attacher: Invalid value: "A_": a lowercase RFC 1123 subdomain …']),
]

@pytest.mark.parametrize(("change", "expected"), ATTACHMENT_ROWS, ids=ids(ATTACHMENT_ROWS))
def test_attachment(change: Change, expected: list[str]) -> None:
    assert ATTACHMENT.errors(change) == expected


ATTACHMENT_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"spec/nodeName": "m"}, {}, ['spec: Invalid value: {"attacher":"d","nodeName":"m","source":{"persistentVolumeName":"v"}}: field is immutable']),
]

@pytest.mark.parametrize(("change", "old", "expected"), ATTACHMENT_UPDATE_ROWS, ids=ids(ATTACHMENT_UPDATE_ROWS))
def test_attachment_update(change: Change, old: Change, expected: list[str]) -> None:
    assert ATTACHMENT.update(change, old) == expected


DRIVER = Valid("storage.k8s.io", "v1", "csidrivers", {"spec": {}})

CSI_DRIVER_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/fsGroupPolicy": "x"}, ['spec.fsGroupPolicy: Unsupported value: "x": supported values: "File", "None", "ReadWriteOnceWithFSType"']),
    ({"spec/serviceAccountTokenInSecrets": True, "spec/tokenRequests": [{"audience": "a"}]}, []),
    ({"spec/serviceAccountTokenInSecrets": False}, ["spec.serviceAccountTokenInSecrets: Invalid value: false: serviceAccountTokenInSecrets is set but no tokenRequests are specified"]),
    ({"spec/tokenRequests": [{"audience": "a"}, {"audience": "a", "expirationSeconds": 10}]}, ['spec.tokenRequests[1].audience: Duplicate value: "a"', "spec.tokenRequests[1].expirationSeconds: Invalid value: 10: may not specify a duration less than 10 minutes"]),
    ({"spec/volumeLifecycleModes": ["x"]}, ['spec.volumeLifecycleModes: Unsupported value: "x": supported values: "Persistent", "Ephemeral"']),
    ({"spec/nodeAllocatableUpdatePeriodSeconds": 1}, ["spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 1: must be greater than or equal to 10 seconds"]),
]

@pytest.mark.parametrize(("change", "expected"), CSI_DRIVER_ROWS, ids=ids(CSI_DRIVER_ROWS))
def test_csi_driver(change: Change, expected: list[str]) -> None:
    assert DRIVER.errors(change) == expected


CSI_DRIVER_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"spec/attachRequired": False, "spec/volumeLifecycleModes": ["Ephemeral"]}, {}, ["spec.attachedRequired: Invalid value: false: field is immutable", 'spec.volumeLifecycleModes: Invalid value: ["Ephemeral"]: field is immutable']),
    ({"spec/podInfoOnMount": True}, {}, []),
]

@pytest.mark.parametrize(("change", "old", "expected"), CSI_DRIVER_UPDATE_ROWS, ids=ids(CSI_DRIVER_UPDATE_ROWS))
def test_csi_driver_update(change: Change, old: Change, expected: list[str]) -> None:
    assert DRIVER.update(change, old) == expected


CSI_NODE = Valid("storage.k8s.io", "v1", "csinodes", {"spec": {"drivers": [{"name": "d", "nodeID": "n"}]}})

CSI_NODE_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/drivers": [{"name": "d", "nodeID": "n"}, {"name": "d", "nodeID": "n"}]}, ['spec.drivers[1].name: Duplicate value: "d"']),
    ({"spec/drivers/0/nodeID": ""}, ["spec.drivers[0].nodeID: Required value"]),
    ({"spec/drivers/0/nodeID": "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"}, ['spec.drivers[0].nodeID: Invalid value: "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn": must be 256 characters or less']),
    ({"spec/drivers/0/allocatable": {"count": -1}}, ["spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0"]),
    ({"spec/drivers/0/topologyKeys": ["a", "a", "a b"]}, ['spec.drivers[0].topologyKeys: Duplicate value: "a"', 'spec.drivers[0].topologyKeys: Invalid value: "a b": name part must consist of …']),
]

@pytest.mark.parametrize(("change", "expected"), CSI_NODE_ROWS, ids=ids(CSI_NODE_ROWS))
def test_csi_node(change: Change, expected: list[str]) -> None:
    assert CSI_NODE.errors(change) == expected


CSI_NODE_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"spec/drivers/0/nodeID": "m"}, {}, ['spec.drivers: Invalid value: {"name":"d","nodeID":"m","topologyKeys":null}: field is immutable']),
    ({"spec/drivers": []}, {}, []),
    ({"spec/drivers/0/allocatable": {"count": 1}}, {}, []),
]

@pytest.mark.parametrize(("change", "old", "expected"), CSI_NODE_UPDATE_ROWS, ids=ids(CSI_NODE_UPDATE_ROWS))
def test_csi_node_update(change: Change, old: Change, expected: list[str]) -> None:
    assert CSI_NODE.update(change, old) == expected


CAPACITY = Valid("storage.k8s.io", "v1", "csistoragecapacities", {"storageClassName": "s"})

CSI_CAPACITY_ROWS: list[tuple[Change, list[str]]] = [
    ({"storageClassName": "A"}, ['storageClassName: Invalid value: "A": a lowercase RFC 1123 subdomain …']),
    ({"capacity": "-1", "maximumVolumeSize": "-1"}, ['capacity: Invalid value: "-1": must be greater than or equal to 0', 'maximumVolumeSize: Invalid value: "-1": must be greater than or equal to 0']),
    ({"nodeTopology": {"matchLabels": {"a b": "c"}}}, ['nodeTopology.matchLabels: Invalid value: "a b": name part must consist of …']),
]

@pytest.mark.parametrize(("change", "expected"), CSI_CAPACITY_ROWS, ids=ids(CSI_CAPACITY_ROWS))
def test_csi_capacity(change: Change, expected: list[str]) -> None:
    assert CAPACITY.errors(change) == expected


CSI_CAPACITY_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"storageClassName": "t", "nodeTopology": {"matchLabels": {"a": "b"}}}, {}, ['nodeTopology: Invalid value: {"matchLabels":{"a":"b"}}: field is immutable', 'storageClassName: Invalid value: "t": field is immutable']),
]

@pytest.mark.parametrize(("change", "old", "expected"), CSI_CAPACITY_UPDATE_ROWS, ids=ids(CSI_CAPACITY_UPDATE_ROWS))
def test_csi_capacity_update(change: Change, old: Change, expected: list[str]) -> None:
    assert CAPACITY.update(change, old) == expected


ATTRIBUTES = Valid("storage.k8s.io", "v1", "volumeattributesclasses", {"driverName": "d", "parameters": {"a": "b"}})

ATTRIBUTES_CLASS_ROWS: list[tuple[Change, list[str]]] = [
    ({"driverName": "A_"}, ['driverName: Invalid value: "A_": a lowercase RFC 1123 subdomain …']),
    ({"parameters": {}}, ["parameters: Required value: must contain at least one key/value pair"]),
]

@pytest.mark.parametrize(("change", "expected"), ATTRIBUTES_CLASS_ROWS, ids=ids(ATTRIBUTES_CLASS_ROWS))
def test_attributes_class(change: Change, expected: list[str]) -> None:
    assert ATTRIBUTES.errors(change) == expected


ATTRIBUTES_CLASS_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"driverName": "e", "parameters": {"a": "c"}}, {}, ["driverName: Forbidden: updates to driverName are forbidden.", "parameters: Forbidden: updates to parameters are forbidden."]),
]

@pytest.mark.parametrize(("change", "old", "expected"), ATTRIBUTES_CLASS_UPDATE_ROWS, ids=ids(ATTRIBUTES_CLASS_UPDATE_ROWS))
def test_attributes_class_update(change: Change, old: Change, expected: list[str]) -> None:
    assert ATTRIBUTES.update(change, old) == expected

"""Pods, and the templates that have the same rules: what is refused, and in which words."""

# ruff: noqa: E501 (a row is a line)
# fmt: off

from __future__ import annotations

import pytest

from tests.validation import GONE, Change, Valid, ids

POD = Valid("", "v1", "pods", {"spec": {"containers": [{"name": "c", "image": "x"}]}})

CONTAINERS_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/containers": GONE}, ["spec.containers: Required value"]),
    ({"spec/containers/0/name": GONE}, ["spec.containers[0].name: Required value"]),
    ({"spec/containers/0/name": "A"}, ['spec.containers[0].name: Invalid value: "A": a lowercase RFC 1123 label …']),
    ({"spec/containers/0/image": GONE}, ["spec.containers[0].image: Required value"]),
    ({"spec/containers/0/image": " x"}, ['spec.containers[0].image: Invalid value: " x": must not have leading or trailing whitespace']),
    ({"spec/containers": [{"name": "c", "image": "x"}, {"name": "c", "image": "x"}]}, ['spec.containers[1].name: Duplicate value: "c"']),
    ({"spec/containers/0/imagePullPolicy": "Sometimes"}, ['spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"']),
    ({"spec/containers/0/terminationMessagePolicy": "x"}, ['spec.containers[0].terminationMessagePolicy: Unsupported value: "x": supported values: "File", "FallbackToLogsOnError"']),
    ({"spec/containers/0/restartPolicy": "Sometimes"}, ['spec.containers[0].restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"']),
    ({"spec/containers/0/ports": [{"containerPort": 0}]}, ["spec.containers[0].ports[0].containerPort: Required value"]),
    ({"spec/containers/0/ports": [{"containerPort": 80, "protocol": "ICMP"}]}, ['spec.containers[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"']),
    ({"spec/containers/0/ports": [{"containerPort": 80, "name": "A"}, {"containerPort": 81, "name": "b", "hostPort": 70000}]}, ['spec.containers[0].ports[0].name: Invalid value: "A": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)', 'spec.containers[0].ports[0].name: Invalid value: "A": must contain at least one letter (a-z)', "spec.containers[0].ports[1].hostPort: Invalid value: 70000: must be between 1 and 65535, inclusive"]),
    ({"spec/containers/0/ports": [{"containerPort": 80, "name": "b"}, {"containerPort": 81, "name": "b"}]}, ['spec.containers[0].ports[1].name: Duplicate value: "b"']),
    ({"spec/containers/0/ports": [{"containerPort": 80, "hostPort": 90}, {"containerPort": 81, "hostPort": 90}]}, ['spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//90"']),
    ({"spec/hostNetwork": True, "spec/containers/0/ports": [{"containerPort": 80, "hostPort": 81}]}, ["spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"]),
    ({"spec/containers/0/lifecycle": {"preStop": {}}}, ["spec.containers[0].lifecycle.preStop: Required value: must specify a handler type"]),
    ({"spec/containers/0/lifecycle": {"preStop": {"exec": {}}}}, ["spec.containers[0].lifecycle.preStop.exec.command: Required value"]),
    ({"spec/containers/0/lifecycle": {"postStart": {"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}}}, ["spec.containers[0].lifecycle.postStart.tcpSocket: Forbidden: may not specify more than 1 handler type"]),
    ({"spec/containers/0/lifecycle": {"preStop": {"sleep": {"seconds": 31}}}}, ["spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)"]),
    ({"spec/containers/0/lifecycle": {"stopSignal": "SIGTERM"}}, ["spec.containers[0].lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`"]),
    ({"spec/containers/0/volumeDevices": [{"name": "v", "devicePath": "/d"}]}, ['spec.containers[0].volumeDevices[0].name: Not found: "v"']),
    ({"spec/containers/0/volumeMounts": [{"name": "v", "mountPath": "/v"}]}, ['spec.containers[0].volumeMounts[0].name: Not found: "v"']),
    ({"spec/volumes": [{"name": "v"}], "spec/containers/0/volumeMounts": [{"name": "v", "mountPath": ""}, {"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}]}, ["spec.containers[0].volumeMounts[0].mountPath: Required value", 'spec.containers[0].volumeMounts[2].mountPath: Invalid value: "/a": must be unique']),
    ({"spec/volumes": [{"name": "v"}], "spec/containers/0/volumeMounts": [{"name": "v", "mountPath": "/a", "subPath": "../x"}]}, ["spec.containers[0].volumeMounts.subPath: Invalid value: \"../x\": must not contain '..'"]),
    ({"spec/volumes": [{"name": "v"}], "spec/containers/0/volumeMounts": [{"name": "v", "mountPath": "/a", "subPath": "x", "subPathExpr": "$(y)"}]}, ['spec.containers[0].volumeMounts[0].subPathExpr: Invalid value: "$(y)": subPathExpr and subPath are mutually exclusive']),
    ({"spec/volumes": [{"name": "v"}], "spec/containers/0/volumeMounts": [{"name": "v", "mountPath": "/a", "mountPropagation": "Bidirectional"}]}, ["spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers"]),
    ({"spec/volumes": [{"name": "v"}], "spec/containers/0/volumeMounts": [{"name": "v", "mountPath": "/a", "recursiveReadOnly": "Enabled"}]}, ["spec.containers[0].volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true"]),
    ({"spec/containers/0/resizePolicy": [{"resourceName": "cpu", "restartPolicy": "Never"}]}, ['spec.containers[0].resizePolicy: Unsupported value: "Never": supported values: "NotRequired", "RestartContainer"']),
    ({"spec/containers/0/resizePolicy": [{"resourceName": "storage", "restartPolicy": "NotRequired"}]}, ['spec.containers[0].resizePolicy: Unsupported value: "storage": supported values: "cpu", "memory"']),
]

@pytest.mark.parametrize(("change", "expected"), CONTAINERS_ROWS, ids=ids(CONTAINERS_ROWS))
def test_containers(change: Change, expected: list[str]) -> None:
    assert POD.errors(change) == expected


PROBES_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/containers/0/livenessProbe": {}}, ["spec.containers[0].livenessProbe: Required value: must specify a handler type"]),
    ({"spec/containers/0/livenessProbe": {"httpGet": {"port": 0}}}, ["spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive"]),
    ({"spec/containers/0/readinessProbe": {"httpGet": {"port": "a_b"}}}, ['spec.containers[0].readinessProbe.httpGet.port: Invalid value: "a_b": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)']),
    ({"spec/containers/0/readinessProbe": {"httpGet": {"port": 80, "scheme": "ftp"}}}, ['spec.containers[0].readinessProbe.httpGet.scheme: Unsupported value: "ftp": supported values: "HTTP", "HTTPS"']),
    ({"spec/containers/0/livenessProbe": {"httpGet": {"port": 80, "httpHeaders": [{"name": "a b", "value": ""}]}}}, ['spec.containers[0].livenessProbe.httpGet.httpHeaders: Invalid value: "a b": a valid HTTP header must consist of …']),
    ({"spec/containers/0/livenessProbe": {"tcpSocket": {"port": 80}, "successThreshold": 2}}, ["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"]),
    ({"spec/containers/0/startupProbe": {"grpc": {"port": 80}, "periodSeconds": -1}}, ["spec.containers[0].startupProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"]),
    ({"spec/containers/0/readinessProbe": {"tcpSocket": {"port": 80}, "terminationGracePeriodSeconds": 1}}, ["spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes"]),
    ({"spec/containers/0/livenessProbe": {"tcpSocket": {"port": 80}, "terminationGracePeriodSeconds": 0}}, ["spec.containers[0].livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0"]),
]

@pytest.mark.parametrize(("change", "expected"), PROBES_ROWS, ids=ids(PROBES_ROWS))
def test_probes(change: Change, expected: list[str]) -> None:
    assert POD.errors(change) == expected


ENVIRONMENT_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/containers/0/env": [{"value": "a"}]}, ["spec.containers[0].env[0].name: Required value"]),
    ({"spec/containers/0/env": [{"name": "A=B"}]}, ["spec.containers[0].env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII characters other than '='"]),
    ({"spec/containers/0/env": [{"name": "A", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}, ['spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty']),
    ({"spec/containers/0/env": [{"name": "A", "valueFrom": {}}]}, ['spec.containers[0].env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`']),
    ({"spec/containers/0/env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.nope"}}}]}, ['spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: "metadata.nope": error converting fieldPath: field label not supported: metadata.nope']),
    ({"spec/containers/0/env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a b']"}}}]}, ['spec.containers[0].env[0].valueFrom.fieldRef: Invalid value: "a b": name part must consist of …']),
    ({"spec/containers/0/env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}}]}, ['spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"']),
    ({"spec/containers/0/env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.disk"}}}]}, ['spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.disk": supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"']),
    ({"spec/containers/0/env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "3"}}}]}, ["spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource"]),
    ({"spec/containers/0/env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}]}, ["spec.containers[0].env[0].valueFrom.secretKeyRef.key: Required value"]),
    ({"spec/containers/0/env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "s", "key": ".."}}}]}, ["spec.containers[0].env[0].valueFrom.configMapKeyRef.key: Invalid value: \"..\": must not be '..'"]),
    ({"spec/containers/0/envFrom": [{}]}, ['spec.containers[0].envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`']),
    ({"spec/containers/0/envFrom": [{"configMapRef": {"name": "a"}, "secretRef": {"name": "b"}}]}, ['spec.containers[0].envFrom: Invalid value: "": may not have more than one field specified at a time']),
    ({"spec/containers/0/envFrom": [{"prefix": "a=", "secretRef": {"name": "b"}}]}, ["spec.containers[0].envFrom[0].prefix: Invalid value: \"a=\": a valid environment variable name must consist only of printable ASCII characters other than '='"]),
    ({"spec/containers/0/envFrom": [{"secretRef": {}}]}, ["spec.containers[0].envFrom[0].secretRef.name: Required value"]),
]

@pytest.mark.parametrize(("change", "expected"), ENVIRONMENT_ROWS, ids=ids(ENVIRONMENT_ROWS))
def test_environment(change: Change, expected: list[str]) -> None:
    assert POD.errors(change) == expected


RESOURCES_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/containers/0/resources/requests": {"cpu": "2"}, "spec/containers/0/resources/limits": {"cpu": "1"}}, ['spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1']),
    ({"spec/containers/0/resources/requests": {"cpu": "-1"}}, ['spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0']),
    ({"spec/containers/0/resources/limits": {"disk": "1"}}, ['spec.containers[0].resources.limits[disk]: Invalid value: "disk": must be a standard resource type or fully qualified', 'spec.containers[0].resources.limits[disk]: Invalid value: "disk": must be a standard resource for containers', 'spec.containers[0].resources.requests[disk]: Invalid value: "disk": must be a standard resource type or fully qualified', 'spec.containers[0].resources.requests[disk]: Invalid value: "disk": must be a standard resource for containers']),
    ({"spec/containers/0/resources/limits": {"example.com/gpu": "500m"}}, ['spec.containers[0].resources.limits[example.com/gpu]: Invalid value: "500m": must be an integer', 'spec.containers[0].resources.requests[example.com/gpu]: Invalid value: "500m": must be an integer']),
    ({"spec/containers/0/resources/requests": {"example.com/gpu": "1"}, "spec/containers/0/resources/limits": {"example.com/gpu": "2"}}, ['spec.containers[0].resources.requests: Invalid value: "1": must be equal to example.com/gpu limit of 2']),
    ({"spec/containers/0/resources/limits": {"hugepages-2Mi": "2Mi"}}, ["spec.containers[0].resources: Forbidden: HugePages require cpu or memory"]),
    ({"spec/containers/0/resources/limits": {"hugepages-2Mi": "3Mi", "cpu": "1"}}, ['spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi', 'spec.containers[0].resources.requests[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi']),
    ({"spec/containers/0/resources/requests": {"hugepages-2Mi": "2Mi", "cpu": "1"}, "spec/containers/0/resources/limits": {"cpu": "1"}}, ["spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources"]),
    ({"spec/containers/0/resources/claims": [{"name": "x"}]}, ['spec.containers[0].resources.claims[0]: Not found: "x": must be one of the names in pod.spec.resourceClaims which is empty']),
    ({"spec/containers/0/resources/claims": [{"name": "x"}, {"name": "x"}], "spec/resourceClaims": [{"name": "x", "resourceClaimName": "y"}]}, ['spec.containers[0].resources.claims[1]: Duplicate value: "x"']),
    ({"spec/resourceClaims": [{"name": "x"}]}, ['spec.resourceClaims[0]: Invalid value: {"name":"x"}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`']),
    ({"spec/resourceClaims": [{"name": "x", "resourceClaimName": "y", "resourceClaimTemplateName": "z"}]}, ['spec.resourceClaims[0]: Invalid value: {"name":"x","resourceClaimName":"y","resourceClaimTemplateName":"z"}: at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified']),
    ({"spec/resources": {"limits": {"storage": "1"}}}, ['spec.resources.limits[storage]: Unsupported value: "storage": supported values: "cpu", "memory"']),
    ({"spec/resources": {"requests": {"cpu": "1"}}, "spec/containers/0/resources/requests": {"cpu": "2"}}, ['spec.resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate container requests of 2']),
]

@pytest.mark.parametrize(("change", "expected"), RESOURCES_ROWS, ids=ids(RESOURCES_ROWS))
def test_resources(change: Change, expected: list[str]) -> None:
    assert POD.errors(change) == expected


VOLUMES_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/volumes": [{"name": "V"}]}, ['spec.volumes[0].name: Invalid value: "V": a lowercase RFC 1123 label …']),
    ({"spec/volumes": [{}]}, ["spec.volumes[0].name: Required value"]),
    ({"spec/volumes": [{"name": "v"}, {"name": "v"}]}, ['spec.volumes[1].name: Duplicate value: "v"']),
    ({"spec/volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/a"}}]}, ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"]),
    ({"spec/volumes": [{"name": "v", "emptyDir": {"sizeLimit": "-1"}}]}, ["spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity"]),
    ({"spec/volumes": [{"name": "v", "hostPath": {"path": ""}}]}, ["spec.volumes[0].hostPath.path: Required value"]),
    ({"spec/volumes": [{"name": "v", "hostPath": {"path": "/a/../b"}}]}, ["spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"]),
    ({"spec/volumes": [{"name": "v", "hostPath": {"path": "/a", "type": "x"}}]}, ['spec.volumes[0].hostPath.type: Unsupported value: "x": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"']),
    ({"spec/volumes": [{"name": "v", "secret": {}}]}, ["spec.volumes[0].secret.secretName: Required value"]),
    ({"spec/volumes": [{"name": "v", "secret": {"secretName": "s", "defaultMode": 512}}]}, ["spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive"]),
    ({"spec/volumes": [{"name": "v", "secret": {"secretName": "s", "items": [{"key": "", "path": "/a"}]}}]}, ["spec.volumes[0].secret.items[0].key: Required value", 'spec.volumes[0].secret.items[0].path: Invalid value: "/a": must be a relative path']),
    ({"spec/volumes": [{"name": "v", "configMap": {}}]}, ["spec.volumes[0].configMap.name: Required value"]),
    ({"spec/volumes": [{"name": "v", "persistentVolumeClaim": {}}]}, ["spec.volumes[0].persistentVolumeClaim.claimName: Required value"]),
    ({"spec/volumes": [{"name": "v", "nfs": {"path": "a"}}]}, ["spec.volumes[0].nfs.server: Required value", 'spec.volumes[0].nfs.path: Invalid value: "a": must be an absolute path']),
    ({"spec/volumes": [{"name": "v", "downwardAPI": {"items": [{"path": "a"}]}}]}, ["spec.volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"]),
    ({"spec/volumes": [{"name": "v", "downwardAPI": {"items": [{"path": "", "fieldRef": {"fieldPath": "spec.nodeName"}}]}}]}, ["spec.volumes[0].downwardAPI.path: Required value", 'spec.volumes[0].downwardAPI.fieldRef.fieldPath: Unsupported value: "spec.nodeName": supported values: "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"']),
    ({"spec/volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "a"}, "configMap": {"name": "b"}}]}}]}, ["spec.volumes[0].projected.sources[0]: Forbidden: may not specify more than 1 volume type per source"]),
    ({"spec/volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 10}}]}}]}, ["spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 10: may not specify a duration less than 10 minutes", "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set"]),
    ({"spec/volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "../t"}}]}}]}, ["spec.volumes[0].projected.path: Invalid value: \"../t\": must not contain '..'", "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set"]),
    ({"spec/volumes": [{"name": "v", "csi": {"driver": "A_"}}]}, ['spec.volumes[0].csi.driver: Invalid value: "A_": a lowercase RFC 1123 subdomain …']),
    ({"spec/volumes": [{"name": "v", "ephemeral": {}}]}, ["spec.volumes[0].ephemeral.volumeClaimTemplate: Required value"]),
    ({"spec/volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["x"], "resources": {"requests": {"storage": "0"}}}}}}]}, ['spec.volumes[0].ephemeral.volumeClaimTemplate.spec.accessModes: Unsupported value: "x": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"', 'spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources[storage]: Invalid value: "0": must be greater than zero']),
    ({"spec/volumes": [{"name": "v", "image": {"reference": " "}}]}, []),
    ({"spec/volumes": [{"name": "v", "iscsi": {"targetPortal": "", "iqn": "x", "lun": 256}}]}, ["spec.volumes[0].iscsi.targetPortal: Required value", 'spec.volumes[0].iscsi.iqn: Invalid value: "x": must be valid format starting with iqn, eui, or naa', "spec.volumes[0].iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive"]),
    ({"spec/volumes": [{"name": "v", "azureFile": {}}]}, ["spec.volumes[0].azureFile.secretName: Required value", "spec.volumes[0].azureFile.shareName: Required value"]),
    ({"spec/volumes": [{"name": "v", "rbd": {"monitors": [], "image": ""}}]}, ["spec.volumes[0].rbd.monitors: Required value", "spec.volumes[0].rbd.image: Required value"]),
    ({"spec/volumes": [{"name": "v", "fc": {}}]}, ["spec.volumes[0].fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both"]),
    ({"spec/volumes": [{"name": "v", "gitRepo": {"repository": "", "directory": "/a"}}]}, ["spec.volumes[0].gitRepo.repository: Required value", 'spec.volumes[0].gitRepo.directory: Invalid value: "/a": must be a relative path']),
]

@pytest.mark.parametrize(("change", "expected"), VOLUMES_ROWS, ids=ids(VOLUMES_ROWS))
def test_volumes(change: Change, expected: list[str]) -> None:
    assert POD.errors(change) == expected


AFFINITY_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}}, ["spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term"]),
    ({"spec/affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a b", "operator": "In"}, {"key": "a", "operator": "Exists", "values": ["x"]}, {"key": "a", "operator": "Gt", "values": ["x", "y"]}, {"key": "a", "operator": "Near"}]}]}}}}, ["spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'", 'spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key: Invalid value: "a b": name part must consist of …', "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'", "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[2].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'", 'spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[3].operator: Invalid value: "Near": not a valid selector operator']),
    ({"spec/affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.uid", "operator": "In", "values": ["x"]}, {"key": "metadata.name", "operator": "Exists"}]}]}}}}, ['spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].key: Invalid value: "metadata.uid": not a valid field selector key', 'spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[1].operator: Invalid value: "Exists": not a valid selector operator']),
    ({"spec/affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "preference": {}}]}}}, ["spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100"]),
    ({"spec/affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": ""}]}}}, ["spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty", 'spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "": name part must be non-empty', 'spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "": name part must consist of …']),
    ({"spec/affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 101, "podAffinityTerm": {"topologyKey": "a", "namespaces": ["A"], "labelSelector": {"matchLabels": {"a b": "c"}}}}]}}}, ["spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: must be in the range 1-100", 'spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector.matchLabels: Invalid value: "a b": name part must consist of …', 'spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.namespace: Invalid value: "A": a lowercase RFC 1123 label …']),
    ({"spec/affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a", "matchLabelKeys": ["a"]}]}}}, ["spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set"]),
]

@pytest.mark.parametrize(("change", "expected"), AFFINITY_ROWS, ids=ids(AFFINITY_ROWS))
def test_affinity(change: Change, expected: list[str]) -> None:
    assert POD.errors(change) == expected


SCHEDULING_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/tolerations": [{"operator": "Equal", "value": "a"}]}, ['spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"']),
    ({"spec/tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}, ["spec.tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'"]),
    ({"spec/tolerations": [{"key": "a", "operator": "Near"}]}, ['spec.tolerations[0].operator: Unsupported value: "Near": supported values: "Equal", "Exists"']),
    ({"spec/tolerations": [{"key": "a", "operator": "Gt", "value": "5"}]}, ['spec.tolerations[0].operator: Unsupported value: "Gt": supported values: "Equal", "Exists"']),
    ({"spec/tolerations": [{"key": "a", "effect": "x"}]}, ['spec.tolerations[0].effect: Unsupported value: "x": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"']),
    ({"spec/tolerations": [{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 1}]}, ["spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set"]),
    ({"spec/tolerations": [{"key": "a b"}]}, ['spec.tolerations[0].key: Invalid value: "a b": name part must consist of …']),
    ({"spec/topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "x"}]}, ["spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero", "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty", 'spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "x": supported values: "DoNotSchedule", "ScheduleAnyway"']),
    ({"spec/topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 1}]}, ["spec.topologySpreadConstraints[0].minDomains: Invalid value: 1: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"]),
    ({"spec/topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 0}]}, ["spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: must be greater than zero"]),
    ({"spec/topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}, {"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}]}, ['spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: "{a, DoNotSchedule}"']),
    ({"spec/topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule", "nodeAffinityPolicy": "x", "matchLabelKeys": ["a"]}]}, ['spec.topologySpreadConstraints[0].nodeAffinityPolicy: Unsupported value: "x": supported values: "Honor", "Ignore"', "spec.topologySpreadConstraints[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set"]),
    ({"spec/schedulingGates": [{"name": "a"}, {"name": "a"}]}, ['spec.schedulingGates[1]: Duplicate value: "a"']),
    ({"spec/schedulingGates": [{"name": "a b"}]}, ['spec.schedulingGates[0]: Invalid value: "a b": name part must consist of …']),
    ({"spec/nodeName": "n", "spec/schedulingGates": [{"name": "a.b/c"}]}, ["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"]),
    ({"spec/nodeSelector": {"a b": "c"}}, ['spec.nodeSelector: Invalid value: "a b": name part must consist of …']),
    ({"spec/priorityClassName": "A"}, ['spec.priorityClassName: Invalid value: "A": a lowercase RFC 1123 subdomain …']),
    ({"spec/schedulerName": "A"}, []),
]

@pytest.mark.parametrize(("change", "expected"), SCHEDULING_ROWS, ids=ids(SCHEDULING_ROWS))
def test_scheduling(change: Change, expected: list[str]) -> None:
    assert POD.errors(change) == expected


SECURITY_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/securityContext": {"runAsUser": -1, "fsGroup": -1, "supplementalGroups": [-1]}}, ["spec.securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive", "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive", "spec.securityContext.supplementalGroups[0]: Invalid value: -1: must be between 0 and 2147483647, inclusive"]),
    ({"spec/securityContext": {"sysctls": [{"name": "a b", "value": ""}, {"name": "kernel.sem", "value": "1"}, {"name": "kernel.sem", "value": "1"}]}}, ["spec.securityContext.sysctls[0].name: Invalid value: \"a b\": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$", 'spec.securityContext.sysctls[2].name: Duplicate value: "kernel.sem"']),
    ({"spec/securityContext": {"fsGroupChangePolicy": "x", "supplementalGroupsPolicy": "y"}}, ['spec.securityContext.fsGroupChangePolicy: Unsupported value: "x": supported values: "Always", "OnRootMismatch"', 'spec.securityContext.supplementalGroupsPolicy: Unsupported value: "y": supported values: "Merge", "Strict"']),
    ({"spec/securityContext": {"seccompProfile": {"type": "Localhost"}}}, ["spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost"]),
    ({"spec/securityContext": {"seccompProfile": {"type": "RuntimeDefault", "localhostProfile": "a"}}}, ['spec.securityContext.seccompProfile.localhostProfile: Invalid value: {"localhostProfile":"a","type":"RuntimeDefault"}: can only be set when seccomp type is Localhost']),
    ({"spec/securityContext": {"seccompProfile": {"type": "x"}}}, ['spec.securityContext.seccompProfile.type: Unsupported value: "x": supported values: "Localhost", "RuntimeDefault", "Unconfined"']),
    ({"spec/containers/0/securityContext": {"privileged": True, "allowPrivilegeEscalation": False}}, ['spec.containers[0].securityContext: Invalid value: {"allowPrivilegeEscalation":false,"privileged":true}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true']),
    ({"spec/containers/0/securityContext": {"capabilities": {"add": ["CAP_SYS_ADMIN"]}, "allowPrivilegeEscalation": False}}, ['spec.containers[0].securityContext: Invalid value: {"allowPrivilegeEscalation":false,"capabilities":{"add":["CAP_SYS_ADMIN"]}}: cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN']),
    ({"spec/containers/0/securityContext": {"procMount": "x"}}, ['spec.containers[0].securityContext.procMount: Unsupported value: "x": supported values: "Default", "Unmasked"']),
    ({"spec/containers/0/securityContext": {"procMount": "Unmasked"}}, ['spec.containers[0].securityContext.procMount: Invalid value: "Unmasked": `hostUsers` must be false to use `Unmasked`']),
    ({"spec/containers/0/securityContext": {"appArmorProfile": {"type": "Localhost", "localhostProfile": " a"}}}, ['spec.containers[0].securityContext.appArmorProfile.localhostProfile: Invalid value: " a": must not be padded with whitespace']),
    ({"spec/containers/0/securityContext": {"windowsOptions": {"gmsaCredentialSpecName": "A_", "runAsUserName": ""}}}, ['spec.containers[0].securityContext.windowsOptions.gmsaCredentialSpecName: Invalid value: "A_": a lowercase RFC 1123 subdomain …', 'spec.containers[0].securityContext.windowsOptions.runAsUserName: Invalid value: "": runAsUserName cannot be an empty string']),
    ({"spec/containers/0/securityContext": {"windowsOptions": {"hostProcess": True}}}, ["spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess containers"]),
    ({"spec/os": {"name": "plan9"}}, ['spec.os: Unsupported value: "plan9": supported values: "linux", "windows"']),
    ({"spec/os": {"name": "windows"}, "spec/securityContext": {"runAsUser": 1}}, ["spec.securityContext.runAsUser: Forbidden: cannot be set for a windows pod"]),
    ({"spec/os": {"name": "linux"}, "spec/containers/0/securityContext": {"windowsOptions": {"runAsUserName": "a"}}}, ["spec.containers[0].securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod"]),
    ({"spec/hostUsers": False, "spec/hostNetwork": True}, ["spec.hostNetwork: Forbidden: when `hostUsers` is false"]),
    ({"spec/hostPID": True, "spec/shareProcessNamespace": True}, []),
]

@pytest.mark.parametrize(("change", "expected"), SECURITY_ROWS, ids=ids(SECURITY_ROWS))
def test_security(change: Change, expected: list[str]) -> None:
    assert POD.errors(change) == expected


POD_SPEC_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/restartPolicy": "x"}, ['spec.restartPolicy: Unsupported value: "x": supported values: "Always", "OnFailure", "Never"']),
    ({"spec/dnsPolicy": "x"}, ['spec.dnsPolicy: Unsupported value: "x": supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"']),
    ({"spec/dnsPolicy": "None"}, ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"]),
    ({"spec/dnsConfig": {"nameservers": ["a", "b", "c", "d"], "searches": ["a b"], "options": [{"value": "x"}]}}, ['spec.dnsConfig.nameservers: Invalid value: ["a","b","c","d"]: must not have more than 3 nameservers', 'spec.dnsConfig.nameservers[0]: Invalid value: "a": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)', 'spec.dnsConfig.nameservers[1]: Invalid value: "b": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)', 'spec.dnsConfig.nameservers[2]: Invalid value: "c": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)', 'spec.dnsConfig.nameservers[3]: Invalid value: "d": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)', 'spec.dnsConfig.searches[0]: Invalid value: "a b": a lowercase RFC 1123 subdomain …', "spec.dnsConfig.options[0]: Required value: must not be empty"]),
    ({"spec/hostAliases": [{"ip": "a", "hostnames": ["A"]}]}, ['spec.hostAliases[0].ip: Invalid value: "a": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)', 'spec.hostAliases[0].hostnames[0]: Invalid value: "A": a lowercase RFC 1123 subdomain …']),
    ({"spec/hostname": "A"}, ['spec.hostname: Invalid value: "A": a lowercase RFC 1123 label …']),
    ({"spec/subdomain": "a.b"}, ['spec.subdomain: Invalid value: "a.b": must not contain dots']),
    ({"spec/activeDeadlineSeconds": 0}, ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"]),
    ({"spec/serviceAccountName": "A"}, ['spec.serviceAccountName: Invalid value: "A": a lowercase RFC 1123 subdomain …']),
    ({"spec/nodeName": "A"}, ['spec.nodeName: Invalid value: "A": a lowercase RFC 1123 subdomain …']),
    ({"spec/imagePullSecrets": [{}]}, []),
    ({"spec/readinessGates": [{"conditionType": "a b"}]}, ['spec.readinessGates[0].conditionType: Invalid value: "a b": name part must consist of …']),
    ({"spec/preemptionPolicy": "x"}, ['spec.preemptionPolicy: Unsupported value: "x": supported values: "PreemptLowerPriority", "Never"']),
    ({"spec/overhead": {"cpu": "-1"}}, ['spec.overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0']),
    ({"spec/runtimeClassName": "A"}, ['spec.runtimeClassName: Invalid value: "A": a lowercase RFC 1123 subdomain …']),
    ({"spec/setHostnameAsFQDN": True, "spec/hostnameOverride": "x"}, ["spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true"]),
    ({"spec/hostnameOverride": "A"}, ['spec.hostnameOverride: Invalid value: "A": a lowercase RFC 1123 subdomain …']),
    ({"spec/initContainers": [{"name": "c", "image": "x"}]}, ['spec.initContainers[0].name: Duplicate value: "c"']),
    ({"spec/initContainers": [{"name": "i", "image": "x", "readinessProbe": {"tcpSocket": {"port": 1}}}]}, ["spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"]),
    ({"spec/initContainers": [{"name": "i", "image": "x", "lifecycle": {"preStop": {"exec": {"command": ["a"]}}}}]}, ["spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always"]),
    ({"spec/ephemeralContainers": [{"name": "e", "image": "x"}]}, ["spec.ephemeralContainers: Forbidden: cannot be set on create"]),
    ({"metadata/annotations": {"kubernetes.io/config.mirror": ""}}, ['metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "": must set spec.nodeName if mirror pod annotation is set']),
    ({"metadata/annotations": {"controller.kubernetes.io/pod-deletion-cost": "x"}}, ['metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: "x": must be a 32bit integer']),
    ({"spec/containers/0/image": GONE, "spec/restartPolicy": "x", "spec/dnsPolicy": "y"}, ["spec.containers[0].image: Required value", 'spec.restartPolicy: Unsupported value: "x": supported values: "Always", "OnFailure", "Never"', 'spec.dnsPolicy: Unsupported value: "y": supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"']),
]

@pytest.mark.parametrize(("change", "expected"), POD_SPEC_ROWS, ids=ids(POD_SPEC_ROWS))
def test_pod_spec(change: Change, expected: list[str]) -> None:
    assert POD.errors(change) == expected


POD_WARNINGS_ROWS: list[tuple[Change, list[str]]] = [
    ({}, []),
    ({"spec/containers/0/env": [{"name": "A"}, {"name": "A"}]}, ['spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply']),
    ({"spec/containers/0/ports": [{"containerPort": 80}, {"containerPort": 80}]}, ["spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]"]),
    ({"spec/terminationGracePeriodSeconds": -1}, ["spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"]),
    ({"spec/nodeSelector": {"beta.kubernetes.io/os": "linux"}}, ['spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead']),
    ({"spec/volumes": [{"name": "v", "gitRepo": {"repository": "x"}}]}, ["spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+"]),
    ({"spec/volumes": [{"name": "v", "glusterfs": {"endpoints": "a", "path": "b"}}]}, ["spec.volumes[0].glusterfs: deprecated in v1.25, non-functional in v1.26+"]),
    ({"metadata/annotations": {"scheduler.alpha.kubernetes.io/critical-pod": ""}}, ['metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the "priorityClassName" field instead']),
    ({"spec/imagePullSecrets": [{"name": "a"}, {"name": "a"}]}, ['spec.imagePullSecrets[1].name: duplicate name "a"']),
    ({"spec/hostAliases": [{"ip": "1.2.3.4"}, {"ip": "1.2.3.4"}]}, ['spec.hostAliases[1].ip: duplicate ip "1.2.3.4"']),
    ({"spec/containers/0/resources": {"limits": {"memory": "500m"}}}, ['spec.containers[0].resources.limits[memory]: fractional byte value "500m" is invalid, must be an integer', 'spec.containers[0].resources.requests[memory]: fractional byte value "500m" is invalid, must be an integer']),
    ({"spec/volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "a", "items": [{"key": "k", "path": "p"}]}}, {"configMap": {"name": "b", "items": [{"key": "k", "path": "p"}]}}]}}]}, ['volume "v" (Projected): overlapping paths: "p" (ConfigMap "b") with "p" (Secret "a")']),
    ({"spec/topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "failure-domain.beta.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}]}, ['spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone is deprecated since v1.17; use "topology.kubernetes.io/zone" instead', "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod"]),
    ({"spec/affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a"}]}}}, ["spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a null labelSelector results in matching no pod"]),
    ({"spec/dnsConfig": {"nameservers": ["010.0.0.1"], "searches": ["a", "a"]}, "spec/dnsPolicy": "None"}, ['spec.dnsConfig.nameservers[0]: non-standard IP address "010.0.0.1" will be considered invalid in a future Kubernetes release: use "10.0.0.1"']),
]

@pytest.mark.parametrize(("change", "expected"), POD_WARNINGS_ROWS, ids=ids(POD_WARNINGS_ROWS))
def test_pod_warnings(change: Change, expected: list[str]) -> None:
    assert POD.warnings(change) == expected

"""The kinds that run pods: what is refused, and what never changes."""

# ruff: noqa: E501 (a row is a line)
# fmt: off

from __future__ import annotations

import pytest

from tests.validation import GONE, Change, Valid, ids

DEPLOYMENT = Valid("apps", "v1", "deployments", {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}}})

DEPLOYMENT_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/selector": GONE}, ["spec.selector: Required value"]),
    ({"spec/selector": {}}, ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]),
    ({"spec/selector": {"matchLabels": {"a": "c"}}}, ['spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`']),
    ({"spec/selector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}, ['spec.selector.matchExpressions[0].operator: Invalid value: "Near": not a valid selector operator', 'spec.selector: Invalid value: {"matchExpressions":[{"key":"a","operator":"Near"}]}: invalid label selector']),
    ({"spec/replicas": -1}, ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
    ({"spec/template/spec/restartPolicy": "Never"}, ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"']),
    ({"spec/template/spec/activeDeadlineSeconds": 5}, ["spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported"]),
    ({"spec/template/spec/containers/0/image": GONE}, ["spec.template.spec.containers[0].image: Required value"]),
    ({"spec/template/spec/ephemeralContainers": [{"name": "e", "image": "x"}]}, ["spec.template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template"]),
    ({"spec/strategy": {"type": "x"}}, ['spec.strategy: Unsupported value: {"type":"x"}: supported values: "Recreate", "RollingUpdate"']),
    ({"spec/strategy": {"type": "Recreate", "rollingUpdate": {}}}, ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"]),
    ({"spec/strategy/rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}, ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"]),
    ({"spec/strategy/rollingUpdate": {"maxSurge": "x", "maxUnavailable": "101%"}}, ["spec.strategy.rollingUpdate.maxSurge: Invalid value: \"x\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')", 'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%']),
    ({"spec/minReadySeconds": 700}, ["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"]),
    ({"spec/revisionHistoryLimit": -1, "spec/progressDeadlineSeconds": -1}, ["spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0", "spec.progressDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0", "spec.progressDeadlineSeconds: Invalid value: -1: must be greater than minReadySeconds"]),
]

@pytest.mark.parametrize(("change", "expected"), DEPLOYMENT_ROWS, ids=ids(DEPLOYMENT_ROWS))
def test_deployment(change: Change, expected: list[str]) -> None:
    assert DEPLOYMENT.errors(change) == expected


DEPLOYMENT_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"spec/replicas": 3}, {}, []),
    ({"spec/selector": {"matchLabels": {"a": "c"}}, "spec/template/metadata/labels": {"a": "c"}}, {}, ['spec.selector: Invalid value: {"matchLabels":{"a":"c"}}: field is immutable']),
]

@pytest.mark.parametrize(("change", "old", "expected"), DEPLOYMENT_UPDATE_ROWS, ids=ids(DEPLOYMENT_UPDATE_ROWS))
def test_deployment_update(change: Change, old: Change, expected: list[str]) -> None:
    assert DEPLOYMENT.update(change, old) == expected


DEPLOYMENT_STATUS_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"status": {"replicas": 1, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 3}}, {}, ["status.updatedReplicas: Invalid value: 2: cannot be greater than status.replicas", "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas", "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas", "status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas"]),
    ({"status": {"collisionCount": 0}}, {"status/collisionCount": 1}, ["status.collisionCount: Invalid value: 0: cannot be decremented"]),
    ({"status": {"replicas": -1}}, {}, ["status.replicas: Invalid value: -1: must be greater than or equal to 0", "status.updatedReplicas: Invalid value: 0: cannot be greater than status.replicas", "status.readyReplicas: Invalid value: 0: cannot be greater than status.replicas", "status.availableReplicas: Invalid value: 0: cannot be greater than status.replicas"]),
]

@pytest.mark.parametrize(("change", "old", "expected"), DEPLOYMENT_STATUS_ROWS, ids=ids(DEPLOYMENT_STATUS_ROWS))
def test_deployment_status(change: Change, old: Change, expected: list[str]) -> None:
    assert DEPLOYMENT.status(change, old) == expected


REPLICA_SET = Valid("apps", "v1", "replicasets", {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}}})

REPLICA_SET_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/selector": GONE}, ["spec.selector: Required value"]),
    ({"spec/selector": {}}, ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]),
    ({"spec/selector": {"matchLabels": {"a": "c"}}}, ['spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`']),
    ({"spec/selector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}, ['spec.selector.matchExpressions[0].operator: Invalid value: "Near": not a valid selector operator', 'spec.selector: Invalid value: {"matchExpressions":[{"key":"a","operator":"Near"}]}: invalid label selector']),
    ({"spec/replicas": -1}, ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
    ({"spec/template/spec/restartPolicy": "Never"}, ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"']),
    ({"spec/template/spec/activeDeadlineSeconds": 5}, ["spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported"]),
    ({"spec/template/spec/containers/0/image": GONE}, ["spec.template.spec.containers[0].image: Required value"]),
    ({"spec/template/spec/ephemeralContainers": [{"name": "e", "image": "x"}]}, ["spec.template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template"]),
    ({"spec/minReadySeconds": -1}, ["spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0"]),
]

@pytest.mark.parametrize(("change", "expected"), REPLICA_SET_ROWS, ids=ids(REPLICA_SET_ROWS))
def test_replica_set(change: Change, expected: list[str]) -> None:
    assert REPLICA_SET.errors(change) == expected


REPLICA_SET_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"spec/selector": {"matchLabels": {"a": "c"}}, "spec/template/metadata/labels": {"a": "c"}}, {}, ['spec.selector: Invalid value: {"matchLabels":{"a":"c"}}: field is immutable']),
]

@pytest.mark.parametrize(("change", "old", "expected"), REPLICA_SET_UPDATE_ROWS, ids=ids(REPLICA_SET_UPDATE_ROWS))
def test_replica_set_update(change: Change, old: Change, expected: list[str]) -> None:
    assert REPLICA_SET.update(change, old) == expected


REPLICA_SET_STATUS_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"status": {"replicas": 1, "fullyLabeledReplicas": 2, "readyReplicas": 2, "availableReplicas": 3}}, {}, ["status.fullyLabeledReplicas: Invalid value: 2: cannot be greater than status.replicas", "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas", "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas", "status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas"]),
]

@pytest.mark.parametrize(("change", "old", "expected"), REPLICA_SET_STATUS_ROWS, ids=ids(REPLICA_SET_STATUS_ROWS))
def test_replica_set_status(change: Change, old: Change, expected: list[str]) -> None:
    assert REPLICA_SET.status(change, old) == expected


REPLICATION_CONTROLLER = Valid("", "v1", "replicationcontrollers", {"spec": {"selector": {"a": "b"}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}}})

REPLICATION_CONTROLLER_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/selector": {"a": "c"}}, ['spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`']),
    ({"spec/template": GONE}, ["spec.template: Required value"]),
    ({"spec/replicas": -1, "spec/minReadySeconds": -1}, ["spec.replicas: Invalid value: -1: must be greater than or equal to 0", "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0"]),
    ({"spec/template/spec/restartPolicy": "Never"}, ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"']),
]

@pytest.mark.parametrize(("change", "expected"), REPLICATION_CONTROLLER_ROWS, ids=ids(REPLICATION_CONTROLLER_ROWS))
def test_replication_controller(change: Change, expected: list[str]) -> None:
    assert REPLICATION_CONTROLLER.errors(change) == expected


DAEMON_SET = Valid("apps", "v1", "daemonsets", {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}}})

DAEMON_SET_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/selector": GONE}, ['spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`']),
    ({"spec/selector": {}}, ["spec.selector: Invalid value: {}: empty selector is invalid for daemonset"]),
    ({"spec/selector": {"matchLabels": {"a": "c"}}}, ['spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`']),
    ({"spec/selector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}, ['spec.selector.matchExpressions[0].operator: Invalid value: "Near": not a valid selector operator']),
    ({"spec/template/spec/restartPolicy": "Never"}, ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"']),
    ({"spec/template/spec/activeDeadlineSeconds": 5}, ["spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in DaemonSet is not Supported"]),
    ({"spec/template/spec/containers/0/image": GONE}, ["spec.template.spec.containers[0].image: Required value"]),
    ({"spec/template/spec/ephemeralContainers": [{"name": "e", "image": "x"}]}, ["spec.template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template"]),
    ({"spec/updateStrategy": {"type": "x"}}, ['spec.updateStrategy: Unsupported value: {"type":"x"}: supported values: "RollingUpdate", "OnDelete"']),
    ({"spec/updateStrategy/rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0}}, ["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"]),
    ({"spec/updateStrategy/rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}}, ["spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"]),
    ({"spec/minReadySeconds": -1, "spec/revisionHistoryLimit": -1}, ["spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0", "spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0"]),
]

@pytest.mark.parametrize(("change", "expected"), DAEMON_SET_ROWS, ids=ids(DAEMON_SET_ROWS))
def test_daemon_set(change: Change, expected: list[str]) -> None:
    assert DAEMON_SET.errors(change) == expected


DAEMON_SET_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"spec/selector": {"matchLabels": {"a": "c"}}, "spec/template/metadata/labels": {"a": "c"}}, {}, ['spec.selector: Invalid value: {"matchLabels":{"a":"c"}}: field is immutable']),
]

@pytest.mark.parametrize(("change", "old", "expected"), DAEMON_SET_UPDATE_ROWS, ids=ids(DAEMON_SET_UPDATE_ROWS))
def test_daemon_set_update(change: Change, old: Change, expected: list[str]) -> None:
    assert DAEMON_SET.update(change, old) == expected


DAEMON_SET_STATUS_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"status": {"currentNumberScheduled": -1, "numberMisscheduled": -1, "desiredNumberScheduled": -1, "numberReady": -1}}, {}, ["status.currentNumberScheduled: Invalid value: -1: must be greater than or equal to 0", "status.numberMisscheduled: Invalid value: -1: must be greater than or equal to 0", "status.desiredNumberScheduled: Invalid value: -1: must be greater than or equal to 0", "status.numberReady: Invalid value: -1: must be greater than or equal to 0"]),
]

@pytest.mark.parametrize(("change", "old", "expected"), DAEMON_SET_STATUS_ROWS, ids=ids(DAEMON_SET_STATUS_ROWS))
def test_daemon_set_status(change: Change, old: Change, expected: list[str]) -> None:
    assert DAEMON_SET.status(change, old) == expected


STATEFUL_SET = Valid("apps", "v1", "statefulsets", {"spec": {"serviceName": "s", "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}}})

STATEFUL_SET_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/selector": GONE}, ["spec.selector: Required value"]),
    ({"spec/selector": {}}, ["spec.selector: Invalid value: {}: empty selector is invalid for statefulset"]),
    ({"spec/selector": {"matchLabels": {"a": "c"}}}, ['spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`']),
    ({"spec/selector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}, ['spec.selector.matchExpressions[0].operator: Invalid value: "Near": not a valid selector operator', 'spec.selector: Invalid value: {"matchExpressions":[{"key":"a","operator":"Near"}]}']),
    ({"spec/replicas": -1}, ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
    ({"spec/template/spec/restartPolicy": "Never"}, ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"']),
    ({"spec/template/spec/activeDeadlineSeconds": 5}, ["spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported"]),
    ({"spec/template/spec/containers/0/image": GONE}, ["spec.template.spec.containers[0].image: Required value"]),
    ({"spec/template/spec/ephemeralContainers": [{"name": "e", "image": "x"}]}, ["spec.template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template"]),
    ({"spec/podManagementPolicy": "x"}, ["spec.podManagementPolicy: Invalid value: \"x\": must be 'OrderedReady' or 'Parallel'"]),
    ({"spec/updateStrategy": {"type": "x"}}, ["spec.updateStrategy: Invalid value: {\"type\":\"x\"}: must be 'RollingUpdate' or 'OnDelete'"]),
    ({"spec/updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}, ["spec.updateStrategy.rollingUpdate: Invalid value: {\"partition\":1}: only allowed for updateStrategy 'RollingUpdate'"]),
    ({"spec/updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": -1}}}, ["spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0"]),
    ({"spec/ordinals": {"start": -1}}, ["spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"]),
    ({"spec/persistentVolumeClaimRetentionPolicy": {"whenDeleted": "x", "whenScaled": "y"}}, ['spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: "x": supported values: "Retain", "Delete"', 'spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "y": supported values: "Retain", "Delete"']),
    ({"spec/minReadySeconds": -1, "spec/revisionHistoryLimit": -1}, ["spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0"]),
]

@pytest.mark.parametrize(("change", "expected"), STATEFUL_SET_ROWS, ids=ids(STATEFUL_SET_ROWS))
def test_stateful_set(change: Change, expected: list[str]) -> None:
    assert STATEFUL_SET.errors(change) == expected


STATEFUL_SET_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"spec/replicas": 3, "spec/template/spec/containers/0/image": "y", "spec/minReadySeconds": 3}, {}, []),
    ({"spec/serviceName": "t"}, {}, ["spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"]),
    ({"spec/podManagementPolicy": "Parallel"}, {}, ["spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"]),
    ({"spec/volumeClaimTemplates": [{"metadata": {"name": "v"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]}, {}, ["spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"]),
]

@pytest.mark.parametrize(("change", "old", "expected"), STATEFUL_SET_UPDATE_ROWS, ids=ids(STATEFUL_SET_UPDATE_ROWS))
def test_stateful_set_update(change: Change, old: Change, expected: list[str]) -> None:
    assert STATEFUL_SET.update(change, old) == expected


STATEFUL_SET_STATUS_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"status": {"replicas": 1, "readyReplicas": 2, "currentReplicas": 2, "updatedReplicas": 2, "availableReplicas": 3}}, {}, ["status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas", "status.currentReplicas: Invalid value: 2: cannot be greater than status.replicas", "status.updatedReplicas: Invalid value: 2: cannot be greater than status.replicas", "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas", "status.availableReplicas: Invalid value: 3: cannot be greater than status.readyReplicas"]),
]

@pytest.mark.parametrize(("change", "old", "expected"), STATEFUL_SET_STATUS_ROWS, ids=ids(STATEFUL_SET_STATUS_ROWS))
def test_stateful_set_status(change: Change, old: Change, expected: list[str]) -> None:
    assert STATEFUL_SET.status(change, old) == expected


POD_TEMPLATE = Valid("", "v1", "podtemplates", {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}})

POD_TEMPLATE_ROWS: list[tuple[Change, list[str]]] = [
    ({"template/spec/containers": []}, ["template.spec.containers: Required value"]),
    ({"template/metadata/labels": {"a b": "c"}}, ['template.labels: Invalid value: "a b": name part must consist of …']),
]

@pytest.mark.parametrize(("change", "expected"), POD_TEMPLATE_ROWS, ids=ids(POD_TEMPLATE_ROWS))
def test_pod_template(change: Change, expected: list[str]) -> None:
    assert POD_TEMPLATE.errors(change) == expected


REVISION = Valid("apps", "v1", "controllerrevisions", {"revision": 1, "data": {"a": 1}})

CONTROLLER_REVISION_ROWS: list[tuple[Change, list[str]]] = [
    ({"revision": -1}, ["revision: Invalid value: -1: must be greater than or equal to 0"]),
    ({"data": GONE}, ["data: Required value: data is mandatory"]),
]

@pytest.mark.parametrize(("change", "expected"), CONTROLLER_REVISION_ROWS, ids=ids(CONTROLLER_REVISION_ROWS))
def test_controller_revision(change: Change, expected: list[str]) -> None:
    assert REVISION.errors(change) == expected


CONTROLLER_REVISION_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"data": {"a": 2}}, {}, ['data: Invalid value: {"a":2}: field is immutable']),
    ({"revision": 2}, {}, []),
]

@pytest.mark.parametrize(("change", "old", "expected"), CONTROLLER_REVISION_UPDATE_ROWS, ids=ids(CONTROLLER_REVISION_UPDATE_ROWS))
def test_controller_revision_update(change: Change, old: Change, expected: list[str]) -> None:
    assert REVISION.update(change, old) == expected


DEPLOYMENT_WARNINGS_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/template/spec/nodeSelector": {"beta.kubernetes.io/arch": "x"}}, ['spec.template.spec.nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use "kubernetes.io/arch" instead']),
    ({"spec/template/spec/volumes": [{"name": "v", "flocker": {"datasetName": "a"}}]}, ["spec.template.spec.volumes[0].flocker: deprecated in v1.22, non-functional in v1.25+"]),
]

@pytest.mark.parametrize(("change", "expected"), DEPLOYMENT_WARNINGS_ROWS, ids=ids(DEPLOYMENT_WARNINGS_ROWS))
def test_deployment_warnings(change: Change, expected: list[str]) -> None:
    assert DEPLOYMENT.warnings(change) == expected

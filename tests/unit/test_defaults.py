"""Defaults: what is filled in where nothing was said, kind by kind.

Source: kubernetes/pkg/apis/*/v1/defaults.go and the `+default` markers
"""

# ruff: noqa: E501 (a row is a line)
# fmt: off

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.kind import Context, Obj
from sampan.api.schema.decode import apply_declared_defaults, decode
from tests.validation import REGISTRY

C = {"name": "c", "image": "x:1"}
HTTP = {"httpGet": {"port": 80}}
RESOURCE = {"metadata": {"name": "a"}, "spec": {}}
DEPLOYMENT = ("apps", "v1", "deployments")
POD = ("", "v1", "pods")


def pod(container: Obj | None = None, **spec: Any) -> Obj:
    return {"metadata": {"name": "a"}, "spec": {"containers": [{**C, **(container or {})}], **spec}}


def volume(**source: Any) -> Obj:
    return pod(volumes=[{"name": "v", **source}])


def of(**spec: Any) -> Obj:
    return {"metadata": {"name": "a"}, "spec": spec}


V, K = "spec/volumes/0/", "spec/containers/0/"
ROWS: list[tuple[tuple[str, str, str], Obj, dict[str, Any]]] = [
    (POD, pod(), {"spec/dnsPolicy": "ClusterFirst", "spec/restartPolicy": "Always", "spec/securityContext": {}, "spec/terminationGracePeriodSeconds": 30, "spec/schedulerName": "default-scheduler", "spec/enableServiceLinks": True}),
    (POD, pod(serviceAccountName="s"), {"spec/serviceAccount": "s"}),
    (POD, pod(), {K + "imagePullPolicy": "IfNotPresent", K + "terminationMessagePath": "/dev/termination-log", K + "terminationMessagePolicy": "File", K + "resources": {}}),
    (POD, pod({"image": "x"}), {K + "imagePullPolicy": "Always"}),
    (POD, pod({"image": "x:latest"}), {K + "imagePullPolicy": "Always"}),
    (POD, pod({"image": "r:80/x@sha256:1"}), {K + "imagePullPolicy": "IfNotPresent"}),
    (POD, pod({"ports": [{"containerPort": 80}]}), {K + "ports/0/protocol": "TCP", K + "ports/0/hostPort": None}),
    (POD, pod({"ports": [{"containerPort": 80}]}, hostNetwork=True), {K + "ports/0/hostPort": 80}),
    (POD, pod({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}}}), {K + "resources/requests": {"cpu": "100m", "memory": "1Gi"}}),
    (POD, pod({"resources": {"limits": {"cpu": "1n"}}}), {K + "resources/limits": {"cpu": "1m"}}),
    (POD, pod({"resources": {"requests": {"cpu": "1"}}}, resources={"limits": {"cpu": "2", "memory": "1Gi"}}), {"spec/resources/requests": {"cpu": "1", "memory": "1Gi"}}),
    (POD, pod({"resources": {"limits": {"hugepages-2Mi": "2Mi", "cpu": "1"}}}, resources={}), {"spec/resources/limits": {"hugepages-2Mi": "2Mi"}}),
    (POD, pod({"livenessProbe": HTTP}), {K + "livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}}),
    (POD, pod({"livenessProbe": {"grpc": {"port": 1}}}), {K + "livenessProbe/grpc/service": ""}),
    (POD, pod({"lifecycle": {"preStop": HTTP}}), {K + "lifecycle/preStop/httpGet/path": "/"}),
    (POD, pod({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}), {K + "env/0/valueFrom/fieldRef/apiVersion": "v1"}),
    (POD, pod({"env": [{"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}}}]}), {K + "env/0/valueFrom/fileKeyRef/optional": False}),
    (POD, volume(), {V + "emptyDir": {}}),
    (POD, volume(secret={"secretName": "s"}), {V + "secret/defaultMode": 420}),
    (POD, volume(configMap={"name": "s"}), {V + "configMap/defaultMode": 420}),
    (POD, volume(downwardAPI={"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}]}), {V + "downwardAPI/defaultMode": 420, V + "downwardAPI/items/0/fieldRef/apiVersion": "v1"}),
    (POD, volume(projected={"sources": [{"serviceAccountToken": {"path": "t"}}]}), {V + "projected/defaultMode": 420, V + "projected/sources/0/serviceAccountToken/expirationSeconds": 3600}),
    (POD, volume(hostPath={"path": "/a"}), {V + "hostPath/type": ""}),
    (POD, volume(image={"reference": "x"}), {V + "image/pullPolicy": "Always"}),
    (POD, volume(ephemeral={"volumeClaimTemplate": {"spec": {}}}), {V + "ephemeral/volumeClaimTemplate/spec/volumeMode": "Filesystem"}),
    (POD, volume(azureDisk={"diskName": "d", "diskURI": "u"}), {V + "azureDisk": {"diskName": "d", "diskURI": "u", "cachingMode": "ReadWrite", "fsType": "ext4", "kind": "Shared", "readOnly": False}}),
    (POD, volume(iscsi={"targetPortal": "p", "iqn": "i", "lun": 0}), {V + "iscsi/iscsiInterface": "default"}),
    (POD, volume(rbd={"monitors": ["m"], "image": "i"}), {V + "rbd/keyring": "/etc/ceph/keyring", V + "rbd/pool": "rbd", V + "rbd/user": "admin"}),
    (POD, volume(scaleIO={"gateway": "g", "system": "s", "secretRef": {"name": "n"}}), {V + "scaleIO/fsType": "xfs", V + "scaleIO/storageMode": "ThinProvisioned"}),
    (DEPLOYMENT, of(selector={}, template=pod({"ports": [{"containerPort": 80}], "resources": {"limits": {"cpu": "1"}}}, hostNetwork=True)), {"spec/replicas": 1, "spec/strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}, "spec/revisionHistoryLimit": 10, "spec/progressDeadlineSeconds": 600, "spec/template/spec/dnsPolicy": "ClusterFirst", "spec/template/spec/enableServiceLinks": None, "spec/template/spec/containers/0/ports/0/hostPort": None, "spec/template/spec/containers/0/resources/requests": None}),
    (DEPLOYMENT, of(selector={}, template=pod(), strategy={"type": "Recreate"}), {"spec/strategy": {"type": "Recreate"}}),
    (("apps", "v1", "replicasets"), of(selector={}, template=pod()), {"spec/replicas": 1}),
    (("apps", "v1", "daemonsets"), of(selector={}, template=pod()), {"spec/updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}, "spec/revisionHistoryLimit": 10}),
    (("apps", "v1", "statefulsets"), of(selector={}, template=pod(), volumeClaimTemplates=[{}]), {"spec/podManagementPolicy": "OrderedReady", "spec/updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 1}}, "spec/persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"}, "spec/replicas": 1, "spec/revisionHistoryLimit": 10, "spec/volumeClaimTemplates/0/spec/volumeMode": "Filesystem", "spec/volumeClaimTemplates/0/status/phase": "Pending"}),
    (("apps", "v1", "statefulsets"), of(selector={}, template=pod(), updateStrategy={"rollingUpdate": {"partition": 2}}), {"spec/updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2, "maxUnavailable": 1}}}),
    (("apps", "v1", "statefulsets"), of(selector={}, template=pod(), updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}), {"spec/updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 2}}}),
    (("apps", "v1", "statefulsets"), of(selector={}, template=pod(), updateStrategy={"type": "RollingUpdate"}), {"spec/updateStrategy": {"type": "RollingUpdate"}}),
    (("apps", "v1", "statefulsets"), of(selector={}, template=pod(), updateStrategy={"type": "OnDelete"}), {"spec/updateStrategy": {"type": "OnDelete"}}),
    (("", "v1", "replicationcontrollers"), of(template={"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}), {"spec/replicas": 1, "spec/selector": {"a": "b"}, "metadata/labels": {"a": "b"}}),
    (("batch", "v1", "jobs"), of(template={"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}), {"spec/completions": 1, "spec/parallelism": 1, "spec/backoffLimit": 6, "spec/completionMode": "NonIndexed", "spec/suspend": False, "spec/podReplacementPolicy": "TerminatingOrFailed", "spec/manualSelector": False, "metadata/labels": {"a": "b"}}),
    (("batch", "v1", "jobs"), of(template=pod(), completions=2, backoffLimitPerIndex=1, podFailurePolicy={"rules": [{"action": "Ignore", "onPodConditions": [{"type": "t"}]}]}), {"spec/parallelism": 1, "spec/backoffLimit": 2147483647, "spec/podReplacementPolicy": "Failed", "spec/podFailurePolicy/rules/0/onPodConditions/0/status": "True"}),
    (("batch", "v1", "jobs"), of(template=pod(), parallelism=2), {"spec/completions": None}),
    (("batch", "v1", "cronjobs"), of(schedule="x", jobTemplate={"spec": {"template": pod()}}), {"spec/concurrencyPolicy": "Allow", "spec/suspend": False, "spec/successfulJobsHistoryLimit": 3, "spec/failedJobsHistoryLimit": 1}),
    (("", "v1", "services"), of(ports=[{"port": 80}]), {"spec/sessionAffinity": "None", "spec/type": "ClusterIP", "spec/ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}], "spec/internalTrafficPolicy": "Cluster", "spec/externalTrafficPolicy": None, "spec/allocateLoadBalancerNodePorts": None}),
    (("", "v1", "services"), of(ports=[{"port": 80}], type="LoadBalancer", sessionAffinity="ClientIP"), {"spec/sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}, "spec/externalTrafficPolicy": "Cluster", "spec/allocateLoadBalancerNodePorts": True}),
    (("", "v1", "services"), {**of(type="LoadBalancer"), "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}, {"status/loadBalancer/ingress/0/ipMode": "VIP"}),
    (("", "v1", "services"), of(externalIPs=["1.2.3.4"]), {"spec/externalTrafficPolicy": "Cluster"}),
    (("", "v1", "secrets"), {**RESOURCE, "stringData": {"a": "x"}}, {"type": "Opaque", "data": {"a": "eA=="}, "stringData": None}),
    (("", "v1", "namespaces"), RESOURCE, {"metadata/labels": {"kubernetes.io/metadata.name": "a"}}),
    (("", "v1", "nodes"), {**RESOURCE, "status": {"capacity": {"cpu": "1"}}}, {"status/allocatable": {"cpu": "1"}}),
    (("", "v1", "persistentvolumes"), of(hostPath={"path": "/a"}), {"spec/persistentVolumeReclaimPolicy": "Retain", "spec/volumeMode": "Filesystem", "spec/hostPath/type": ""}),
    (("", "v1", "persistentvolumeclaims"), RESOURCE, {"spec/volumeMode": "Filesystem", "status/phase": "Pending"}),
    (("", "v1", "endpoints"), {**RESOURCE, "subsets": [{"ports": [{"port": 80}]}]}, {"subsets/0/ports/0/protocol": "TCP"}),
    (("discovery.k8s.io", "v1", "endpointslices"), {**RESOURCE, "ports": [{"port": 80}]}, {"ports/0": {"port": 80, "name": "", "protocol": "TCP"}}),
    (("", "v1", "limitranges"), of(limits=[{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Gi"}}]), {"spec/limits/0/default": {"cpu": "2"}, "spec/limits/0/defaultRequest": {"cpu": "2", "memory": "1Gi"}}),
    (("autoscaling", "v2", "horizontalpodautoscalers"), of(behavior={"scaleUp": {}, "scaleDown": {}}), {"spec/minReplicas": 1, "spec/metrics/0/resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}, "spec/behavior/scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]}, "spec/behavior/scaleDown": {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}}),
    (("autoscaling", "v1", "horizontalpodautoscalers"), RESOURCE, {"spec/minReplicas": 1}),
    (("networking.k8s.io", "v1", "networkpolicies"), of(podSelector={}, ingress=[{"ports": [{"port": 80}]}]), {"spec/policyTypes": ["Ingress"], "spec/ingress/0/ports/0/protocol": "TCP"}),
    (("networking.k8s.io", "v1", "networkpolicies"), of(podSelector={}, egress=[{}]), {"spec/policyTypes": ["Ingress", "Egress"]}),
    (("networking.k8s.io", "v1", "ingressclasses"), of(parameters={"kind": "K", "name": "n"}), {"spec/parameters/scope": "Cluster"}),
    (("storage.k8s.io", "v1", "storageclasses"), {**RESOURCE, "spec": None}, {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}),
    (("storage.k8s.io", "v1", "csidrivers"), RESOURCE, {"spec": {"attachRequired": True, "podInfoOnMount": False, "storageCapacity": False, "fsGroupPolicy": "ReadWriteOnceWithFSType", "volumeLifecycleModes": ["Persistent"], "requiresRepublish": False, "seLinuxMount": False}}),
    (("rbac.authorization.k8s.io", "v1", "rolebindings"), {**RESOURCE, "roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s"}]}, {"roleRef/apiGroup": "rbac.authorization.k8s.io", "subjects/0/apiGroup": "rbac.authorization.k8s.io", "subjects/1/apiGroup": None}),
    (("scheduling.k8s.io", "v1", "priorityclasses"), {**RESOURCE, "value": 1}, {"preemptionPolicy": "PreemptLowerPriority"}),
    (("admissionregistration.k8s.io", "v1", "mutatingadmissionpolicies"), of(matchConstraints={"resourceRules": [{}]}), {"spec/failurePolicy": "Fail", "spec/matchConstraints/matchPolicy": "Equivalent", "spec/matchConstraints/namespaceSelector": {}, "spec/matchConstraints/objectSelector": {}, "spec/matchConstraints/resourceRules/0/scope": "*"}),
    (("apiregistration.k8s.io", "v1", "apiservices"), of(service={"namespace": "a", "name": "b"}), {"spec/service/port": 443}),
    (("flowcontrol.apiserver.k8s.io", "v1", "flowschemas"), RESOURCE, {"spec/matchingPrecedence": 1000}),
    (("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations"), of(type="Limited", limited={"limitResponse": {"type": "Queue", "queuing": {}}}), {"spec/limited": {"nominalConcurrencyShares": 30, "lendablePercent": 0, "limitResponse": {"type": "Queue", "queuing": {"queues": 64, "handSize": 8, "queueLengthLimit": 50}}}}),
    (("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations"), of(type="Exempt", exempt={}), {"spec/exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}),
    (("resource.k8s.io", "v1", "resourceclaims"), of(devices={"requests": [{"name": "r", "exactly": {"deviceClassName": "c", "tolerations": [{"key": "k"}]}}]}), {"spec/devices/requests/0/exactly": {"deviceClassName": "c", "allocationMode": "ExactCount", "count": 1, "tolerations": [{"key": "k", "operator": "Equal"}]}}),
    (("resource.k8s.io", "v1", "resourceclaimtemplates"), of(spec={"devices": {"requests": [{"name": "r", "firstAvailable": [{"name": "s", "deviceClassName": "c"}]}]}}), {"spec/spec/devices/requests/0/firstAvailable/0/count": 1}),
    (("certificates.k8s.io", "v1", "podcertificaterequests"), RESOURCE, {"spec/maxExpirationSeconds": 86400}),
]
# fmt: on


def at(obj: Any, path: str) -> Any:
    for step in path.split("/"):
        obj = obj[int(step)] if isinstance(obj, list) else (obj or {}).get(step)
    return obj


@pytest.mark.parametrize(("which", "raw", "expected"), ROWS, ids=[f"{row[0][2]}-{next(iter(row[2]))}" for row in ROWS])
def test_what_is_unset_is_filled_in(which: tuple[str, str, str], raw: Obj, expected: dict[str, Any]) -> None:
    kind = REGISTRY.get(*which)
    assert kind is not None
    obj = decode(kind.schema, {name: value for name, value in raw.items() if value is not None}, strict=None)
    apply_declared_defaults(kind.schema, obj)
    kind.default(obj)
    assert {path: at(obj, path) for path in expected} == expected


def test_taints_of_devices_are_dated() -> None:
    kind = REGISTRY.get("resource.k8s.io", "v1", "resourceslices")
    assert kind is not None
    obj: Obj = of(devices=[{"name": "d", "taints": [{"key": "a", "effect": "NoExecute"}]}])
    kind.prepare_for_create(obj, Context("2026-01-01T00:00:00Z"))
    assert obj["spec"]["devices"][0]["taints"][0]["timeAdded"] == "2026-01-01T00:00:00Z"

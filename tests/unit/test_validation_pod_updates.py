"""Pods that change: what may, and what is said of the rest."""

# ruff: noqa: E501 (a row is a line)
# fmt: off

from __future__ import annotations

import pytest

from tests.validation import GONE, Change, Valid, ids

POD = Valid("", "v1", "pods", {"spec": {"containers": [{"name": "c", "image": "x"}], "tolerations": [{"key": "a"}]}, "status": {"phase": "Running"}})

POD_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"spec/containers/0/image": "y"}, {}, []),
    ({"spec/containers/0/image": GONE}, {}, ["spec.containers[0].image: Required value", "spec.containers[0].image: Required value"]),
    ({"spec/containers/1": {"name": "d", "image": "x"}}, {}, ["spec.containers: Forbidden: pod updates may not add or remove containers"]),
    ({"spec/activeDeadlineSeconds": 5}, {}, []),
    ({"spec/activeDeadlineSeconds": 6}, {"spec/activeDeadlineSeconds": 5}, ["spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value"]),
    ({"spec/activeDeadlineSeconds": GONE}, {"spec/activeDeadlineSeconds": 5}, ['spec.activeDeadlineSeconds: Invalid value: "null": must not update from a positive integer to nil value']),
    ({"spec/tolerations": [{"key": "a"}, {"key": "b"}]}, {}, []),
    ({"spec/tolerations": []}, {}, ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"]),
    ({"spec/terminationGracePeriodSeconds": 1}, {"spec/terminationGracePeriodSeconds": -1}, []),
    ({"spec/nodeName": "n"}, {}, ["spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n@@ -11,6 +11,7 @@\n   ],\n   \"dnsPolicy\": \"ClusterFirst\",\n   \"enableServiceLinks\": true,\n+  \"nodeName\": \"n\",\n   \"restartPolicy\": \"Always\",\n   \"schedulerName\": \"default-scheduler\",\n   \"securityContext\": {},\n"]),
    ({"spec/schedulingGates": [{"name": "b"}]}, {"spec/schedulingGates": [{"name": "a"}]}, ["spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'b'"]),
    ({"spec/schedulingGates": GONE}, {"spec/schedulingGates": [{"name": "a"}]}, []),
    ({"spec/nodeSelector": {"a": "b"}}, {"spec/schedulingGates": [{"name": "a"}]}, []),
    ({"spec/nodeSelector": {"a": "c"}}, {"spec/schedulingGates": [{"name": "a"}], "spec/nodeSelector": {"a": "b"}}, ['spec.nodeSelector: Invalid value: {"a":"c"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)']),
]

@pytest.mark.parametrize(("change", "old", "expected"), POD_UPDATE_ROWS, ids=ids(POD_UPDATE_ROWS))
def test_pod_update(change: Change, old: Change, expected: list[str]) -> None:
    assert POD.update(change, old) == expected


POD_STATUS_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"status/phase": "Failed"}, {}, []),
    ({"status/nominatedNodeName": "A"}, {}, ['status.nominatedNodeName: Invalid value: "A": a lowercase RFC 1123 subdomain …']),
    ({"status/containerStatuses": [{"name": "c", "image": "x", "imageID": "", "ready": True, "restartCount": 0, "state": {"running": {}}}]}, {"spec/restartPolicy": "Never", "status/containerStatuses": [{"name": "c", "image": "x", "imageID": "", "ready": True, "restartCount": 0, "state": {"terminated": {"exitCode": 1}}}]}, ["status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"]),
    ({"status/podIP": "1.2.3.4", "status/podIPs": [{"ip": "1.2.3.4"}, {"ip": "1.2.3.5"}]}, {}, ['status.podIPs: Invalid value: [{"ip":"1.2.3.4"},{"ip":"1.2.3.5"}]: may specify no more than one IP for each IP family']),
    ({"status/podIPs": [{"ip": "a"}]}, {}, ['status.podIPs[0]: Invalid value: "a": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)']),
    ({"status/resourceClaimStatuses": [{"name": "x"}]}, {}, ['status.resourceClaimStatuses[0].name: Invalid value: "x": must match the name of an entry in `spec.resourceClaims`']),
    ({"status/qosClass": "Burstable"}, {"status/qosClass": "BestEffort"}, ['status.qosClass: Invalid value: "Burstable": field is immutable']),
]

@pytest.mark.parametrize(("change", "old", "expected"), POD_STATUS_ROWS, ids=ids(POD_STATUS_ROWS))
def test_pod_status(change: Change, old: Change, expected: list[str]) -> None:
    assert POD.status(change, old) == expected

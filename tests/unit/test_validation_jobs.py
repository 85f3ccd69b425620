"""Jobs and what makes them: what is refused, and what never changes."""

# ruff: noqa: E501 (a row is a line)
# fmt: off

from __future__ import annotations

import pytest

from tests.validation import GONE, Change, Valid, ids

JOB = Valid("batch", "v1", "jobs", {"spec": {"parallelism": 1, "completions": 1, "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}, "template": {"metadata": {"labels": {"controller-uid": "u", "job-name": "a", "batch.kubernetes.io/controller-uid": "u", "batch.kubernetes.io/job-name": "a"}}, "spec": {"containers": [{"name": "c", "image": "x"}], "restartPolicy": "Never"}}}})

JOB_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/parallelism": -1, "spec/completions": -1, "spec/activeDeadlineSeconds": -1, "spec/backoffLimit": -1, "spec/ttlSecondsAfterFinished": -1}, ["spec.parallelism: Invalid value: -1: must be greater than or equal to 0", "spec.completions: Invalid value: -1: must be greater than or equal to 0", "spec.activeDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0", "spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0", "spec.ttlSecondsAfterFinished: Invalid value: -1: must be greater than or equal to 0"]),
    ({"spec/completionMode": "x"}, ['spec.completionMode: Unsupported value: "x": supported values: "NonIndexed", "Indexed"']),
    ({"spec/completionMode": "Indexed", "spec/completions": GONE}, ["spec.completions: Required value: when completion mode is Indexed"]),
    ({"spec/completionMode": "Indexed", "spec/completions": 5, "spec/parallelism": 100001}, ["spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed"]),
    ({"spec/completionMode": "Indexed", "spec/completions": 5, "spec/parallelism": 2, "spec/maxFailedIndexes": 1}, ["spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified"]),
    ({"spec/completionMode": "Indexed", "spec/completions": 5, "spec/parallelism": 2, "spec/maxFailedIndexes": 6, "spec/backoffLimitPerIndex": 0}, ["spec.maxFailedIndexes: Invalid value: 6: must be less than or equal to completions"]),
    ({"spec/completionMode": "Indexed", "spec/completions": 100001, "spec/parallelism": 10001, "spec/backoffLimitPerIndex": 0}, ["spec.maxFailedIndexes: Required value: must be specified when completions is above 100000", "spec.parallelism: Invalid value: 10001: must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index"]),
    ({"spec/backoffLimitPerIndex": 0}, ["spec.backoffLimitPerIndex: Invalid value: 0: requires indexed completion mode"]),
    ({"spec/managedBy": "x"}, ['spec.managedBy: Invalid value: "x": must be a domain-prefixed path (such as "acme.io/foo")']),
    ({"spec/managedBy": "a.b/cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"}, ["spec.managedBy: Too long: may not be more than 63 bytes"]),
    ({"spec/template/spec/restartPolicy": "Always"}, ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"']),
    ({"spec/template/spec/restartPolicy": "x"}, ['spec.template.spec.restartPolicy: Unsupported value: "x": supported values: "Always", "OnFailure", "Never"', 'spec.template.spec.restartPolicy: Unsupported value: "x": supported values: "OnFailure", "Never"']),
    ({"spec/podReplacementPolicy": "x"}, ['spec.podReplacementPolicy: Unsupported value: "x": supported values: "Failed", "TerminatingOrFailed"']),
    ({"spec/selector": GONE}, ['spec.selector: Invalid value: "null": `selector` not auto-generated', "spec.selector: Required value", 'spec.template.metadata.labels: Invalid value: {"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"a","controller-uid":"u","job-name":"a"}: `selector` does not match template `labels`']),
    ({"spec/selector": {"matchLabels": {"x": "y"}}}, ['spec.selector: Invalid value: {"matchLabels":{"x":"y"}}: `selector` not auto-generated', 'spec.template.metadata.labels: Invalid value: {"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"a","controller-uid":"u","job-name":"a"}: `selector` does not match template `labels`']),
    ({"spec/template/metadata/labels": {"a": "b"}}, ["spec.template.metadata.labels[controller-uid]: Required value: must be 'u'", "spec.template.metadata.labels[job-name]: Required value: must be 'a'", "spec.template.metadata.labels[batch.kubernetes.io/controller-uid]: Required value: must be 'u'", "spec.template.metadata.labels[batch.kubernetes.io/job-name]: Required value: must be 'a'", 'spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`']),
    ({"spec/manualSelector": True, "spec/selector": {"matchLabels": {"x": "y"}}}, ['spec.template.metadata.labels: Invalid value: {"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"a","controller-uid":"u","job-name":"a"}: `selector` does not match template `labels`']),
    ({"spec/successPolicy": {"rules": []}}, ['spec.successPolicy: Invalid value: {"rules":[]}: requires indexed completion mode']),
    ({"spec/completionMode": "Indexed", "spec/completions": 5, "spec/parallelism": 2, "spec/successPolicy": {"rules": []}}, ["spec.successPolicy.rules: Required value: at least one rules must be specified when the successPolicy is specified"]),
    ({"spec/completionMode": "Indexed", "spec/completions": 5, "spec/parallelism": 2, "spec/successPolicy": {"rules": [{}]}}, ["spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified"]),
    ({"spec/completionMode": "Indexed", "spec/completions": 5, "spec/parallelism": 2, "spec/successPolicy": {"rules": [{"succeededIndexes": "3-1"}]}}, ['spec.successPolicy.rules[0].succeededIndexes: Invalid value: "3-1": error parsing succeededIndexes: non-increasing order, previous: 3, current: 1']),
    ({"spec/completionMode": "Indexed", "spec/completions": 5, "spec/parallelism": 2, "spec/successPolicy": {"rules": [{"succeededIndexes": "1,3-4", "succeededCount": 4}]}}, ["spec.successPolicy.rules[0].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of indexes in the specified succeededIndexes field)"]),
    ({"spec/completionMode": "Indexed", "spec/completions": 5, "spec/parallelism": 2, "spec/successPolicy": {"rules": [{"succeededCount": 6}]}}, ["spec.successPolicy.rules[0].succeededCount: Invalid value: 6: must be less than or equal to 5 (the number of specified completions)"]),
    ({"spec/completionMode": "Indexed", "spec/completions": 5, "spec/parallelism": 2, "metadata/name": "a.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}, ["spec.template.metadata.labels[job-name]: Invalid value: {\"batch.kubernetes.io/controller-uid\":\"u\",\"batch.kubernetes.io/job-name\":\"a\",\"controller-uid\":\"u\",\"job-name\":\"a\"}: must be 'a.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'", "spec.template.metadata.labels[batch.kubernetes.io/job-name]: Invalid value: {\"batch.kubernetes.io/controller-uid\":\"u\",\"batch.kubernetes.io/job-name\":\"a\",\"controller-uid\":\"u\",\"job-name\":\"a\"}: must be 'a.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'", 'metadata.name: Invalid value: "a.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb": will not able to create pod with invalid DNS label: a.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-4']),
]

@pytest.mark.parametrize(("change", "expected"), JOB_ROWS, ids=ids(JOB_ROWS))
def test_job(change: Change, expected: list[str]) -> None:
    assert JOB.errors(change) == expected


POD_FAILURE_POLICY_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/podFailurePolicy": {"rules": [{}]}}, ['spec.podFailurePolicy.rules[0].action: Required value: valid values: ["Count" "FailIndex" "FailJob" "Ignore"]', "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required"]),
    ({"spec/podFailurePolicy": {"rules": [{"action": "x", "onPodConditions": [{"type": "x", "status": "True"}]}]}}, ['spec.podFailurePolicy.rules[0].action: Unsupported value: "x": supported values: "Count", "FailIndex", "FailJob", "Ignore"']),
    ({"spec/podFailurePolicy": {"rules": [{"action": "FailIndex", "onPodConditions": [{"type": "x", "status": "True"}]}]}}, ['spec.podFailurePolicy.rules[0].action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set']),
    ({"spec/podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}], "onExitCodes": {"operator": "In", "values": [1]}}]}}, ["spec.podFailurePolicy.rules[0]: Invalid value: specifying both OnExitCodes and OnPodConditions is not supported"]),
    ({"spec/podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "containerName": "d", "values": [0, 2, 2, 1]}}]}}, ['spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: "d": must be one of the container or initContainer names in the pod template', "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator", "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 2", "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [0,2,2,1]: must be ordered"]),
    ({"spec/podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "x", "values": []}}]}}, ['spec.podFailurePolicy.rules[0].onExitCodes.operator: Unsupported value: "x": supported values: "In", "NotIn"', "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: []: at least one value is required"]),
    ({"spec/podFailurePolicy": {"rules": [{"action": "FailJob", "onPodConditions": [{"type": "a b", "status": "x"}]}]}}, ['spec.podFailurePolicy.rules[0].onPodConditions[0].type: Invalid value: "a b": name part must consist of …', 'spec.podFailurePolicy.rules[0].onPodConditions[0].status: Unsupported value: "x": supported values: "False", "True", "Unknown"']),
    ({"spec/podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}, {"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}]}}, ["spec.podFailurePolicy.rules: Too many: 21: must have at most 20 items"]),
    ({"spec/podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}]}, "spec/template/spec/restartPolicy": "OnFailure"}, ['spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when podFailurePolicy is specified']),
    ({"spec/podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}]}, "spec/podReplacementPolicy": "TerminatingOrFailed"}, ['spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed"']),
]

@pytest.mark.parametrize(("change", "expected"), POD_FAILURE_POLICY_ROWS, ids=ids(POD_FAILURE_POLICY_ROWS))
def test_pod_failure_policy(change: Change, expected: list[str]) -> None:
    assert JOB.errors(change) == expected


JOB_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"spec/parallelism": 3, "spec/suspend": True}, {}, []),
    ({"spec/completions": 3}, {}, ["spec.completions: Invalid value: 3: field is immutable"]),
    ({"spec/completions": 3, "spec/parallelism": 3}, {"spec/completionMode": "Indexed", "spec/completions": 5, "spec/parallelism": 2}, []),
    ({"spec/completions": 3}, {"spec/completionMode": "Indexed", "spec/completions": 5, "spec/parallelism": 2}, ["spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism"]),
    ({"spec/completionMode": "Indexed"}, {}, ['spec.completionMode: Invalid value: "Indexed": field is immutable']),
    ({"spec/template/spec/containers/0/image": "y"}, {}, ['spec.template: Invalid value: {"metadata":{"labels":{"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"a","controller-uid":"u","job-name":"a"}},"spec":{"containers":[{"image":"y","imagePullPolicy":"Always","name":"c","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","restartPolicy":"Never","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}: field is immutable']),
    ({"spec/template/spec/nodeSelector": {"a": "b"}}, {"spec/suspend": True}, []),
    ({"spec/template/spec/nodeSelector": {"a": "b"}}, {"spec/suspend": True, "status/startTime": "2026-01-01T00:00:00Z"}, ['spec.template: Invalid value: {"metadata":{"labels":{"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"a","controller-uid":"u","job-name":"a"}},"spec":{"containers":[{"image":"x","imagePullPolicy":"Always","name":"c","resources":{},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","nodeSelector":{"a":"b"},"restartPolicy":"Never","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}: field is immutable']),
    ({"spec/managedBy": "a.b/c"}, {}, ['spec.managedBy: Invalid value: "a.b/c": field is immutable']),
    ({"spec/selector": {"matchLabels": {"x": "y"}}}, {}, ['spec.selector: Invalid value: {"matchLabels":{"x":"y"}}: field is immutable']),
    ({"spec/podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "x", "status": "True"}]}]}}, {}, ['spec.podFailurePolicy: Invalid value: {"rules":[{"action":"Ignore","onPodConditions":[{"status":"True","type":"x"}]}]}: field is immutable']),
]

@pytest.mark.parametrize(("change", "old", "expected"), JOB_UPDATE_ROWS, ids=ids(JOB_UPDATE_ROWS))
def test_job_update(change: Change, old: Change, expected: list[str]) -> None:
    assert JOB.update(change, old) == expected


SELECTOR: Change = {"spec/template/spec/nodeSelector": {"a": "b"}}
CPU: Change = {"spec/template/spec/containers/0/resources": {"requests": {"cpu": "1"}}}
MORE: Change = {"spec/template/spec/containers/0/resources": {"requests": {"cpu": "2"}}}
INIT = {"name": "i", "image": "x"}
REST: Change = {"spec/suspend": True}
SUSPENDED = {"conditions": [{"type": "Suspended", "status": "True"}]}
RESUMED = {"conditions": [{"type": "Suspended", "status": "False"}]}
STARTED = {"startTime": "2026-01-01T00:00:00Z"}

#: what of it is immutable, if anything
TEMPLATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    (SELECTOR, {}, ["spec.template"]),
    (SELECTOR, REST, []),
    ({**SELECTOR, "spec/suspend": False}, REST, []),
    (SELECTOR, {**REST, "status": STARTED}, ["spec.template"]),
    (SELECTOR, {**REST, "status": {**STARTED, **SUSPENDED}}, []),
    (SELECTOR, {**REST, "status": {**STARTED, **RESUMED}}, ["spec.template"]),
    (SELECTOR, {**REST, "status": {**SUSPENDED, "active": 1}}, ["spec.template"]),
    (SELECTOR, {"status": SUSPENDED}, ["spec.template"]),
    ({"spec/template/spec/tolerations": [{"operator": "Exists"}]}, REST, []),
    ({"spec/template/spec/schedulingGates": [{"name": "a/b"}]}, REST, []),
    ({"spec/template/spec/affinity": {"nodeAffinity": {}}}, REST, []),
    ({"spec/template/spec/affinity": {"podAffinity": {}}}, REST, ["spec.template.spec"]),
    ({"spec/template/spec/affinity": GONE}, {**REST, "spec/template/spec/affinity": {"nodeAffinity": {}}}, []),
    ({"spec/template/spec/affinity": GONE}, {**REST, "spec/template/spec/affinity": {"podAffinity": {}}}, ["spec.template.spec"]),
    ({"spec/template/metadata/annotations": {"a": "b"}}, REST, []),
    (CPU, {}, ["spec.template"]),
    (CPU, REST, []),
    (CPU, {**REST, "status": SUSPENDED}, []),
    (CPU, {**REST, "status": {**SUSPENDED, "active": 1}}, ["spec.template"]),
    (CPU, {**REST, **MORE}, []),
    ({"spec/template/spec/containers/0/resources": GONE}, {**REST, **MORE}, []),
    ({"spec/template/spec/initContainers": [{**INIT, "resources": {"limits": {"cpu": "1"}}}]}, {**REST, "spec/template/spec/initContainers": [INIT]}, []),
    ({"spec/template/spec/initContainers": [INIT]}, REST, ["spec.template.spec"]),
    ({**CPU, "spec/template/spec/containers/0/name": "d"}, REST, ["spec.template.spec"]),
    ({**CPU, "spec/template/spec/containers/0/image": "y"}, REST, ["spec.template.spec"]),
]

@pytest.mark.parametrize(("change", "old", "expected"), TEMPLATE_ROWS, ids=ids(TEMPLATE_ROWS))
def test_the_template_of_a_suspended_job_may_be_shaped(change: Change, old: Change, expected: list[str]) -> None:
    errors = JOB.update(change, old)
    assert [error.partition(": Invalid value: ")[0] for error in errors] == expected
    assert all(error.endswith(": field is immutable") for error in errors)


NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"
INDEXED5 = {"spec/completionMode": "Indexed", "spec/completions": 5, "spec/parallelism": 1}
PER_INDEX5 = {**INDEXED5, "spec/backoffLimitPerIndex": 1}


def true(*names: str, **status: object) -> Change:
    return {"status": {"conditions": [{"type": name, "status": "True"} for name in names], **status}}


COMPLETE = true("SuccessCriteriaMet", "Complete", startTime=NOW, completionTime=NOW)
FAILED = true("FailureTarget", "Failed", startTime=NOW)
CONDITIONS = "status.conditions: Invalid value: "

JOB_STATUS_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"status": {"active": -1, "ready": -1, "terminating": -1}}, {}, ["status.active: Invalid value: -1: must be greater than or equal to 0", "status.ready: Invalid value: -1: must be greater than or equal to 0", "status.terminating: Invalid value: -1: must be greater than or equal to 0"]),
    ({"status": {"uncountedTerminatedPods": {"succeeded": ["a", "a"], "failed": ["a", ""]}}}, {}, ['status.uncountedTerminatedPods.succeeded[1]: Duplicate value: "a"', 'status.uncountedTerminatedPods.failed[0]: Duplicate value: "a"', 'status.uncountedTerminatedPods.failed[1]: Invalid value: "": must not be empty']),
    # which conditions go together
    (COMPLETE, {}, []),
    (FAILED, {}, []),
    (true("SuccessCriteriaMet"), {}, []),
    (true("Complete"), {}, ["status.completionTime: Required value: completionTime is required for Complete jobs", f"{CONDITIONS}cannot set Complete=True condition without the SuccessCriteriaMet=true condition", "status.startTime: Required value: startTime is required for finished job"]),
    (true("Failed"), {}, [f"{CONDITIONS}cannot set Failed=True condition without the FailureTarget=true condition", "status.startTime: Required value: startTime is required for finished job"]),
    (true("SuccessCriteriaMet", "Complete", "FailureTarget", startTime=NOW, completionTime=NOW), COMPLETE, [f"{CONDITIONS}cannot set Complete=True and FailureTarget=true conditions", f"{CONDITIONS}cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"]),
    (true("Complete", "FailureTarget", "Failed", startTime=NOW, completionTime=NOW), FAILED, [f"{CONDITIONS}cannot set Complete=True and Failed=true conditions", f"{CONDITIONS}cannot set Complete=True and FailureTarget=true conditions", f"{CONDITIONS}cannot set Complete=True condition without the SuccessCriteriaMet=true condition"]),
    (true("SuccessCriteriaMet", "Failed", "FailureTarget", startTime=NOW), FAILED, [f"{CONDITIONS}cannot set SuccessCriteriaMet=True and Failed=true conditions", f"{CONDITIONS}cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"]),
    (true("Complete", active=1), true("Complete"), ["status.active: Invalid value: 1: active>0 is invalid for finished job"]),
    # what has ended does not go on
    ({"status": {}}, FAILED, [f"{CONDITIONS}cannot disable the terminal Failed=True condition", f"{CONDITIONS}cannot disable the terminal FailureTarget=True condition", 'status.startTime: Invalid value: "null": field is immutable for unsuspended job once set']),
    ({"status": {}}, true("SuccessCriteriaMet", "Complete"), [f"{CONDITIONS}cannot disable the terminal Complete=True condition", f"{CONDITIONS}cannot disable the SuccessCriteriaMet=True condition"]),
    (true("Complete", "SuccessCriteriaMet", completionTime=NOW, startTime=NOW), true("Complete", completionTime=NOW, startTime=NOW), [f"{CONDITIONS}cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"]),
    (true("Complete", "SuccessCriteriaMet", startTime=NOW, completionTime=LATER), COMPLETE, ["status.completionTime: Invalid value: 2026-01-01 00:01:00 +0000 UTC: field is immutable"]),
    (true("Complete", "SuccessCriteriaMet", startTime=NOW), COMPLETE, ["status.completionTime: Required value: completionTime is required for Complete jobs"]),
    (true("Complete", "SuccessCriteriaMet", startTime=LATER, completionTime=NOW), {}, ["status.completionTime: Invalid value: 2026-01-01 00:00:00 +0000 UTC: must be equal to or after `startTime`"]),
    ({"status": {"completionTime": NOW}}, {}, ["status.completionTime: Invalid value: 2026-01-01 00:00:00 +0000 UTC: cannot set completionTime when there is no Complete=True condition"]),
    ({"status": {"completionTime": NOW, "active": 1}}, {"status": {"completionTime": NOW}}, []),
    ({"status": {"startTime": LATER}}, {"status": {"startTime": NOW}}, ["status.startTime: Invalid value: 2026-01-01 00:01:00 +0000 UTC: field is immutable for unsuspended job once set"]),
    ({"status": {}}, {"status": {"startTime": NOW}, "spec/suspend": True}, []),
    ({"status": {"startTime": LATER, "conditions": [{"type": "Suspended", "status": "False"}]}}, true("Suspended", startTime=NOW), []),
    (true("SuccessCriteriaMet", "Complete", completionTime=NOW), {"spec/suspend": True, "spec/completions": 0}, []),
    ({"status": {"failed": 1, "succeeded": 1}}, {"status": {"failed": 2, "succeeded": 2}}, ["status.failed: Invalid value: 1: cannot decrease the failed counter", "status.succeeded: Invalid value: 1: cannot decrease the succeeded counter"]),
    ({"status": {"succeeded": 1}}, {**INDEXED5, "spec/parallelism": 5, "status": {"succeeded": 2}}, []),
    # counts
    ({"status": {"active": 1, "ready": 2}}, {}, ["status.ready: Invalid value: 2: cannot set more ready pods than active"]),
    ({"status": {"active": 1, "ready": 2, "failed": 1}}, {"status": {"active": 1, "ready": 2}}, []),
    ({"status": {**FAILED["status"], "active": 1, "terminating": 1, "uncountedTerminatedPods": {"failed": ["a"]}}}, {}, ["status.active: Invalid value: 1: active>0 is invalid for finished job", 'status.uncountedTerminatedPods: Invalid value: {"failed":["a"]}: must be empty for finished job', "status.terminating: Invalid value: 1: terminating>0 is invalid for finished job"]),
    # indexes
    ({"status": {"completedIndexes": "0"}}, {"spec/completions": 5}, ['status.completedIndexes: Invalid value: "0": cannot set non-empty completedIndexes when non-indexed completion mode']),
    ({"status": {"completedIndexes": "0-1,3"}}, INDEXED5, []),
    ({"status": {"completedIndexes": "5"}}, INDEXED5, ['status.completedIndexes: Invalid value: "5": error parsing completedIndexes: too large index: "5"']),
    ({"status": {"completedIndexes": "5", "active": 1}}, {**INDEXED5, "status": {"completedIndexes": "5"}}, []),
    ({"status": {"failedIndexes": "0"}}, INDEXED5, ['status.failedIndexes: Invalid value: "0": cannot set non-null failedIndexes when backoffLimitPerIndex is null']),
    ({"status": {"failedIndexes": "a"}}, PER_INDEX5, ['status.failedIndexes: Invalid value: "a": error parsing failedIndexes: cannot convert string to integer for index: "a"']),
    ({"status": {"failedIndexes": "0,2", "completedIndexes": "x,1,2-4"}}, {**PER_INDEX5, "status": {"failedIndexes": "0,2", "completedIndexes": "x,1"}}, ['status.completedIndexes: Invalid value: "x,1,2-4": error parsing completedIndexes: cannot convert string to integer for index: "x"', 'status.failedIndexes: Invalid value: "0,2": failedIndexes and completedIndexes overlap at index: 2']),
]

@pytest.mark.parametrize(("change", "old", "expected"), JOB_STATUS_ROWS, ids=ids(JOB_STATUS_ROWS))
def test_job_status(change: Change, old: Change, expected: list[str]) -> None:
    assert JOB.status(change, old) == expected


JOB_WARNINGS_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/completionMode": "Indexed", "spec/completions": 100001, "spec/parallelism": 10001}, ["spec: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"]),
    ({"spec/template/spec/nodeSelector": {"beta.kubernetes.io/os": "x"}}, ['spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead']),
]

@pytest.mark.parametrize(("change", "expected"), JOB_WARNINGS_ROWS, ids=ids(JOB_WARNINGS_ROWS))
def test_job_warnings(change: Change, expected: list[str]) -> None:
    assert JOB.warnings(change) == expected


CRON_JOB = Valid("batch", "v1", "cronjobs", {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "x"}], "restartPolicy": "Never"}}}}}})

CRON_JOB_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/schedule": GONE}, ["spec.schedule: Required value"]),
    ({"spec/schedule": "* * * *"}, ['spec.schedule: Invalid value: "* * * *": expected exactly 5 fields, found 4: [* * * *]']),
    ({"spec/schedule": "61 * * * *"}, ['spec.schedule: Invalid value: "61 * * * *": end of range (61) above maximum (59): 61']),
    ({"spec/schedule": "@often"}, ['spec.schedule: Invalid value: "@often": unrecognized descriptor: @often']),
    ({"spec/schedule": "5-3 * * jan mon"}, ['spec.schedule: Invalid value: "5-3 * * jan mon": beginning of range (5) beyond end of range (3): 5-3']),
    ({"spec/schedule": "*/0 * * * *"}, ['spec.schedule: Invalid value: "*/0 * * * *": step of range should be a positive number: */0']),
    ({"spec/schedule": "1-2-3 * * * *"}, ['spec.schedule: Invalid value: "1-2-3 * * * *": too many hyphens: 1-2-3']),
    ({"spec/schedule": "x * * * *"}, ['spec.schedule: Invalid value: "x * * * *": failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax']),
    ({"spec/schedule": "TZ=UTC * * * * *"}, ['spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead']),
    ({"spec/schedule": "TZ=UTC * * * * *", "spec/timeZone": "UTC"}, ['spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use both timeZone field and TZ or CRON_TZ in schedule']),
    ({"spec/timeZone": ""}, ['spec.timeZone: Invalid value: "": timeZone must be nil or non-empty string']),
    ({"spec/timeZone": "Local"}, ['spec.timeZone: Invalid value: "Local": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones']),
    ({"spec/timeZone": "Mars/Base"}, ['spec.timeZone: Invalid value: "Mars/Base": unknown time zone Mars/Base']),
    ({"spec/timeZone": "../etc"}, ['spec.timeZone: Invalid value: "../etc": unknown time zone ../etc']),
    ({"spec/concurrencyPolicy": "x"}, ['spec.concurrencyPolicy: Unsupported value: "x": supported values: "Allow", "Forbid", "Replace"']),
    ({"spec/startingDeadlineSeconds": -1, "spec/successfulJobsHistoryLimit": -1, "spec/failedJobsHistoryLimit": -1}, ["spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0", "spec.successfulJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0", "spec.failedJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0"]),
    ({"spec/jobTemplate/spec/selector": {"matchLabels": {"a": "b"}}}, ['spec.jobTemplate.spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: `selector` will be auto-generated']),
    ({"spec/jobTemplate/spec/manualSelector": True}, ['spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "nil", "false"']),
    ({"spec/jobTemplate/spec/template/spec/restartPolicy": "Always"}, ['spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"']),
    ({"metadata/name": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}, ['metadata.name: Invalid value: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": must be no more than 52 characters']),
]

@pytest.mark.parametrize(("change", "expected"), CRON_JOB_ROWS, ids=ids(CRON_JOB_ROWS))
def test_cron_job(change: Change, expected: list[str]) -> None:
    assert CRON_JOB.errors(change) == expected


CRON_JOB_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"metadata/name": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}, {}, []),
    ({"spec/schedule": "TZ=UTC 1 * * * *"}, {}, ['spec.schedule: Invalid value: "TZ=UTC 1 * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead']),
    ({"spec/suspend": True}, {"spec/timeZone": "UTC"}, []),
]

@pytest.mark.parametrize(("change", "old", "expected"), CRON_JOB_UPDATE_ROWS, ids=ids(CRON_JOB_UPDATE_ROWS))
def test_cron_job_update(change: Change, old: Change, expected: list[str]) -> None:
    assert CRON_JOB.update(change, old) == expected

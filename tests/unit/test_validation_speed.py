"""Validation is a small part of a write: a typical pod of 5 KB within tens of microseconds."""

from __future__ import annotations

import json
import timeit

from sampan.api.kind import Obj
from tests.validation import Valid

ENV = [{"name": f"SETTING_{n}", "value": f"value-{n}-" + "x" * 60} for n in range(14)]
PROBE = {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 5}
CONTAINER: Obj = {
    "name": "app",
    "image": "registry.example.com/team/app:1.2.3",
    "env": [*ENV, {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
    "envFrom": [{"configMapRef": {"name": "settings"}}],
    "ports": [{"name": "http", "containerPort": 8080}],
    "livenessProbe": PROBE,
    "readinessProbe": PROBE,
    "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
    "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}, {"name": "data", "mountPath": "/data"}],
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
}
LABELS = {f"example.com/label-{n}": f"value-{n}" for n in range(5)}
NOTES = {f"example.com/note-{n}": "text " * 40 for n in range(8)}
POD = Valid(
    "",
    "v1",
    "pods",
    {
        "metadata": {"labels": LABELS, "annotations": NOTES},
        "spec": {
            "containers": [CONTAINER],
            "volumes": [{"name": "config", "configMap": {"name": "settings"}}, {"name": "data", "emptyDir": {}}],
            "serviceAccountName": "app",
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000},
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}],
        },
    },
)


def microseconds(*statements: str) -> list[float]:
    """The best of several in turn: the machine has other work."""
    given = {"kind": POD.kind, "obj": POD.object({}), "json": json}
    timers = [timeit.Timer(statement, globals=given) for statement in statements]
    rounds = [[timer.timeit(20) / 20 * 1e6 for timer in timers] for _ in range(20)]
    return [min(times) for times in zip(*rounds, strict=True)]


#: what it is measured by: reading and writing the pod with the standard library
YARDSTICK = "json.loads(json.dumps(obj))"
STATEMENTS = ("kind.validate(obj)", "kind.validate_update(obj, obj)", "kind.warnings(obj, None)")


def test_a_typical_pod_is_validated_faster_than_it_is_read() -> None:
    assert 4500 < len(json.dumps(POD.object({}))) < 6000
    yardstick, *times = microseconds(YARDSTICK, *STATEMENTS)
    # 50 us each where the yardstick takes 70
    assert max(times) < 2.5 * yardstick


if __name__ == "__main__":
    for statement, time in zip((YARDSTICK, *STATEMENTS), microseconds(YARDSTICK, *STATEMENTS), strict=True):
        print(f"{statement:32} {time:6.1f} us")

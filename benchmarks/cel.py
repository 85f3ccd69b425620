"""Figures of CEL beside their budgets: `python -m benchmarks.cel`.

Medians, in this process; run it on a quiet machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.report import Figure, run
from sampan.api import cel

RUNS = 2000
STRING, INT = {"type": "string"}, {"type": "integer"}
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "replicas": INT,
                "maxReplicas": INT,
                "image": {"type": "string", "maxLength": 256},
                "notBefore": {"type": "string", "format": "date-time"},
                "labels": {"type": "object", "additionalProperties": STRING},
                "ports": {
                    "type": "array",
                    "maxItems": 64,
                    "items": {
                        "type": "object",
                        "properties": {"name": STRING, "port": INT, "protocol": STRING, "note": STRING},
                    },
                },
            },
        }
    },
}
SIMPLE = "self.spec.replicas <= self.spec.maxReplicas"
TRANSITION = "!has(oldSelf.spec.image) || self.spec.image == oldSelf.spec.image"
REALISTIC = (
    "self.spec.replicas <= self.spec.maxReplicas && self.spec.image.matches('^[a-z0-9./-]+:[a-z0-9.-]+$') && "
    "self.spec.ports.all(p, p.port > 0 && p.port < 65536 && p.protocol in ['TCP', 'UDP', 'SCTP']) && "
    "self.spec.labels.all(k, !k.startsWith('internal.') || self.spec.labels[k] != '') && has(self.spec.notBefore)"
)
OBJECT: dict[str, Any] = {
    "apiVersion": "example.com/v1",
    "kind": "Thing",
    "metadata": {"name": "thing"},
    "spec": {
        "replicas": 3,
        "maxReplicas": 10,
        "image": "registry.example.com/team/thing:1.2.3",
        "notBefore": "2026-01-01T00:00:00Z",
        "labels": {f"example.com/label-{number}": f"value-{number}" for number in range(10)},
        "ports": [
            {"name": f"port-{number}", "port": 8000 + number, "protocol": "TCP", "note": "x" * 150}
            for number in range(20)
        ],
    },
}


def median(work: Callable[[], Any], runs: int = RUNS) -> float:
    """Microseconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def bomb(environment: cel.Environment) -> float:
    """Milliseconds until a triple loop is stopped."""
    program = environment.compile(
        "self.spec.ports.all(a, self.spec.ports.all(b, self.spec.ports.all(c, a.port + b.port + c.port > 0)))"
    )
    many = {**OBJECT, "spec": {**OBJECT["spec"], "ports": OBJECT["spec"]["ports"] * 50}}
    start = time.perf_counter()
    try:
        program.evaluate({"self": many}, cel.Budget())
    except cel.BudgetExceeded:
        return (time.perf_counter() - start) * 1000
    raise AssertionError("the bomb was not stopped")


async def measure() -> list[Figure]:
    type = cel.declare_schema(SCHEMA, root=True)
    assert type is not None
    environment = cel.Environment({"self": type, "oldSelf": type})
    values = {"self": OBJECT, "oldSelf": OBJECT}
    out: list[Figure] = []
    for what, rule, budget in (
        ("simple rule", SIMPLE, "<= 30"),
        ("transition rule", TRANSITION, "<= 30"),
        ("realistic rule, 20 ports, 5 KB", REALISTIC, "<= 200"),
    ):
        evaluate = environment.compile(rule, expect=cel.types.Bool).evaluate
        out.append((f"CEL: {what}, evaluated", median(partial(evaluate, values)), "us", budget))
        out.append((f"CEL: {what}, compiled", median(partial(environment.compile, rule), 200), "us", "<= 1,000"))
    out.append(("CEL: an expression bomb, stopped after", bomb(environment), "ms", "<= 500"))
    return out


if __name__ == "__main__":
    run(measure)

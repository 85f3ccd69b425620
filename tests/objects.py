"""Objects at random: whatever a kind's schema lets through, however little sense it makes."""

from __future__ import annotations

from random import Random
from typing import Any

from sampan.api.kind import Kind
from sampan.api.schema.nodes import Field, ListOf, MapOf, Node, Scalar, Struct

# fmt: off
TEXTS = (
    "", "a", "b", "-", "A_", "a.b", "a/b", "a/b/c", "/", "/a", "..", "%", "50%", "101%", "10.0.0.1", "010.0.0.1", "::1",
    "::ffff:1.2.3.4", "10.0.0.0/8", "10.0.0.1/8", "x" * 300, "é", "Always", "Never", "In", "Exists", "Gt", "Equal",
    "NoSchedule", "RollingUpdate", "Indexed", "Block", "LoadBalancer", "ClusterIP", "None", "Local", "Resource", "IPv4",
    "UTC", "* * * * *", "TZ=UTC 0 * * * *", "0,2-4", "AGE=", "Container", "Utilization", "runtime/default", "kubernetes.io/x",
    "linux", "windows", "unmask", "metadata.labels['a']", "limits.cpu", "hugepages-2Mi", "storage", "cpu", "memory",
)
AMOUNTS = ("0", "1", "-1", "500m", "1n", "1Gi", "1e3", "9E", "0.1")
NUMBERS = (0, 1, -1, 2, 3, 80, 600, 65535, 65536, 100001, 2**31 - 1, -(2**31))
# fmt: on


class Maker:
    """Seeded: the same objects every time."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def object(self, kind: Kind) -> dict[str, Any]:
        out = self.struct(kind.schema, 0, wanted=("spec", "status"))
        out["metadata"] = {
            "name": self.random.choice(["a", "exempt", "1.2.3.4"]),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        }
        for field in ("labels", "annotations"):
            if self.random.random() < 0.3:
                out["metadata"][field] = {self.text(): self.text() for _ in range(2)}
        if kind.names.namespaced:
            out["metadata"]["namespace"] = "default"
        out.pop("kind", None)
        out.pop("apiVersion", None)
        return out

    def text(self) -> str:
        return self.random.choice(TEXTS)

    def struct(self, struct: Struct, depth: int, wanted: tuple[str, ...] = ()) -> dict[str, Any]:
        out = {}
        share = 0.9 if depth < 2 else 0.35 if depth < 5 else 0.2
        for name, field in struct.fields.items():
            if name == "managedFields" or (depth > 7 and not isinstance(field.node, Scalar)):
                continue
            if name in wanted or self.random.random() < share * min(1, 6 / len(struct.fields)):
                out[name] = self.value(field.node, depth + 1, field)
        return out

    def value(self, node: Node, depth: int, field: Field | None = None) -> Any:
        pick = self.random.choice
        if isinstance(node, Struct):
            return self.struct(node, depth)
        if isinstance(node, ListOf):
            return [self.value(node.element, depth, field) for _ in range(pick((0, 1, 1, 2)))]
        if isinstance(node, MapOf):
            return {self.text(): self.value(node.value, depth) for _ in range(pick((0, 1, 2)))}
        if field is not None and field.enum and self.random.random() < 0.8:
            return pick(field.enum)
        match node.code:
            case "i" | "l":
                return pick(NUMBERS)
            case "b":
                return pick((True, False))
            case "B":
                return pick(("", "eA==", "LS0tLS1CRUdJTg=="))
            case "d":
                return pick((0.0, 1.5))
            case "q":
                return pick(AMOUNTS)
            case "x":
                return pick((*NUMBERS, *TEXTS))
            case "t":
                return "2026-01-01T00:00:00Z"
            case "u":
                return "2026-01-01T00:00:00.000000Z"
            case "r" | "f" | "o":
                return pick(({}, {"a": 1}))
        return self.text()

"""Objects of any kind, at random, from the facts: for what must hold of every field."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from typing import Any

from sampan.api.schema import facts
from sampan.api.schema.nodes import ListOf, MapOf, Node, Scalar, Struct

WORDS = ("a", "web", "kube-system", "grüße", "x" * 130, "80", "")
QUANTITIES = ("0", "100m", "1500m", "1Gi", "128974848", "2k")
TIMES = ("2024-02-29T12:00:00Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2106-02-07T06:28:16Z")
MICRO_TIMES = ("2024-02-29T12:00:00.123456Z", "2025-01-01T00:00:00.000000Z")
JSON: tuple[Any, ...] = ({"f:spec": {"f:a": {}}}, {"a": [1, "b", None, 1.5]}, {"kind": "X", "n": {"b": True}})


def structs() -> Iterator[tuple[str, str, Struct]]:
    """Every kind there is, with its apiVersion and name."""
    from sampan.api.registry import default_names, package_of

    for names in default_names():
        yield names.api_version, names.kind, facts.struct(package_of(names.group, names.version), names.kind)


def made(node: Node, rng: random.Random, fullness: float = 0.5, depth: int = 0) -> Any:
    """A value of that shape; fewer fields are set the deeper it is."""
    if isinstance(node, ListOf):
        return [made(node.element, rng, fullness, depth + 1) for _ in range(rng.randint(1, 2))]
    if isinstance(node, MapOf):
        keys = rng.sample(("b", "a", "é", "cpu", "a.b/c"), rng.randint(1, 3))
        return {key: made(node.value, rng, fullness, depth + 1) for key in keys}
    if isinstance(node, Scalar):
        return _scalar(node.code, rng)
    if node.package == "apiextensions_v1" and node.name.startswith("JSON"):
        return _json(node, rng, fullness, depth)
    share = fullness * 0.75**depth
    out = {}
    for field in node.fields.values():
        numbered = field.number or node.name == "GroupResource"
        if field.name in ("kind", "apiVersion") and not numbered:
            continue
        if numbered and (field.name == "metadata" or rng.random() < share):
            out[field.name] = _window(rng) if field.name == "window" else made(field.node, rng, fullness, depth + 1)
    return out


def _window(rng: random.Random) -> str:
    return rng.choice(("30s", "1m0s", "1h0m1.5s", "0s", "2ms"))


def _json(node: Struct, rng: random.Random, fullness: float, depth: int) -> Any:
    schema = facts.struct("apiextensions_v1", "JSONSchemaProps")
    if node.name == "JSON":
        return rng.choice((*JSON, "a", 1, False))
    if node.name == "JSONSchemaPropsOrBool" and rng.random() < 0.5:
        return rng.random() < 0.5
    if node.name == "JSONSchemaPropsOrStringArray" and rng.random() < 0.5:
        return ["a", "b"]
    if node.name == "JSONSchemaProps":
        kept = {name: field for name, field in schema.fields.items() if rng.random() < fullness * 0.6**depth}
        return {name: made(field.node, rng, fullness, depth + 1) for name, field in kept.items()}
    return made(schema, rng, fullness, depth + 1)


def _scalar(code: str, rng: random.Random) -> Any:
    match code:
        case "s":
            return rng.choice(WORDS)
        case "i":
            return rng.choice((0, 1, -1, 127, 128, 300, (1 << 31) - 1, -(1 << 31)))
        case "l":
            return rng.choice((0, 1, -5, 1 << 40, (1 << 63) - 1, -(1 << 63)))
        case "b":
            return rng.random() < 0.5
        case "B":
            return base64.b64encode(rng.randbytes(rng.choice((1, 2, 200)))).decode()
        case "d":
            return rng.choice((0.5, -2.25, 1e10))
        case "q":
            return rng.choice(QUANTITIES)
        case "x":
            return rng.choice(("http", 80, 0, "50%"))
        case "t":
            return rng.choice(TIMES)
        case "u":
            return rng.choice(MICRO_TIMES)
        case _:
            return rng.choice(JSON)

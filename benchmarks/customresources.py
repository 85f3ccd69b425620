"""Custom resources: a definition of 2,000 lines served, its instances created, a hundred of them in memory.

python -m benchmarks.customresources
"""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

import yaml

from benchmarks.api import Bench, Client, request, served
from benchmarks.report import Figure, few, run

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "bench.example.com"
GROUPS, FIELDS = 12, 28


def schema() -> dict[str, Any]:
    """Objects of strings, numbers, lists and maps, with the descriptions and bounds that real ones have."""
    kinds: list[dict[str, Any]] = [
        {
            "type": "string",
            "description": "What this is called, in a few words of the people who use it.",
            "maxLength": 200,
        },
        {"type": "integer", "description": "How many of these there are to be, at most.", "minimum": 0},
        {"type": "string", "enum": ["Always", "Never", "IfNotPresent"], "default": "Always"},
        {"type": "array", "items": {"type": "string", "pattern": "^[a-z0-9-]+$"}},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "boolean", "description": "Whether it is used at all.", "default": False},
    ]
    section = {
        "type": "object",
        "description": "One part of the whole.",
        "properties": {f"field{n}": kinds[n % len(kinds)] for n in range(FIELDS)},
    }
    parts = {f"part{n}": section for n in range(GROUPS)}
    spec = {"type": "object", "properties": parts}
    status = {"type": "object", "properties": {"phase": {"type": "string"}, "ready": {"type": "integer"}}}
    return {"type": "object", "properties": {"spec": spec, "status": status}}


def definition(number: int) -> dict[str, Any]:
    plural = f"things{number}"
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema()},
        "subresources": {"status": {}},
    }
    names = {"plural": plural, "kind": f"Thing{number}"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def thing(number: int, name: str) -> dict[str, Any]:
    """5 KB."""
    values: list[Any] = ["x" * 60, 3, "Never", ["some-name", "other-name", "third-name"], {"key": "value" * 8}, True]
    spec = {f"part{p}": {f"field{n}": values[n % len(values)] for n in range(FIELDS)} for p in range(4)}
    return {"apiVersion": f"{GROUP}/v1", "kind": f"Thing{number}", "metadata": {"name": name}, "spec": spec}


async def served_after(client: Client, number: int) -> float:
    """Milliseconds from sending a definition to the first list of its kind that is answered."""
    start = time.perf_counter()
    code, body = await client.send(request("POST", CRDS, definition(number)))
    assert code == 201, body
    while True:
        code, _ = await client.send(request("GET", f"/apis/{GROUP}/v1/namespaces/default/things{number}"))
        if code == 200:
            return (time.perf_counter() - start) * 1000
        assert code == 404


async def figures(bench: Bench) -> list[Figure]:
    plain = json.loads(json.dumps(definition(0)))
    lines = len(yaml.safe_dump(plain, default_flow_style=False).splitlines())
    size = len(json.dumps(thing(0, "x"), separators=(",", ":")))
    client = await bench.connect()
    before = bench.memory()
    times = [await served_after(client, number) for number in range(100)]
    out: list[Figure] = [(f"CRD of {lines:,} lines: created to served", statistics.median(times), "ms", "<= 300")]
    out.append(("  the slowest of 100", max(times), "ms", "-"))
    out.append(("100 such CRDs: memory", bench.memory() - before, "MB", "<= 150"))
    path = f"/apis/{GROUP}/v1/namespaces/default/things0"
    what = f"instances of {size / 1024:.1f} KB created, durable, 16 connections"
    out += await bench.figures(what, lambda n: request("POST", path, thing(0, f"t{n}")), few(4000), ">= 1,000")
    page = request("GET", f"{path}?limit=500")
    out.append(("LIST a page of 500 of them", await bench.median_ms(page), "ms", "<= 5"))
    for number in range(100):
        await client.send(request("POST", f"/apis/{GROUP}/v1/namespaces/default/things{number}", thing(number, "one")))
    out.append(("100 such CRDs in use: memory", bench.memory() - before, "MB", "-"))
    out.append(
        ("OpenAPI v3 of the group", await bench.median_ms(request("GET", f"/openapi/v3/apis/{GROUP}/v1")), "ms", "-")
    )
    return out


async def measure() -> list[Figure]:
    async with served() as bench:
        return await figures(bench)


if __name__ == "__main__":
    run(measure)

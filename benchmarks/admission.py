"""Pods through admission: `python -m benchmarks.admission`.

The server as `sampan up` makes it, over TLS, durable store, 16 connections. The budget is for the plugins that are on by
default; the other figures are what a namespace pays for its LimitRange, its quota, or for being restricted.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.api import Bench, pod, request

RUNS, PODS = 3, 2000
SECURE = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
LIMITS = {"limits": [{"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "100m"}}]}
QUOTA = {"hard": {"pods": "1000000", "requests.cpu": "1000000"}}


def body(name: str) -> dict[str, Any]:
    made = pod(name)
    container = made["spec"]["containers"][0]
    container["securityContext"] = SECURE
    container["resources"] = {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}}
    return made


async def prepare(bench: Bench, namespace: str, *things: tuple[str, dict[str, Any]], **labels: str) -> None:
    client = await bench.connect()
    path = "/api/v1/namespaces"
    meta = {"name": namespace, "labels": {f"pod-security.kubernetes.io/{key}": level for key, level in labels.items()}}
    for where, made in (
        (path, {"metadata": meta}),
        *((f"{path}/{namespace}/{resource}", {"metadata": {"name": "x"}, "spec": spec}) for resource, spec in things),
    ):
        code, reply = await client.send(request("POST", where, made))
        assert code == 201, reply
    client.writer.close()


async def measure() -> list[tuple[str, float, str, str]]:
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory))
        bench.port = int(json.loads(bench.run("up", "-o", "json"))["server"].rpartition(":")[2])
        try:
            return await figures(bench)
        finally:
            bench.run("down")


async def figures(bench: Bench) -> list[tuple[str, float, str, str]]:
    await prepare(bench, "plain")
    await prepare(bench, "limited", ("limitranges", LIMITS))
    await prepare(bench, "restricted", enforce="restricted", warn="restricted")
    await prepare(bench, "quota", ("resourcequotas", QUOTA))
    out = []
    for namespace, budget in (("plain", ">= 1,500"), ("limited", "-"), ("restricted", "-"), ("quota", "-")):
        path = f"/api/v1/namespaces/{namespace}/pods"
        rates = []
        for run in range(RUNS):
            made = [request("POST", path, body(f"p{run}-{number}")) for number in range(PODS)]
            rates.append(await bench.rate(made.__getitem__, PODS))
        what = f"create Pod 5 KB through default admission, {namespace}"
        out.append((what, statistics.median(rates), "/s", budget))
    return out


if __name__ == "__main__":
    for what, figure, unit, budget in asyncio.run(measure()):
        print(f"{what:58} {figure:12,.1f} {unit:6} budget {budget}")

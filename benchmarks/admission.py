"""Pods through admission: `python -m benchmarks.admission`.

The server by itself, over TLS, durable store, 16 connections. The budget is for the plugins that are on by
default; the other figures are what a namespace pays for its LimitRange, its quota, or for being restricted.
"""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.api import Bench, pod, request, served
from benchmarks.report import Figure, few, run

RUNS, PODS = few(3), few(2000)
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
    client.transport.close()


async def measure() -> list[Figure]:
    async with served() as bench:
        return await figures(bench)


async def figures(bench: Bench) -> list[Figure]:
    await prepare(bench, "plain")
    await prepare(bench, "limited", ("limitranges", LIMITS))
    await prepare(bench, "restricted", enforce="restricted", warn="restricted")
    await prepare(bench, "quota", ("resourcequotas", QUOTA))
    out: list[Figure] = []
    for namespace, budget in (("plain", ">= 1,500"), ("limited", "-"), ("restricted", "-"), ("quota", "-")):
        path = f"/api/v1/namespaces/{namespace}/pods"
        rates, before = [], bench.cpu()
        for number in range(RUNS):
            made = [request("POST", path, body(f"p{number}-{index}")) for index in range(PODS)]
            rates.append(await bench.rate(made.__getitem__, PODS))
        each = (bench.cpu() - before) / (RUNS * PODS) * 1e6
        what = f"create Pod 5 KB through default admission, {namespace}"
        out.append((what, statistics.median(rates), "/s", budget))
        out.append(("  processor time of the server for each", each, "us", "-"))
    return out


if __name__ == "__main__":
    run(measure)

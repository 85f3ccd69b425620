"""What several controllers ask of nodes: conditions, taints, zones; and how taints are changed.

Source: kubernetes/pkg/controller/util/node/controller_utils.go, pkg/util/taints
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sampan.api.times import parse_time
from sampan.client import Client

Obj = dict[str, Any]
REGION, ZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"


def condition(node: Obj, kind: str) -> Obj | None:
    """A status condition by its type."""
    return next((c for c in (node.get("status") or {}).get("conditions") or () if c.get("type") == kind), None)


def taints(node: Obj) -> list[Obj]:
    return (node.get("spec") or {}).get("taints") or []


def zone_of(node: Obj) -> str:
    labels = node["metadata"].get("labels") or {}
    region, zone = labels.get(REGION, ""), labels.get(ZONE, "")
    return f"{region}:\0:{zone}" if region or zone else ""


def reference_to(name: str, uid: str) -> Obj:
    """What events about a node refer to."""
    return {"kind": "Node", "name": name, "uid": uid, "apiVersion": "v1"}


def epoch(text: str | None) -> float:
    """An API time in seconds since the epoch; 0 where there is none."""
    return parse_time(text) if text else 0.0


async def change_taints(client: Client, node: Obj, change: Callable[[list[Obj]], list[Obj]]) -> bool:
    """Replace a node's taints by what `change` makes of them, unless that is what they are. Conflicts are raised: the
    caller looks again."""
    before = taints(node)
    after = change(before)
    if after == before:
        return False
    meta = {"resourceVersion": node["metadata"]["resourceVersion"]}
    await client.patch("nodes", node["metadata"]["name"], {"metadata": meta, "spec": {"taints": after or None}})
    return True

"""NodeVolumeLimits: a CSI driver can attach so many volumes to a node, says its CSINode.

Source: plugins/nodevolumelimits/csi.go
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sampan.scheduler import changes
from sampan.scheduler.changes import ADD, ASSIGNED_POD, DELETE, UPDATE, Change, Hint
from sampan.scheduler.framework import Codes, Cycle, Plugin
from sampan.scheduler.plugins.volume_binding import claims_it
from sampan.scheduler.shape import PodInfo
from sampan.scheduler.volumes import Volumes, class_of

Obj = dict[str, Any]
EXCEEDED = "node(s) exceed max volume count"
#: driver and what tells its volumes apart
Volume = tuple[str, str]


class NodeVolumeLimits(Plugin):
    """DEVIATION: volumes of the types that were in Kubernetes itself once (awsElasticBlockStore, ...) are not counted
    for the CSI driver that took their place."""

    name = "NodeVolumeLimits"

    def __init__(self, known: Volumes) -> None:
        self.known = known

    def hints(self) -> list[Hint]:
        return [
            # one that has no CSINode has no limits
            Hint(changes.NODE, ADD),
            Hint(changes.CSI_NODE, ADD | UPDATE, self._more),
            Hint(ASSIGNED_POD, DELETE, self._had_volumes),
            Hint(changes.CLAIM, ADD, claims_it, by_shape=False),
            Hint(changes.ATTACHMENT, DELETE),
        ]

    @staticmethod
    def _more(pod: PodInfo, change: Change) -> bool:
        if change.is_new or drivers(change.new) - drivers(change.old):
            return True
        old = limits(change.old)
        return any(count > old.get(driver, -1) for driver, count in limits(change.new).items())

    @staticmethod
    def _had_volumes(pod: PodInfo, change: Change) -> bool:
        return bool(change.old.claims)

    def filter(self, cycle: Cycle) -> Codes | None:
        mine = self._volumes(cycle.pod) if cycle.pod.claims else set()
        if not mine:
            return None
        out = np.zeros(len(cycle.cluster.valid), np.int32)
        self._without_driver(cycle, sorted({driver for driver, _ in mine}), out)
        attached = self._attached()
        for record in self.known.nodes.records():
            info = cycle.cluster.nodes.get(record.key)
            node = self.known.nodes.by_key(record.key)
            if info is None or node is None:
                continue
            allowed = limits(node)
            if not any(driver in allowed for driver, _ in mine):
                continue
            there = {volume for pod in info.pods.values() if pod.claims for volume in self._volumes(pod)}
            there |= attached.get(info.name, set())
            for driver in {driver for driver, _ in mine} & allowed.keys():
                used = sum(name == driver for name, _ in there)
                new = sum(volume[0] == driver for volume in mine - there)
                if new and used + new > allowed[driver] and not out[info.slot]:
                    out[info.slot] = 1
        return out

    def _without_driver(self, cycle: Cycle, names: list[str], out: Codes) -> None:
        """Of drivers that ask for it, nodes must have them. Codes from 2 on."""
        needed = cycle.state[self.name] = [name for name in names if self._is_needed(name)]
        for info in cycle.cluster.nodes.values() if needed else ():
            node = self.known.nodes.by_key(info.name)
            there = drivers(node)
            missing = [code for code, driver in enumerate(needed, 2) if driver not in there]
            if missing:
                out[info.slot] = missing[0]

    def _is_needed(self, driver: str) -> bool:
        found = self.known.drivers.get(driver)
        return found is not None and bool((found.get("spec") or {}).get("preventPodSchedulingIfMissing"))

    def _attached(self) -> dict[str, set[Volume]]:
        """By node, whatever the pods there say: a volume stays attached for a while after its last pod."""
        out: dict[str, set[Volume]] = {}
        for item in self.known.attachments.list():
            spec = item["spec"]
            name = (spec.get("source") or {}).get("persistentVolumeName")
            volume = self.known.volumes.get(name) if name else None
            if volume is not None and volume["spec"].get("csi"):
                out.setdefault(spec["nodeName"], set()).add((spec["attacher"], volume["spec"]["csi"]["volumeHandle"]))
        return out

    def _volumes(self, pod: PodInfo) -> set[Volume]:
        out = set()
        for name in pod.claims:
            found = self._volume(pod.namespace, name)
            if found is not None:
                out.add(found)
        return out

    def _volume(self, namespace: str, name: str) -> Volume | None:
        claim = self.known.claims.get(f"{namespace}/{name}")
        if claim is None:
            return None
        bound = claim["spec"].get("volumeName")
        volume = self.known.volumes.get(bound) if bound else None
        if volume is not None:
            source = volume["spec"].get("csi")
            return (source["driver"], source["volumeHandle"]) if source else None
        # it will be made by the class's provisioner
        found = self.known.classes.get(class_of(claim))
        return (found["provisioner"], f"{namespace}/{name}") if found is not None else None

    def reasons(self, cycle: Cycle, code: int) -> tuple[str, ...]:
        return (
            EXCEEDED if code == 1 else f"{cycle.state[self.name][code - 2]} CSI driver is not installed on the node",
        )


def drivers(node: Obj | None) -> set[str]:
    """Those that a CSINode says are installed."""
    return {driver["name"] for driver in ((node or {}).get("spec") or {}).get("drivers") or ()}


def limits(node: Obj) -> dict[str, int]:
    """Of a CSINode, by driver."""
    out = {}
    for driver in (node.get("spec") or {}).get("drivers") or ():
        count = (driver.get("allocatable") or {}).get("count")
        if count is not None:
            out[driver["name"]] = count
    return out

"""What is to be done on which node for a DaemonSet: pods made where they are missing, deleted where they are too many,
exchanged where they are old.

An update takes down no more pods than `maxUnavailable`; with `maxSurge` a new pod first becomes available beside the old
one. Pure: it decides, and the controller acts.

Source: kubernetes/pkg/controller/daemon/{daemon_controller,update}.go (podsShouldBeOnNode, rollingUpdate)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import Any

from sampan.controllers.daemon_nodes import should_run, target_of
from sampan.controllers.pods import is_available, is_ready, is_terminal, phase_of

Obj = dict[str, Any]
HASH = "controller-revision-hash"


@dataclass(slots=True)
class Plan:
    """Nodes that want a pod, and pods to delete."""

    create: list[str] = field(default_factory=list)
    delete: list[Obj] = field(default_factory=list)
    #: pods that have ended, which are told of and deleted with back-off
    ended: list[tuple[Obj, str]] = field(default_factory=list)


class Look:
    """A DaemonSet, the nodes there are, and its pods by node. `hash`: of its template."""

    def __init__(self, daemon_set: Obj, nodes: list[Obj], pods: list[Obj], hash: str, now: float) -> None:
        self.set = daemon_set
        self.hash = hash
        self.now = now
        self.min_ready = daemon_set["spec"].get("minReadySeconds", 0)
        self.verdicts = {node["metadata"]["name"]: should_run(daemon_set, node) for node in nodes}
        self.desired = sum(run for run, _ in self.verdicts.values())
        self.pods: dict[str, list[Obj]] = {}
        for pod in pods:
            if is_terminal(pod) and _is_leaving(pod):
                continue  # nobody waits for one that has ended
            if target := target_of(pod):
                self.pods.setdefault(target, []).append(pod)
        rolling = daemon_set["spec"]["updateStrategy"].get("rollingUpdate") or {}
        self.unavailable = _scaled(rolling.get("maxUnavailable"), self.desired)
        self.surge = _scaled(rolling.get("maxSurge"), self.desired)
        if self.unavailable == self.surge == 0:
            self.unavailable = 1

    def is_updated(self, pod: Obj) -> bool:
        return bool((pod["metadata"].get("labels") or {}).get(HASH) == self.hash)

    def is_available(self, pod: Obj) -> bool:
        return is_available(pod, self.min_ready, self.now)

    # -- the right number on each node ---------------------------------------------------------------------------------

    def manage(self) -> Plan:
        plan = Plan()
        for node, (run, may_stay) in self.verdicts.items():
            pods = self.pods.get(node)
            if run and not pods:
                plan.create.append(node)
            elif may_stay:
                self._prune(plan, node, [pod for pod in pods or () if not _is_leaving(pod)], run)
            else:
                plan.delete += [pod for pod in pods or () if not _is_leaving(pod)]
        for node, pods in self.pods.items():
            if node not in self.verdicts:
                # never to be scheduled; what did run there is left to the garbage collector of pods
                plan.delete += [pod for pod in pods if not pod["spec"].get("nodeName") and not _is_leaving(pod)]
        return plan

    def _prune(self, plan: Plan, node: str, pods: list[Obj], run: bool) -> None:
        plan.ended += [(pod, node) for pod in pods if phase_of(pod) in ("Failed", "Succeeded")]
        running = in_order(pod for pod in pods if phase_of(pod) not in ("Failed", "Succeeded"))
        rolling = self.set["spec"]["updateStrategy"]["type"] == "RollingUpdate"
        if not (rolling and self.surge):
            plan.delete += running[1:]
            return
        if run and not pods:
            plan.create.append(node)  # what is there is on its way out
            return
        new = [pod for pod in running if self.is_updated(pod)]
        old = [pod for pod in running if not self.is_updated(pod)]
        plan.delete += [*new[1:], *old[1:]]
        if new and old and (not is_ready(old[0]) or self.is_available(new[0])):
            plan.delete.append(old[0])

    # -- update --------------------------------------------------------------------------------------------------------

    def update(self) -> Plan:
        return self._surging() if self.surge else self._replacing()

    def _pairs(self) -> list[tuple[str, Obj | None, Obj | None] | None]:
        """Of each node: itself, its new and its old pod; None: it has too many of a kind."""
        nodes = {**dict.fromkeys(node for node, (run, _) in self.verdicts.items() if run), **self.pods}
        out: list[tuple[str, Obj | None, Obj | None] | None] = []
        for node in nodes:
            pods = [pod for pod in self.pods.get(node, ()) if not _is_leaving(pod)]
            new = [pod for pod in pods if self.is_updated(pod)]
            old = [pod for pod in pods if not self.is_updated(pod)]
            fits = len(new) <= 1 and len(old) <= 1
            out.append((node, new[0] if new else None, old[0] if old else None) if fits else None)
        return out

    def _replacing(self) -> Plan:
        down = 0
        broken: list[Obj] = []
        candidates: list[Obj] = []
        for pair in self._pairs():
            _, new, old = pair or ("", None, None)
            if (new is None) == (old is None):
                down += 1
            elif new is not None:
                down += not self.is_available(new)
            elif old is not None and not self.is_available(old):
                broken.append(old)
                down += 1
            elif old is not None:
                candidates.append(old)
        return Plan(delete=[*broken, *candidates[: max(0, self.unavailable - down)]])

    def _surging(self) -> Plan:
        plan = Plan()
        surging = available = 0
        displaced: list[Obj] = []
        candidates: list[str] = []
        for pair in self._pairs():
            if pair is None:
                surging += 1
                continue
            node, new, old = pair
            counted = old or new
            available += counted is not None and self.is_available(counted)
            if old is None:
                continue
            if new is not None:
                if self.is_available(new):
                    plan.delete.append(old)
                else:
                    surging += 1
                continue
            runs, serves = self.verdicts.get(node, (False, False))[0], self.is_available(old)
            if not runs:
                (displaced if serves else plan.delete).append(old)
            elif serves:
                candidates.append(node)
            else:
                plan.create.append(node)
        # where pods are to move, the old ones stay until as many serve elsewhere
        plan.delete += displaced[: max(0, available - self.desired)]
        plan.create += candidates[: max(0, self.surge - surging)]
        return plan

    # -- status --------------------------------------------------------------------------------------------------------

    def status(self) -> Obj:
        counts = dict.fromkeys(("current", "mis", "ready", "updated", "available"), 0)
        for node, (run, _) in self.verdicts.items():
            pods = self.pods.get(node)
            if not pods:
                continue
            if not run:
                counts["mis"] += 1
                continue
            pod = in_order(pods)[0]
            counts["current"] += 1
            counts["ready"] += is_ready(pod)
            counts["available"] += self.is_available(pod)
            counts["updated"] += self.is_updated(pod)
        out = {
            "currentNumberScheduled": counts["current"],
            "numberMisscheduled": counts["mis"],
            "desiredNumberScheduled": self.desired,
            "numberReady": counts["ready"],
        }
        rest = {
            "observedGeneration": self.set["metadata"].get("generation", 0),
            "updatedNumberScheduled": counts["updated"],
            "numberAvailable": counts["available"],
            "numberUnavailable": self.desired - counts["available"],
        }
        return out | {name: count for name, count in rest.items() if count}


def in_order(pods: Any) -> list[Obj]:
    """Those on a node first, then the oldest."""

    def key(pod: Obj) -> tuple[bool, str, str]:
        meta = pod["metadata"]
        return not pod["spec"].get("nodeName"), meta["creationTimestamp"], meta["name"]

    return sorted(pods, key=key)


def _is_leaving(pod: Obj) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _scaled(value: int | str | None, total: int) -> int:
    if isinstance(value, str):
        return ceil(int(value.removesuffix("%")) * total / 100)
    return value or 0

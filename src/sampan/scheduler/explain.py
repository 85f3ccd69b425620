"""Why a pod is where it is, or is nowhere: for each node which plugin refuses it with which words and what would have to
change, or how it scores.

    found = await explain(client, "default", "web-0", clock=time.time)

The scheduler's own code answers, from what the API server says now; nothing is written. Unlike the scheduler, which stops
at the first plugin that refuses a node, this asks all of them.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sampan.client import Client, Informers
from sampan.scheduler import nominated
from sampan.scheduler.advice import advise
from sampan.scheduler.cluster import NodeInfo
from sampan.scheduler.config import Configuration
from sampan.scheduler.framework import Cycle, Refused
from sampan.scheduler.nominated import Nominator
from sampan.scheduler.profile import Profile
from sampan.scheduler.scheduler import Scheduler
from sampan.scheduler.shape import pod_info
from sampan.scheduler.words import FitError

Obj = dict[str, Any]
SYNC_SECONDS = 20.0


class CannotExplain(Exception):
    """`hint`: what to do."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Refusal:
    plugin: str
    reasons: tuple[str, ...]
    advice: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one node. `scores`: weighted, by plugin."""

    node: str
    refusals: tuple[Refusal, ...] = ()
    scores: dict[str, int] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        return not self.refusals

    @property
    def score(self) -> int:
        return sum(self.scores.values())


@dataclass(frozen=True, slots=True)
class Explanation:
    """`node`: where the pod is; it is asked about as if it were not there. `waits`: why it is not even tried. `refusal`:
    why it fits on no node whatever they are. `message`: what the scheduler would say."""

    namespace: str
    name: str
    scheduler: str
    node: str
    nominated: str
    waits: str
    refusal: str
    message: str
    verdicts: tuple[Verdict, ...]

    def as_dict(self) -> Obj:
        """For programs."""
        nodes = []
        for item in self.verdicts:
            refused = [
                {"plugin": r.plugin, "reasons": list(r.reasons), "advice": list(r.advice)} for r in item.refusals
            ]
            out: Obj = {"name": item.node, "fits": item.fits and not self.refusal}
            nodes.append(
                {**out, "refusals": refused} if refused else {**out, "score": item.score, "scores": item.scores}
            )
        found = {
            "namespace": self.namespace, "name": self.name, "scheduler": self.scheduler, "node": self.node,
            "nominatedNode": self.nominated, "waits": self.waits, "refusal": self.refusal, "message": self.message,
        }  # fmt: skip
        return {**{key: value for key, value in found.items() if value}, "nodes": nodes}


async def explain(
    client: Client,
    namespace: str,
    name: str,
    *,
    clock: Callable[[], float],
    configuration: Configuration | None = None,
) -> Explanation:
    """Raises CannotExplain, StatusError, HttpError."""
    pod = await client.get("pods", name, namespace)
    async with Informers(client, rng=random.Random(0)) as informers:
        scheduler = Scheduler(client, informers, clock=clock, rng=random.Random(0), configuration=configuration)
        informers.start()
        try:
            async with asyncio.timeout(SYNC_SECONDS):
                await informers.wait_synced()
        except TimeoutError:
            what = "the cluster's objects could not be read in time"
            raise CannotExplain(what, "you need the right to list and watch nodes, pods and what they use") from None
        return _explain(scheduler, pod)


def _explain(scheduler: Scheduler, pod: Obj) -> Explanation:
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    where = spec.get("nodeName", "")
    wanted = spec.get("schedulerName") or "default-scheduler"
    profile = scheduler.profiles.get(wanted) or next(iter(scheduler.profiles.values()))
    known = scheduler.mirror.placed.get(meta["uid"])
    if known is not None:
        scheduler.cluster.remove_pod(known)
    free = {**pod, "spec": {key: value for key, value in spec.items() if key != "nodeName"}}
    info = pod_info(free)
    cycle = Cycle(info, scheduler.cluster, scheduler.owners.selector(info))
    waits = ""
    for plugin in profile.at("pre_enqueue"):
        waits = waits or plugin.pre_enqueue(info) or ""
    if wanted not in scheduler.profiles:
        waits = waits or f"it waits for another scheduler, {wanted}"
    refusal, message, verdicts = _verdicts(profile, cycle, scheduler.nominator)
    return Explanation(
        meta["namespace"], meta["name"], profile.scheduler_name, where, status.get("nominatedNodeName", ""), waits,
        refusal, message, tuple(verdicts),
    )  # fmt: skip


def _verdicts(profile: Profile, cycle: Cycle, nominator: Nominator) -> tuple[str, str, list[Verdict]]:
    cluster = cycle.cluster
    nodes = sorted(cluster.nodes.values(), key=lambda info: info.name)
    if not nodes:
        return "", "no nodes available to schedule pods", []
    try:
        only, narrowed = profile.prefilter(cycle)
    except Refused as refused:
        error = FitError(len(cluster), refusal=refused.message)
        reason = Refusal(", ".join(refused.plugins), (refused.message,))
        return refused.message, str(error), [Verdict(info.name, (reason,)) for info in nodes]
    left, diagnosis = nominated.feasible(profile, cycle, nominator, only, narrowed)
    ahead = nominator.ahead_of(cycle.pod)
    message = "" if left.any() else str(FitError.of(cycle, diagnosis))
    slots = np.flatnonzero(left)
    scores = profile.scores_by_plugin(cycle, slots) if len(slots) else {}
    weights = {plugin.name: weight for plugin, weight in profile.scorers}
    out = []
    for info in nodes:
        refusals = _refusals(profile, cycle, info)
        if not refusals and not left[info.slot]:
            others = ahead.get(info.name, ()) if diagnosis.by[info.slot] >= 0 else ()
            kept = tuple(f"its place is kept for pod {pod.key}, which is nominated to it" for pod in others)
            refusals = [Refusal(diagnosis.plugin(info.slot), diagnosis.reasons(cycle, info.slot), kept)]
        at = int(np.searchsorted(slots, info.slot))
        mine = {} if refusals else {name: int(found[at]) * weights[name] for name, found in scores.items()}
        out.append(Verdict(info.name, tuple(refusals), mine))
    out.sort(key=lambda item: (not item.fits, -item.score, item.node))
    return "", message, out


def _refusals(profile: Profile, cycle: Cycle, info: NodeInfo) -> list[Refusal]:
    out = []
    for plugin in profile.filters:
        if plugin.local_filter:
            code = plugin.filter_one(cycle, info.slot)
        else:
            found = plugin.filter(cycle)
            code = 0 if found is None else int(found[info.slot])
        if code:
            out.append(Refusal(plugin.name, plugin.reasons(cycle, code), tuple(advise(plugin, cycle, info))))
    return out


def summary(explanation: Explanation) -> list[tuple[str, int]]:
    """What most nodes say, with the number of nodes."""
    counted = Counter(
        reason for item in explanation.verdicts for refusal in item.refusals for reason in refusal.reasons
    )
    return counted.most_common()

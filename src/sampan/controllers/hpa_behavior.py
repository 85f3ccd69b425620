"""How fast an autoscaler may act: stabilization windows, scaling policies, limits.

Pure but for what it remembers of one autoscaler: recommendations and changes of the recent past. Like upstream's, that
memory does not outlive the process.

Source: kubernetes/pkg/controller/podautoscaler/horizontal.go (normalizeDesiredReplicas...)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from typing import Any

Obj = dict[str, Any]
UP_FACTOR, UP_LEAST = 2.0, 4.0
READY = ("ReadyForNewScale", "recommended size matches current size")
UP_STABILIZED = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
DOWN_STABILIZED = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)
WITHIN = ("DesiredWithinRange", "the desired count is within the acceptable range")
TOO_MANY = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
UP_LIMIT = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
DOWN_LIMIT = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")


@dataclass(frozen=True, slots=True)
class Decision:
    """`able`, `limit`: reason and message of AbleToScale and of ScalingLimited, which is `limited`."""

    replicas: int
    able: tuple[str, str]
    limited: bool
    limit: tuple[str, str]


@dataclass(slots=True)
class History:
    """Of one autoscaler: (when, how many)."""

    recommendations: list[tuple[float, int]] = field(default_factory=list)
    ups: list[tuple[float, int]] = field(default_factory=list)
    downs: list[tuple[float, int]] = field(default_factory=list)

    def begin(self, current: int, now: float) -> None:
        if not self.recommendations:
            self.recommendations.append((now, current))

    def decide(self, current: int, wanted: int, low: int, high: int, window: float, now: float) -> Decision:
        """Without `behavior`: the highest recommendation of the window; at most twice as many, or four."""
        self.recommendations = [item for item in self.recommendations if item[0] >= now - window]
        stable = max([wanted, *(count for _, count in self.recommendations)])
        self.recommendations.append((now, wanted))
        able = DOWN_STABILIZED if stable != wanted else READY
        fastest = int(max(UP_FACTOR * current, UP_LEAST))
        most, limit = (fastest, UP_LIMIT) if high > fastest else (high, TOO_MANY)
        if stable < low:
            return Decision(low, able, True, TOO_FEW)
        if stable > most:
            return Decision(most, able, True, limit)
        return Decision(stable, able, False, WITHIN)

    def decide_by(
        self, behavior: Obj, current: int, wanted: int, low: int, high: int, window: float, now: float
    ) -> Decision:
        """By the rules of `spec.behavior`. `window`: of scaling down, where the rules have none."""
        up, down = behavior["scaleUp"], behavior["scaleDown"]
        stable = self._stabilize(current, wanted, _window(up, 0.0), _window(down, window), now)
        able = READY
        if stable != wanted:
            able = UP_STABILIZED if wanted >= current else DOWN_STABILIZED
        replicas, limit = self._limit(up, down, current, stable, low, high, now)
        return Decision(replicas, able, replicas != stable, limit)

    def _stabilize(self, current: int, wanted: int, up: float, down: float, now: float) -> int:
        lowest = highest = wanted
        for when, count in self.recommendations:
            if when > now - up:
                lowest = min(lowest, count)
            if when > now - down:
                highest = max(highest, count)
        kept = [item for item in self.recommendations if item[0] >= now - max(up, down)]
        self.recommendations = [*kept, (now, wanted)]
        return min(max(current, lowest), highest)

    def _limit(
        self, up: Obj, down: Obj, current: int, wanted: int, low: int, high: int, now: float
    ) -> tuple[int, tuple[str, str]]:
        if wanted > current:
            fastest = max(self._most(up, current, now), current)
            most, limit = (fastest, UP_LIMIT) if high > fastest else (high, TOO_MANY)
            if wanted > most:
                return most, limit
        elif wanted < current:
            fastest = min(self._least(down, current, now), current)
            least, limit = (fastest, DOWN_LIMIT) if low < fastest else (low, TOO_FEW)
            if wanted < least:
                return least, limit
        return wanted, WITHIN

    def _most(self, rules: Obj, current: int, now: float) -> int:
        chosen = _choice(rules, min, max)
        if chosen is None:
            return current
        return chosen(
            start + policy["value"]
            if policy["type"] == "Pods"
            # rounded up, since else it might never grow
            else ceil(start * (1 + policy["value"] / 100))
            for policy in rules.get("policies") or ()
            for start in [self._at_start(policy, current, now)]
        )

    def _least(self, rules: Obj, current: int, now: float) -> int:
        chosen = _choice(rules, max, min)
        if chosen is None:
            return current
        return chosen(
            start - policy["value"] if policy["type"] == "Pods" else int(start * (1 - policy["value"] / 100))
            for policy in rules.get("policies") or ()
            for start in [self._at_start(policy, current, now)]
        )

    def _at_start(self, policy: Obj, current: int, now: float) -> int:
        """How many there were when the policy's period began."""
        since = now - policy["periodSeconds"]
        added = sum(count for when, count in self.ups if when > since)
        removed = sum(count for when, count in self.downs if when > since)
        return current - added + removed

    def scaled(self, behavior: Obj | None, before: int, after: int, now: float) -> None:
        """A change that was made; only policies want to know."""
        if behavior is None:
            return
        policies = [policy for rules in behavior.values() for policy in rules.get("policies") or ()]
        longest = max((policy["periodSeconds"] for policy in policies), default=0)
        changes = self.ups if after > before else self.downs
        changes[:] = [item for item in changes if item[0] >= now - longest]
        changes.append((now, abs(after - before)))


def _window(rules: Obj, default: float) -> float:
    found = rules.get("stabilizationWindowSeconds")
    return default if found is None else float(found)


def _choice(rules: Obj, least: Callable[..., int], most: Callable[..., int]) -> Callable[..., int] | None:
    """What of several policies counts; None: there is no scaling."""
    found = rules.get("selectPolicy") or "Max"
    return None if found == "Disabled" else least if found == "Min" else most

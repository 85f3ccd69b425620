"""What people read when a pod fits nowhere, word for word upstream's.

    0/5 nodes are available: 2 node(s) had untolerated taint(s), 3 Insufficient cpu. preemption: 0/5 nodes are
    available: 2 Preemption is not helpful for scheduling, 3 No preemption victims found for incoming pod.

Source: pkg/scheduler/framework/types.go (FitError), schedule_one.go (truncateMessage)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sampan.scheduler.framework import Cycle, Diagnosis

NO_NODES = "no nodes available to schedule pods"
NOT_HELPFUL = "Preemption is not helpful for scheduling"
MAX_NOTE = 1024


def not_available(total: int, reasons: Mapping[str, int]) -> str:
    """Reasons in the order of the strings "2 reason", which puts 10 before 2."""
    counted = sorted((f"{count} {reason}" for reason, count in reasons.items()), key=lambda text: text.encode())
    said = f" {', '.join(counted)}." if counted else ""
    return f"0/{total} nodes are available:{said}"


@dataclass(slots=True)
class FitError:
    """`diagnosis`: None where a prefilter refused the pod (`refusal` says how) or one chosen node did (`reasons`).
    `plugins`: all that had a part in it."""

    total: int
    diagnosis: Diagnosis | None = None
    refusal: str = ""
    final: bool = True
    reasons: Mapping[str, int] = field(default_factory=dict)
    plugins: frozenset[str] = frozenset()
    post_filter: str = ""

    @classmethod
    def of(cls, cycle: Cycle, diagnosis: Diagnosis) -> FitError:
        plugins = frozenset(diagnosis.refusers(cycle))
        return cls(len(cycle.cluster), diagnosis, reasons=diagnosis.histogram(cycle), plugins=plugins)

    def __str__(self) -> str:
        out = not_available(self.total, self.reasons)
        if self.refusal:
            out = f"0/{self.total} nodes are available: {self.refusal}."
        return f"{out} {self.post_filter}" if self.post_filter else out


def truncated(message: str) -> str:
    """As long as the note of an event may be."""
    return (
        message
        if len(message.encode()) <= MAX_NOTE
        else message.encode()[: MAX_NOTE - 4].decode(errors="ignore") + " ..."
    )

"""What is left of a namespace being deleted, and how its conditions say so.

Source: kubernetes/pkg/controller/namespace/deletion/status_condition_utils.go
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sampan.api.times import format_time
from sampan.client import Resource

Obj = dict[str, Any]
#: type: reason and message of status False
FINE = {
    "NamespaceDeletionDiscoveryFailure": ("ResourcesDiscovered", "All resources successfully discovered"),
    "NamespaceDeletionGroupVersionParsingFailure": (
        "ParsedGroupVersions", "All legacy kube types successfully parsed",
    ),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted", "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
}  # fmt: skip


@dataclass(slots=True)
class Remaining:
    """`counts`: objects left by kind; `grace`: seconds in which pods may still end by themselves."""

    counts: dict[Resource, int] = field(default_factory=dict)
    finalizers: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    grace: float = 0.0
    discovery: Exception | None = None

    def fail(self, message: str) -> None:
        self.failed.append(message)

    @property
    def failures(self) -> str:
        return ", ".join(sorted(self.failed))

    def add(self, kind: Resource, namespace: str, objects: list[Obj], grace: float) -> None:
        self.counts[kind] = len(objects)
        held = Counter(name for item in objects for name in item["metadata"].get("finalizers") or ())
        self.finalizers.update(held)
        self.grace = max(self.grace, grace)
        if not held and not grace:
            # nothing keeps them, and yet they are there
            gvr = f"{kind.group}/{kind.version}, Resource={kind.name}"
            self.fail(f"unexpected items still remain in namespace: {namespace} for gvr: {gvr}")


def with_conditions(status: Obj, remaining: Remaining, now: float) -> Obj | None:
    """The status with what there is to say; None: it says so already."""
    bad: dict[str, tuple[str, str]] = {}
    if remaining.discovery is not None:
        bad["NamespaceDeletionDiscoveryFailure"] = ("DiscoveryFailed", str(remaining.discovery))
    if remaining.failed:
        count = len(remaining.failed)
        said = f"Failed to delete all resource types, {count} remaining: {remaining.failures}"
        bad["NamespaceDeletionContentFailure"] = ("ContentDeletionFailed", said)
    if remaining.counts:
        parts = [f"{kind.name}.{kind.group} has {n} resource instances" for kind, n in remaining.counts.items()]
        said = f"Some resources are remaining: {', '.join(sorted(parts))}"
        bad["NamespaceContentRemaining"] = ("SomeResourcesRemain", said)
    if remaining.finalizers:
        parts = [f"{name} in {n} resource instances" for name, n in remaining.finalizers.items()]
        said = f"Some content in the namespace has finalizers remaining: {', '.join(sorted(parts))}"
        bad["NamespaceFinalizersRemaining"] = ("SomeFinalizersRemain", said)
    before = {item["type"]: item for item in status.get("conditions") or ()}
    after = dict(before)
    for kind, fine in FINE.items():
        state = "True" if kind in bad else "False"
        reason, message = bad.get(kind, fine)
        old = before.get(kind)
        since = old["lastTransitionTime"] if old is not None and old["status"] == state else format_time(now)
        after[kind] = {
            "type": kind, "status": state, "lastTransitionTime": since, "reason": reason, "message": message,
        }  # fmt: skip
    return None if after == before else {**status, "conditions": list(after.values())}

"""Lease.

Source: kubernetes/pkg/registry/coordination/lease/strategy.go; printLease
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import ErrorList
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import age
from sampan.api.validation.workload import SPEC


class Lease(Kind):
    has_generation = False
    create_on_update = True
    unconditional_update = False
    columns = (NAME, Column("Holder"), AGE)

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        self.prepare_for_update(obj, {}, ctx)

    def prepare_for_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        # CoordinatedLeaderElection is off
        spec, was = obj.get("spec") or {}, old.get("spec") or {}
        for name in ("strategy", "preferredHolder"):
            if was.get(name) is None:
                spec.pop(name, None)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj.get("spec") or {}
        seconds, moved, strategy = (spec.get(name) for name in ("leaseDurationSeconds", "leaseTransitions", "strategy"))
        if seconds is not None and seconds <= 0:
            out.invalid(SPEC / "leaseDurationSeconds", seconds, "must be greater than 0")
        if moved is not None and moved < 0:
            out.invalid(SPEC / "leaseTransitions", moved, "must be greater than or equal to 0")
        if strategy is not None:
            _strategy(strategy, out)
        if spec.get("preferredHolder") and strategy is None:
            out.forbidden(SPEC / "preferredHolder", "may only be specified if `strategy` is defined")
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        return [meta["name"], (obj.get("spec") or {}).get("holderIdentity") or "", old]


def _strategy(strategy: str, out: ErrorList) -> None:
    """One of upstream's, or somebody's own, which has a domain."""
    here = SPEC / "strategy"
    if "/" in strategy:
        out.each(here, strategy, names.is_qualified_name(strategy))
    elif strategy != "OldestEmulationVersion":
        out.not_supported(here, strategy, ("OldestEmulationVersion",))

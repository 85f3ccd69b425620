"""MutatingAdmissionPolicy.

Source: kubernetes/pkg/printers/internalversion/printers.go (printMutatingAdmissionPolicy)
"""

from __future__ import annotations

from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import UNSET, age


class MutatingAdmissionPolicy(Kind):
    not_enforced = True
    columns = (NAME, Column("Mutations", "integer"), Column("ParamKind"), AGE)

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("failurePolicy", "Fail")
        match = spec.get("matchConstraints")
        if match is not None:
            match.setdefault("matchPolicy", "Equivalent")
            match.setdefault("namespaceSelector", {})
            match.setdefault("objectSelector", {})
            for rule in match.get("resourceRules") or ():
                rule.setdefault("scope", "*")

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        old = age(meta.get("creationTimestamp"), now)
        spec = obj.get("spec") or {}
        kind = spec.get("paramKind")
        shown = f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else UNSET
        return [meta["name"], len(spec.get("mutations") or ()), shown, old]

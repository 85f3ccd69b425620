"""Namespace.

Source: kubernetes/pkg/registry/core/namespace/strategy.go; printNamespace
"""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import age
from sampan.api.validation.quotas import finalizer_name

NAME_LABEL = "kubernetes.io/metadata.name"


def label(obj: Obj) -> None:
    """By its name, whatever else the label said: selectors of namespaces rely on it."""
    meta = obj["metadata"]
    if (meta.get("labels") or {}).get(NAME_LABEL) != meta["name"]:
        meta["labels"] = {**(meta.get("labels") or {}), NAME_LABEL: meta["name"]}


class Namespace(Kind):
    has_status = True
    has_generation = False
    columns = (NAME, Column("Status"), AGE)

    def default(self, obj: Obj) -> None:
        if obj["metadata"].get("name"):
            label(obj)

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        obj["status"] = {"phase": "Active"}
        finalizers = obj.setdefault("spec", {}).get("finalizers") or []
        if "kubernetes" not in finalizers:
            obj["spec"]["finalizers"] = [*finalizers, "kubernetes"]
        label(obj)

    def prepare_for_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        obj["spec"] = old.get("spec", {})
        label(obj)

    def prepare_for_status_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        label(obj)

    def validate_name(self, name: str, generate: bool) -> Sequence[str]:
        return names.is_dns1123_label(name.rstrip("-") + "a" if generate else name)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        for name in (obj.get("spec") or {}).get("finalizers") or ():
            # upstream's path has no index
            finalizer_name(name, Path("spec", "finalizers"), out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        return ErrorList()

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        phase, here = (obj.get("status") or {}).get("phase", ""), Path("status", "Phase")
        if not obj["metadata"].get("deletionTimestamp"):
            if phase != "Active":
                out.invalid(here, phase, "may only be 'Active' if `deletionTimestamp` is empty")
        elif phase != "Terminating":
            out.invalid(here, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")
        return out

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        return {"status.phase": (obj.get("status") or {}).get("phase", "")}

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        return [meta["name"], (obj.get("status") or {}).get("phase", ""), age(meta.get("creationTimestamp"), now)]

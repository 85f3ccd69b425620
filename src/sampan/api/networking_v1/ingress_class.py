"""IngressClass.

Source: kubernetes/pkg/apis/networking/v1/defaults.go; printIngressClass
"""

from __future__ import annotations

from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import NONE, age


class IngressClass(Kind):
    columns = (NAME, Column("Controller"), Column("Parameters"), AGE)

    def default(self, obj: Obj) -> None:
        parameters = (obj.get("spec") or {}).get("parameters")
        if parameters is not None and not parameters.get("scope"):
            parameters["scope"] = "Cluster"

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        if not (obj.get("spec") or {}).get("controller"):
            out.required(Path("spec", "controller"), "")
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec = obj["metadata"], obj.get("spec") or {}
        parameters = spec.get("parameters")
        shown = NONE
        if parameters:
            group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
            shown = f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"
        return [meta["name"], spec.get("controller", ""), shown, age(meta.get("creationTimestamp"), now)]

"""Endpoints.

Source: kubernetes/pkg/registry/core/endpoint/strategy.go; printEndpoints
"""

from __future__ import annotations

from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import NONE, age
from sampan.api.validation.endpoints import endpoints_warnings, subsets


class Endpoints(Kind):
    has_generation = False
    create_on_update = True
    deprecation = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    columns = (NAME, Column("Endpoints"), AGE)

    def default(self, obj: Obj) -> None:
        for subset in obj.get("subsets") or ():
            for port in subset.get("ports") or ():
                if not port.get("protocol"):
                    port["protocol"] = "TCP"

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        subsets(obj.get("subsets") or (), Path("subsets"), out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        # what is there may have been let in by less strict rules
        return ErrorList() if obj.get("subsets") == old.get("subsets") else self.validate(obj)

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        return endpoints_warnings(obj.get("subsets") or ())

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        return [meta["name"], _text(obj.get("subsets") or []), age(meta.get("creationTimestamp"), now)]


def _text(subsets: list[Obj]) -> str:
    found: list[str] = []
    nothing: list[Obj] = [{}]
    for subset in subsets:
        for port in subset.get("ports") or nothing:
            for address in subset.get("addresses") or ():
                found.append(f"{address['ip']}:{port['port']}" if port else address["ip"])
    shown = ",".join(found[:3])
    return f"{shown} + {len(found) - 3} more..." if len(found) > 3 else shown or NONE

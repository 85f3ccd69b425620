"""EndpointSlice.

Source: kubernetes/pkg/registry/discovery/endpointslice/strategy.go, pkg/apis/discovery/{v1/defaults,
validation/validation}.go; printEndpointSlice
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import UNSET, age
from sampan.api.validation.endpoints import slice_, slice_warnings
from sampan.api.validation.meta import validate_immutable

HOSTNAME = "kubernetes.io/hostname"


class EndpointSlice(Kind):
    columns = (NAME, Column("AddressType"), Column("Ports"), Column("Endpoints"), AGE)

    def default(self, obj: Obj) -> None:
        for port in obj.get("ports") or ():
            if port.get("name") is None:
                port["name"] = ""
            if not port.get("protocol"):
                port["protocol"] = "TCP"

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        _drop_topology(obj, {})

    def prepare_for_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        meta, was = obj["metadata"], old["metadata"]
        moved = obj.get("endpoints") != old.get("endpoints")
        # what is dropped then counts too
        if moved or meta.get("labels") != was.get("labels"):
            meta["generation"] = was.get("generation", 0) + 1
        if moved:
            _drop_topology(obj, old)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        slice_(obj, out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        slice_(obj, out, old)
        out.extend(validate_immutable(obj.get("addressType"), old.get("addressType"), Path("addressType")))
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        return slice_warnings(obj, new=old is None)

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        ports = [str(port["port"]) if port.get("port") is not None else "*" for port in obj.get("ports") or ()]
        addresses = [address for endpoint in obj.get("endpoints") or () for address in endpoint.get("addresses") or ()]
        return [
            meta["name"],
            obj.get("addressType", ""),
            _some(ports) if ports else UNSET,
            _some(addresses) if addresses else UNSET,
            age(meta.get("creationTimestamp"), now),
        ]


def _some(items: list[str]) -> str:
    shown = ",".join(items[:3])
    return f"{shown} + {len(items) - 3} more..." if len(items) > 3 else shown


def _drop_topology(obj: Obj, old: Obj) -> None:
    """`deprecatedTopology` is not written any more. The node that it named in a slice from before has its own field."""
    known = {(item.get("deprecatedTopology") or {}).get(HOSTNAME) for item in old.get("endpoints") or ()}
    for endpoint in obj.get("endpoints") or ():
        name = (endpoint.pop("deprecatedTopology", None) or {}).get(HOSTNAME)
        if name and name in known and endpoint.get("nodeName") is None and not names.is_dns1123_subdomain(name):
            endpoint["nodeName"] = name

"""NetworkPolicy.

Source: kubernetes/pkg/apis/networking/{v1/defaults,validation/validation}.go; printNetworkPolicy
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age, selector_text
from sampan.api.validation.meta import validate_label_selector

SPEC = Path("spec")


class NetworkPolicy(Kind):
    not_enforced = True
    columns = (NAME, Column("Pod-Selector"), AGE)

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
        for rule in [*(spec.get("ingress") or ()), *(spec.get("egress") or ())]:
            for port in rule.get("ports") or ():
                if not port.get("protocol"):
                    port["protocol"] = "TCP"

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj["spec"]
        out.extend(validate_label_selector(spec.get("podSelector"), SPEC / "podSelector"))
        for direction, side in (("ingress", "from"), ("egress", "to")):
            for index, rule in enumerate(spec.get(direction) or ()):
                here = SPEC / direction @ index
                for at, peer in enumerate(rule.get(side) or ()):
                    _peer(peer, here / side @ at, out)
        for index, kind in enumerate(spec.get("policyTypes") or ()):
            if kind not in ("Ingress", "Egress"):
                out.not_supported(SPEC / "policyTypes" @ index, kind, ("Egress", "Ingress"))
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        selector = selector_text((obj.get("spec") or {}).get("podSelector"))
        return [meta["name"], selector, age(meta.get("creationTimestamp"), now)]


def _peer(peer: Obj, path: Path, out: ErrorList) -> None:
    if not peer:
        out.required(path, "must specify a peer")
    block = peer.get("ipBlock")
    if block is not None:
        if len(peer) > 1:
            out.forbidden(path, "may not specify both ipBlock and another peer")
        for problem in names.is_cidr(block.get("cidr", "")) if block.get("cidr") else ():
            out.invalid(path / "ipBlock" / "cidr", block["cidr"], problem)
        if not block.get("cidr"):
            out.required(path / "ipBlock" / "cidr", "")
    for name in ("podSelector", "namespaceSelector"):
        out.extend(validate_label_selector(peer.get(name), path / name))

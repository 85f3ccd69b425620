"""NetworkPolicy.

Source: kubernetes/pkg/apis/networking/{v1/defaults,validation/validation}.go; printNetworkPolicy
"""

from __future__ import annotations

from collections.abc import Collection

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age, selector_text
from sampan.api.validation import ips
from sampan.api.validation.containers import port_number_or_name
from sampan.api.validation.meta import validate_label_selector
from sampan.api.validation.workload import SPEC

PROTOCOLS = ("TCP", "UDP", "SCTP")


class NetworkPolicy(Kind):
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
        return self._validate(obj, ())

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        return self._validate(obj, _cidrs(old["spec"]))

    def _validate(self, obj: Obj, old_cidrs: Collection[str]) -> ErrorList:
        out = ErrorList()
        spec = obj["spec"]
        out.extend(validate_label_selector(spec.get("podSelector"), SPEC / "podSelector"))
        for direction, side in (("ingress", "from"), ("egress", "to")):
            for index, rule in enumerate(spec.get(direction) or ()):
                here = SPEC / direction @ index
                for at, port in enumerate(rule.get("ports") or ()):
                    _port(port, here / "ports" @ at, out)
                for at, peer in enumerate(rule.get(side) or ()):
                    _peer(peer, here / side @ at, old_cidrs, out)
        types = spec.get("policyTypes") or []
        if len(types) > 2:
            out.invalid(SPEC / "policyTypes", types, "may not specify more than two policyTypes")
            return out
        for index, kind in enumerate(types):
            if kind not in ("Ingress", "Egress"):
                out.not_supported(SPEC / "policyTypes" @ index, kind, ("Ingress", "Egress"))
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        out: list[str] = []
        spec = obj["spec"]
        for direction, side in (("ingress", "from"), ("egress", "to")):
            for index, rule in enumerate(spec.get(direction) or ()):
                for at, peer in enumerate(rule.get(side) or ()):
                    block, here = peer.get("ipBlock"), SPEC / direction @ index / side @ at / "ipBlock"
                    if block is not None:
                        out += ips.cidr_warnings(here / "cidr", block.get("cidr", ""))
                        for number, text in enumerate(block.get("except") or ()):
                            out += ips.cidr_warnings(here / "except" @ number, text)
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        selector = selector_text((obj.get("spec") or {}).get("podSelector"))
        return [meta["name"], selector, age(meta.get("creationTimestamp"), now)]


def _port(port: Obj, path: Path, out: ErrorList) -> None:
    protocol, number, end = port.get("protocol"), port.get("port"), port.get("endPort")
    if protocol is not None and protocol not in PROTOCOLS:
        out.not_supported(path / "protocol", protocol, PROTOCOLS)
    if number is None:
        if end is not None:
            out.invalid(path / "endPort", end, "may not be specified when `port` is not specified")
        return
    port_number_or_name(number, path / "port", out)
    if end is None:
        return
    if isinstance(number, str):
        out.invalid(path / "endPort", end, "may not be specified when `port` is non-numeric")
        return
    if end < number:
        out.invalid(path / "endPort", end, "must be greater than or equal to `port`")
    out.each(path / "endPort", end, names.is_valid_port_num(end))


def _peer(peer: Obj, path: Path, old_cidrs: Collection[str], out: ErrorList) -> None:
    given = [name for name in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(name) is not None]
    for name in given:
        if name == "ipBlock":
            _block(peer[name], path / name, old_cidrs, out)
        else:
            out.extend(validate_label_selector(peer[name], path / name))
    if not given:
        out.required(path, "must specify a peer")
    elif "ipBlock" in given and len(given) > 1:
        out.forbidden(path, "may not specify both ipBlock and another peer")


def _cidrs(spec: Obj) -> list[str]:
    rules = (
        peer.get("ipBlock") or {}
        for direction, side in (("ingress", "from"), ("egress", "to"))
        for rule in spec.get(direction) or ()
        for peer in rule.get(side) or ()
    )
    return [text for block in rules for text in (block.get("cidr", ""), *(block.get("except") or ()))]


def _block(block: Obj, path: Path, old_cidrs: Collection[str], out: ErrorList) -> None:
    cidr = block.get("cidr", "")
    if not cidr:
        out.required(path / "cidr", "")
        return
    whole, problems = ips.parse_cidr(cidr), ips.legacy_cidr(cidr, old_cidrs)
    out.each(path / "cidr", cidr, problems)
    for index, text in enumerate(block.get("except") or ()):
        here, part = path / "except" @ index, ips.parse_cidr(text)
        out.each(here, text, ips.legacy_cidr(text, old_cidrs))
        if whole is None or part is None:
            continue
        # of one family, and smaller
        inside = part.version == whole.version and part.network_address in whole and part.prefixlen > whole.prefixlen
        if not inside:
            out.invalid(here, text, "must be a strict subset of `cidr`")

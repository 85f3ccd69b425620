"""What creation writes into a pod's spec: selectors with the pod's own labels, profiles that old annotations name.

Source: kubernetes/pkg/registry/core/pod/strategy.go (mutatePodAffinity, mutateTopologySpreadConstraints,
applyAppArmorVersionSkew), pkg/api/pod/util.go (ApparmorFieldForAnnotation)
"""

from __future__ import annotations

from sampan.api.field import ErrorList, Path
from sampan.api.kind import Context, Obj
from sampan.api.validation.pods import APP_ARMOR
from sampan.api.validation.scheduling import PREFERRED, REQUIRED
from sampan.api.validation.security import app_armor, each_container


def merge_label_keys(obj: Obj) -> None:
    """`matchLabelKeys` and `mismatchLabelKeys` become part of the selectors they stand beside."""
    spec, labels = obj["spec"], obj["metadata"].get("labels") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        affinity = (spec.get("affinity") or {}).get(kind) or {}
        for weighted in affinity.get(PREFERRED) or ():
            _merge(weighted.get("podAffinityTerm") or {}, labels)
        for term in affinity.get(REQUIRED) or ():
            _merge(term, labels)
    for constraint in spec.get("topologySpreadConstraints") or ():
        _merge(constraint, labels)


def _merge(term: Obj, labels: dict[str, str]) -> None:
    selector = term.get("labelSelector")
    if selector is None:
        return
    more = [
        {"key": key, "operator": operator, "values": [labels[key]]}
        for name, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
        for key in term.get(name) or ()
        if key in labels
    ]
    if more:
        selector["matchExpressions"] = [*(selector.get("matchExpressions") or ()), *more]


def adopt_profiles(obj: Obj, ctx: Context) -> None:
    """AppArmor's annotations become fields."""
    spec, annotations = obj["spec"], obj["metadata"].get("annotations") or {}
    if (spec.get("os") or {}).get("name") == "windows" or not any(key.startswith(APP_ARMOR) for key in annotations):
        return
    common = (spec.get("securityContext") or {}).get("appArmorProfile")
    for container, _, _ in each_container(spec):
        key = APP_ARMOR + container.get("name", "")
        if key not in annotations or (container.get("securityContext") or {}).get("appArmorProfile") is not None:
            continue
        profile = _profile(annotations[key])
        if profile is not None:
            if profile == common:
                continue
            container["securityContext"] = {**(container.get("securityContext") or {}), "appArmorProfile": profile}
        here = Path("metadata", "annotations") @ key
        ctx.warn(f'{here}: deprecated since v1.30; use the "appArmorProfile" field instead')


def _profile(text: str) -> Obj | None:
    """None where it would not be valid."""
    if text == "unconfined":
        return {"type": "Unconfined"}
    if text == "runtime/default":
        return {"type": "RuntimeDefault"}
    local, problems = text.removeprefix("localhost/"), ErrorList()
    profile = {"type": "Localhost", "localhostProfile": local}
    app_armor(profile, Path(), problems)
    return None if problems or local == text else profile

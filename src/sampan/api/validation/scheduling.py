"""Where a pod may go: node selectors, affinity, taints and tolerations, spreading, gates.

Source: kubernetes/pkg/apis/core/validation/validation.go (validateAffinity, ValidateTolerations,
validateTopologySpreadConstraints, ValidateNodeSelector, validateNodeTaints)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation.meta import validate_label_selector

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
REQUIRED, PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)
ADD_ONLY = "only additions are allowed (no mutations or deletions)"


# -- node selectors ----------------------------------------------------------------------------------------------------


def node_selector(selector: Obj, path: Path, out: ErrorList) -> None:
    terms = selector.get("nodeSelectorTerms") or []
    if not terms:
        out.required(path / "nodeSelectorTerms", "must have at least one node selector term")
    for index, term in enumerate(terms):
        node_selector_term(term, path / "nodeSelectorTerms" @ index, out)


def node_selector_term(term: Obj, path: Path, out: ErrorList, check_values: bool = True) -> None:
    for index, item in enumerate(term.get("matchExpressions") or ()):
        _expression(item, path / "matchExpressions" @ index, out, check_values)
    for index, item in enumerate(term.get("matchFields") or ()):
        _field_expression(item, path / "matchFields" @ index, out)


def _expression(item: Obj, path: Path, out: ErrorList, check_values: bool) -> None:
    operator, values, key = item.get("operator", ""), item.get("values") or (), item.get("key", "")
    if operator in ("In", "NotIn"):
        if not values:
            out.required(path / "values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            out.forbidden(path / "values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            out.required(path / "values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
    else:
        out.invalid(path / "operator", operator, "not a valid selector operator")
    if problems := names.is_qualified_name(key):
        out.each(path / "key", key, problems)
    if check_values:
        for at, value in enumerate(values):
            if problems := names.is_valid_label_value(value):
                out.each(path / "values" @ at, value, problems)


def _field_expression(item: Obj, path: Path, out: ErrorList) -> None:
    operator, values, key = item.get("operator", ""), item.get("values") or (), item.get("key", "")
    if operator in ("In", "NotIn"):
        if len(values) != 1:
            detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            out.required(path / "values", detail)
    else:
        out.invalid(path / "operator", operator, "not a valid selector operator")
    if key != "metadata.name":
        out.invalid(path / "key", key, "not a valid field selector key")
        return
    for at, value in enumerate(values):
        out.each(path / "values" @ at, value, names.is_dns1123_subdomain(value))


# -- affinity ----------------------------------------------------------------------------------------------------------


def affinity(spec: Obj, path: Path, out: ErrorList) -> None:
    node = spec.get("nodeAffinity") or {}
    if node.get(REQUIRED) is not None:
        node_selector(node[REQUIRED], path / "nodeAffinity" / REQUIRED, out)
    for index, term in enumerate(node.get(PREFERRED) or ()):
        here = path / "nodeAffinity" / PREFERRED @ index
        _weight(term, here, out)
        # an impossible label value is let through here: what is preferred need not come true
        node_selector_term(term.get("preference") or {}, here / "preference", out, check_values=False)
    for kind in ("podAffinity", "podAntiAffinity"):
        group = spec.get(kind)
        if group is None:
            continue
        for index, term in enumerate(group.get(REQUIRED) or ()):
            _pod_term(term, path / kind / REQUIRED @ index, out)
        for index, term in enumerate(group.get(PREFERRED) or ()):
            here = path / kind / PREFERRED @ index
            _weight(term, here, out)
            _pod_term(term.get("podAffinityTerm") or {}, here / "podAffinityTerm", out)


def _weight(term: Obj, path: Path, out: ErrorList) -> None:
    if not 1 <= term.get("weight", 0) <= 100:
        out.invalid(path / "weight", term.get("weight", 0), "must be in the range 1-100")


def _pod_term(term: Obj, path: Path, out: ErrorList) -> None:
    for name in ("labelSelector", "namespaceSelector"):
        if term.get(name):
            out.extend(validate_label_selector(term[name], path / name))
    for namespace in term.get("namespaces") or ():
        out.each(path / "namespace", namespace, names.is_dns1123_label(namespace))
    match, mismatch = term.get("matchLabelKeys") or (), term.get("mismatchLabelKeys") or ()
    if match or mismatch:
        _label_keys(term, match, mismatch, path, out)
    key = term.get("topologyKey", "")
    if not key:
        out.required(path / "topologyKey", "can not be empty")
    if problems := names.is_qualified_name(key):
        out.each(path / "topologyKey", key, problems)


def _label_keys(term: Obj, match: Sequence[str], mismatch: Sequence[str], path: Path, out: ErrorList) -> None:
    selector = term.get("labelSelector")
    for name, keys in (("matchLabelKeys", match), ("mismatchLabelKeys", mismatch)):
        if keys and selector is None:
            out.forbidden(path / name, "must not be specified when labelSelector is not set")
            continue
        for index, key in enumerate(keys):
            out.each(path / name @ index, key, names.is_qualified_name(key))
    if selector is not None:
        # creation has put each of these keys into the selector: there twice, it was there before
        seen = set(selector.get("matchLabels") or ())
        at = {key: index for index, key in enumerate(match)}
        for item in selector.get("matchExpressions") or ():
            key = item.get("key", "")
            if key in at and key in seen:
                out.invalid(path @ at[key], key, "exists in both matchLabelKeys and labelSelector")
            seen.add(key)
    for index, key in enumerate(match):
        if key in mismatch:
            here = path / "matchLabelKeys" @ index
            out.invalid(here, key, "exists in both matchLabelKeys and mismatchLabelKeys")


# -- taints and tolerations --------------------------------------------------------------------------------------------


def taint_effect(effect: str, path: Path, out: ErrorList) -> None:
    if effect not in EFFECTS:
        out.not_supported(path, effect, EFFECTS)


def taints(items: Sequence[Obj], path: Path, out: ErrorList) -> None:
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(items):
        here, key, effect, value = path @ index, taint.get("key", ""), taint.get("effect", ""), taint.get("value", "")
        out.each(here / "key", key, names.is_qualified_name(key))
        problems = names.is_valid_label_value(value)
        if problems:
            out.invalid(here / "value", value, ";".join(problems))
        if not effect:
            out.required(here / "effect", "")
        else:
            taint_effect(effect, here / "effect", out)
        if (key, effect) in seen:
            out.duplicate(here, taint, "taints must be unique by key and effect pair")
        seen.add((key, effect))


def tolerations(items: Sequence[Obj], path: Path, out: ErrorList) -> None:
    for index, item in enumerate(items):
        key, operator, effect = item.get("key", ""), item.get("operator", ""), item.get("effect", "")
        if key:
            if problems := names.is_qualified_name(key):
                out.each(path @ index / "key", key, problems)
        elif operator != "Exists":
            detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            out.invalid(path @ index / "operator", operator, detail)
        if effect != "NoExecute" and item.get("tolerationSeconds") is not None:
            detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            out.invalid(path @ index / "effect", effect, detail)
        _operator(operator, item.get("value", ""), path, index, out)
        if effect and effect not in EFFECTS:
            out.not_supported(path @ index / "effect", effect, EFFECTS)


def _operator(operator: str, value: str, path: Path, index: int, out: ErrorList) -> None:
    if operator == "Exists":
        if value:
            out.invalid(path @ index / "operator", value, "value must be empty when `operator` is 'Exists'")
    elif operator in ("", "Equal"):
        if problems := names.is_valid_label_value(value):
            out.invalid(path @ index / "operator", value, ";".join(problems))
    else:
        # Lt and Gt are alpha, and off
        out.not_supported(path @ index / "operator", operator, ("Equal", "Exists"))


def added_tolerations(new: Sequence[Obj], old: Sequence[Obj], path: Path, out: ErrorList) -> None:
    """An update may add tolerations, and change for how long; nothing else."""

    def bare(item: Obj) -> Obj:
        return {name: value for name, value in item.items() if name != "tolerationSeconds"}

    kept = [bare(item) for item in new]
    if any(bare(item) not in kept for item in old):
        out.forbidden(path, "existing toleration can not be modified except its tolerationSeconds")
    else:
        tolerations(new, path, out)


# -- spreading, gates --------------------------------------------------------------------------------------------------


def topology_spread(constraints: Sequence[Obj], path: Path, out: ErrorList) -> None:
    for index, item in enumerate(constraints):
        here = path @ index
        key, action, skew = item.get("topologyKey", ""), item.get("whenUnsatisfiable", ""), item.get("maxSkew", 0)
        if skew <= 0:
            out.invalid(here / "maxSkew", skew, "must be greater than zero")
        if not key:
            out.required(here / "topologyKey", "can not be empty")
        if action not in ("DoNotSchedule", "ScheduleAnyway"):
            out.not_supported(here / "whenUnsatisfiable", action, ("DoNotSchedule", "ScheduleAnyway"))
        rest = constraints[index + 1 :]
        if any((c.get("topologyKey", ""), c.get("whenUnsatisfiable", "")) == (key, action) for c in rest):
            out.duplicate(here / "{topologyKey, whenUnsatisfiable}", f"{{{key}, {action}}}")
        minimum = item.get("minDomains")
        if minimum is not None:
            if minimum <= 0:
                out.invalid(here / "minDomains", minimum, "must be greater than zero")
            if action != "DoNotSchedule":
                detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
                out.invalid(here / "minDomains", minimum, detail)
        for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if item.get(name) not in (None, "Honor", "Ignore"):
                out.not_supported(here / name, item[name], ("Honor", "Ignore"))
        if item.get("matchLabelKeys"):
            _label_keys(item, item["matchLabelKeys"], (), here, out)
        if item.get("labelSelector"):
            out.extend(validate_label_selector(item["labelSelector"], here / "labelSelector"))


def topology_selector_terms(terms: Sequence[Obj], path: Path, out: ErrorList) -> None:
    """`allowedTopologies` of a StorageClass."""
    whole: list[dict[str, set[str]]] = []
    for index, term in enumerate(terms):
        here, expressions = path @ index / "matchLabelExpressions", {}
        for at, item in enumerate(term.get("matchLabelExpressions") or ()):
            key, values, seen = item.get("key", ""), item.get("values") or (), set[str]()
            if not values:
                out.required(here @ at / "values", "")
            for which, value in enumerate(values):
                if value in seen:
                    out.duplicate(here @ at / "values" @ which, value)
                seen.add(value)
            out.each(here @ at / "key", key, names.is_qualified_name(key))
            if key in expressions:
                out.duplicate(here @ at / "key", key)
            expressions[key] = seen
        if expressions in whole:
            out.duplicate(here, "")
        whole.append(expressions)


def scheduling_gates(gates: Sequence[Obj], path: Path, out: ErrorList) -> None:
    seen: set[str] = set()
    for index, gate in enumerate(gates):
        name = gate.get("name", "")
        out.each(path @ index, name, names.is_qualified_name(name))
        if name in seen:
            out.duplicate(path @ index, name)
        seen.add(name)


# -- a gated pod's placement may be narrowed ---------------------------------------------------------------------------


def node_selector_mutation(new: dict[str, str], old: dict[str, str], path: Path, out: ErrorList) -> None:
    if any(new.get(key) != value for key, value in old.items()):
        out.invalid(path, new, "only additions to spec.nodeSelector are allowed (no mutations or deletions)")


def node_affinity_mutation(new: Obj | None, old: Obj | None, path: Path, out: ErrorList) -> None:
    before = ((old or {}).get(REQUIRED) or {}).get("nodeSelectorTerms") or []
    after = ((new or {}).get(REQUIRED) or {}).get("nodeSelectorTerms") or []
    here = path / REQUIRED / "nodeSelectorTerms"
    if before and len(before) != len(after):
        out.invalid(here, after, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")
        return
    for index, was in enumerate(before):
        if not _only_added(after[index], was):
            out.invalid(here @ index, after[index], ADD_ONLY)


def _only_added(new: Obj, old: Obj) -> bool:
    fields = ("matchExpressions", "matchFields")
    if not any(old.get(name) for name in fields):
        return not any(new.get(name) for name in fields)
    have: list[tuple[Any, Any]] = [(old.get(name) or [], new.get(name) or []) for name in fields]
    return all(now[: len(was)] == was for was, now in have)

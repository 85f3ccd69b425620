"""ResourceQuotas: what is counted, and whose.

Source: kubernetes/pkg/apis/core/validation/validation.go (ValidateResourceQuotaSpec)
"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation.meta import IMMUTABLE
from sampan.api.validation.resources import quota_resource_name, resource_quantity

_COMPUTE = frozenset({
    "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory",
})  # fmt: skip
_PODS = _COMPUTE | {"pods"}
SCOPES: dict[str, frozenset[str]] = {
    "Terminating": _PODS,
    "NotTerminating": _PODS,
    "BestEffort": frozenset({"pods"}),
    "NotBestEffort": _PODS,
    "PriorityClass": _PODS,
    "CrossNamespacePodAffinity": _PODS,
    "VolumeAttributesClass": frozenset({"persistentvolumeclaims", "requests.storage"}),
}
_EXISTS_ONLY = frozenset({
    "Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "CrossNamespacePodAffinity",
})  # fmt: skip
_MUST_EXIST = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)
_CONFLICTS = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def amounts(given: dict[str, str] | None, path: Path, out: ErrorList) -> None:
    for name, amount in sorted((given or {}).items()):
        quota_resource_name(name, path @ name, out)
        resource_quantity(name, amount, path @ name, out)


def quota_spec(spec: Obj, path: Path, out: ErrorList) -> None:
    hard = spec.get("hard") or {}
    amounts(hard, path / "hard", out)
    scopes = spec.get("scopes")
    if scopes:
        _scopes(scopes, scopes, hard, path / "scopes", out)
    selector = spec.get("scopeSelector")
    if selector is not None:
        _selector(selector, hard, path / "scopeSelector", out)


def _scopes(scopes: list[str], shown: object, hard: Iterable[str], path: Path, out: ErrorList) -> None:
    for scope in scopes:
        _scope(scope, shown, hard, path, out)
    _conflict(set(scopes), shown, path, out)


def _scope(scope: str, shown: object, hard: Iterable[str], path: Path, out: ErrorList) -> None:
    if scope not in SCOPES:
        out.invalid(path, shown, "unsupported scope")
    for name in hard:
        if scope in SCOPES and not _counts(scope, name):
            out.invalid(path, shown, "unsupported scope applied to resource")


def _counts(scope: str, name: str) -> bool:
    if scope == "VolumeAttributesClass" and ".storageclass.storage.k8s.io/" in name:
        return True
    return name in SCOPES[scope]


def _conflict(scopes: set[str], shown: object, path: Path, out: ErrorList) -> None:
    for pair in _CONFLICTS:
        if pair <= scopes:
            out.invalid(path, shown, "conflicting scopes")


def _selector(selector: Obj, hard: Iterable[str], path: Path, out: ErrorList) -> None:
    items, here = selector.get("matchExpressions") or [], path / "matchExpressions"
    for item in items:
        scope, operator, values = item.get("scopeName", ""), item.get("operator", ""), item.get("values") or []
        _scope(scope, scope, hard, here / "scopeName", out)
        if scope in _EXISTS_ONLY and operator != "Exists":
            out.invalid(here / "operator", operator, _MUST_EXIST)
        if operator in ("In", "NotIn"):
            if not values:
                detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                out.required(here / "values", detail)
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
                out.invalid(here / "values", values, detail)
        else:
            out.invalid(here / "operator", operator, "not a valid selector operator")
    _conflict({item.get("scopeName", "") for item in items}, items, path, out)


def quota_update(obj: Obj, old: Obj, out: ErrorList) -> None:
    new, was = ((item.get("spec") or {}).get("scopes") or [] for item in (obj, old))
    if set(new) != set(was):
        out.invalid(Path("spec", "scopes"), sorted(set(new)), IMMUTABLE)


# -- finalizers --------------------------------------------------------------------------------------------------------


def finalizer_name(name: str, path: Path, out: ErrorList) -> None:
    out.each(path, name, names.is_qualified_name(name))
    if "/" not in name and name not in ("kubernetes", "orphan", "foregroundDeletion"):
        out.invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified")

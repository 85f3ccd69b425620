"""LimitRanges: each amount against the others of the same item.

Source: kubernetes/pkg/apis/core/validation/validation.go (ValidateLimitRange)
"""

from __future__ import annotations

from fractions import Fraction

from sampan.api import names, quantity
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation.resources import (
    CONTAINER,
    HUGE_PAGES,
    is_native,
    may_overcommit,
    resource_name,
    resource_quantity,
)

TYPES = ("Pod", "Container", "PersistentVolumeClaim")
_KINDS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")


def limit_range(obj: Obj, out: ErrorList) -> None:
    seen: set[str] = set()
    for index, item in enumerate((obj.get("spec") or {}).get("limits") or ()):
        here, kind = Path("spec", "limits") @ index, item.get("type", "")
        _type(kind, here / "type", out)
        if kind in seen:
            out.duplicate(here / "type", kind)
        seen.add(kind)
        _item(item, kind, here, out)


def _type(kind: str, path: Path, out: ErrorList) -> None:
    problems = names.is_qualified_name(kind)
    out.each(path, kind, problems)
    if not problems and "/" not in kind and kind not in TYPES:
        out.invalid(path, kind, "must be a standard limit type or fully qualified")


def _item(item: Obj, kind: str, path: Path, out: ErrorList) -> None:
    found: set[str] = set()
    given: dict[str, dict[str, str]] = {field: item.get(field) or {} for field in _KINDS}
    for field in ("max", "min"):
        _amounts(given[field], kind, path / field, found, out)
    if kind == "Pod":
        for field in ("default", "defaultRequest"):
            if given[field]:
                out.forbidden(path / field, "may not be specified when `type` is 'Pod'")
    else:
        for field in ("default", "defaultRequest"):
            _amounts(given[field], kind, path / field, found, out)
    if kind == "PersistentVolumeClaim" and "storage" not in given["min"] and "storage" not in given["max"]:
        out.required(path / "limits", "either minimum or maximum storage value is required, but neither was provided")
    _amounts(given["maxLimitRequestRatio"], kind, path / "maxLimitRequestRatio", found, out)
    for name in sorted(found):
        _compare(name, {field: amounts.get(name) for field, amounts in given.items()}, path, out)


def _amounts(amounts: dict[str, str], kind: str, path: Path, found: set[str], out: ErrorList) -> None:
    for name, amount in sorted(amounts.items()):
        _name(name, kind, path @ name, out)
        resource_quantity(name, amount, path @ name, out)
        found.add(name)


def _name(name: str, kind: str, path: Path, out: ErrorList) -> None:
    if kind not in ("Pod", "Container"):
        resource_name(name, path, out)
        return
    problems = names.is_qualified_name(name)
    out.each(path, name, problems)
    if not problems and "/" not in name and name not in CONTAINER and not name.startswith(HUGE_PAGES):
        out.invalid(path, name, "must be a standard resource for containers")
    elif not problems and "/" in name and not is_native(name) and names.is_qualified_name("requests." + name):
        out.invalid(path, name, "doesn't follow extended resource name standard")


def _compare(name: str, given: dict[str, str | None], path: Path, out: ErrorList) -> None:
    low, high, default, request, ratio = (
        given[field] for field in ("min", "max", "default", "defaultRequest", "maxLimitRequestRatio")
    )

    def above(one: str | None, other: str | None) -> bool:
        return one is not None and other is not None and quantity.compare(one, other) > 0

    if above(low, high):
        out.invalid(path / "min" @ name, low, f"min value {low} is greater than max value {high}")
    at = path / "defaultRequest" @ name
    if above(low, request):
        out.invalid(at, request, f"min value {low} is greater than default request value {request}")
    if above(request, high):
        out.invalid(at, request, f"default request value {request} is greater than max value {high}")
    if above(request, default):
        out.invalid(at, request, f"default request value {request} is greater than default limit value {default}")
    at = path / "default" @ name
    if above(low, default):
        out.invalid(at, low, f"min value {low} is greater than default value {default}")
    if above(default, high):
        out.invalid(at, high, f"default value {default} is greater than max value {high}")
    if ratio is not None:
        _ratio(ratio, low, high, path / "maxLimitRequestRatio" @ name, out)
    if may_overcommit(name) or default is None or request is None:
        return
    if quantity.compare(default, request) != 0:
        out.invalid(at, default, f"default value {default} must equal to defaultRequest value {request} in {name}")


def _ratio(ratio: str, low: str | None, high: str | None, path: Path, out: ErrorList) -> None:
    wanted = quantity.parse(ratio)
    if wanted < 1:
        out.invalid(path, ratio, f"ratio {ratio} is less than 1")
    if low is None or high is None or quantity.parse(low) == 0:
        return
    most = Fraction(quantity.parse(high)) / Fraction(quantity.parse(low))
    if wanted > most:
        out.invalid(path, ratio, f"ratio {ratio} is greater than max/min = {float(most):f}")

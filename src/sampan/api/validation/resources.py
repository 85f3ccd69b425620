"""Amounts of compute: which resource names there are, and what requests and limits may say.

Source: kubernetes/pkg/apis/core/validation/validation.go (validateResourceRequirements and around it),
pkg/apis/core/helper/helpers.go
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from math import ceil

from sampan.api import names, quantity
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj

NEGATIVE = "must be greater than or equal to 0"
HUGE_PAGES = "hugepages-"
CONTAINER = frozenset({"cpu", "memory", "ephemeral-storage"})
_COMPUTE = frozenset({"cpu", "memory"})
OBJECTS = frozenset({
    "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps", "persistentvolumeclaims",
    "services.nodeports", "services.loadbalancers",
})  # fmt: skip
_QUOTA = CONTAINER | OBJECTS | {
    "requests.cpu", "requests.memory", "requests.storage", "requests.ephemeral-storage", "limits.cpu", "limits.memory",
    "limits.ephemeral-storage",
}  # fmt: skip
_STANDARD = _QUOTA | {"storage"}
#: the same few pairs come again and again
_compare = functools.lru_cache(maxsize=4096)(quantity.compare)
NameCheck = Callable[[str, Path, ErrorList], None]


def is_native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    if is_native(name) or name.startswith("requests."):
        return False
    return not names.is_qualified_name("requests." + name)


def is_standard_for_quota(name: str) -> bool:
    return name in _QUOTA or name.startswith((HUGE_PAGES, "requests." + HUGE_PAGES))


def may_overcommit(name: str) -> bool:
    return is_native(name) and not name.startswith(HUGE_PAGES)


def value_of(amount: str | int | float) -> int:
    """Whole units, rounded up, as Go's `Quantity.Value`."""
    return ceil(quantity.parse(amount))


def resource_name(name: str, path: Path, out: ErrorList) -> None:
    problems = names.is_qualified_name(name)
    if problems:
        out.each(path, name, problems)
    elif "/" not in name and name not in _STANDARD and not name.startswith((HUGE_PAGES, "requests." + HUGE_PAGES)):
        out.invalid(path, name, "must be a standard resource type or fully qualified")


def container_resource_name(name: str, path: Path, out: ErrorList) -> None:
    if name in CONTAINER:
        return
    resource_name(name, path, out)
    if "/" not in name:
        if not name.startswith(HUGE_PAGES):
            out.invalid(path, name, "must be a standard resource for containers")
    elif not is_native(name) and not is_extended(name):
        out.invalid(path, name, "doesn't follow extended resource name standard")


def pod_resource_name(name: str, path: Path, out: ErrorList) -> None:
    before = len(out)
    resource_name(name, path, out)
    if len(out) == before and name not in ("cpu", "memory") and not name.startswith(HUGE_PAGES):
        out.not_supported(path, name, ("cpu", "memory"))


def quota_resource_name(name: str, path: Path, out: ErrorList) -> None:
    resource_name(name, path, out)
    if "/" not in name and not is_standard_for_quota(name):
        out.invalid(path, name, "must be a standard resource for quota")


def resource_quantity(name: str, amount: str, path: Path, out: ErrorList) -> None:
    """Not negative; whole, where it counts things."""
    value = quantity.parse(amount)
    if value < 0:
        out.invalid(path, amount, NEGATIVE)
    if value.denominator != 1 and (name in OBJECTS or is_extended(name)):
        out.invalid(path, amount, "must be an integer")


def nonnegative_quantity(amount: str, path: Path, out: ErrorList) -> None:
    if quantity.parse(amount) < 0:
        out.invalid(path, amount, NEGATIVE)


def positive_quantity(amount: str, path: Path, out: ErrorList) -> None:
    if quantity.parse(amount) <= 0:
        out.invalid(path, amount, "must be greater than zero")


def basic_resource(amount: str, path: Path, out: ErrorList) -> None:
    if value_of(amount) < 0:
        out.invalid(path, value_of(amount), "must be a valid resource quantity")


def _huge_page(name: str, amount: str, path: Path, out: ErrorList) -> None:
    try:
        size = quantity.parse(name[len(HUGE_PAGES) :])
    except ValueError:
        size = quantity.parse(0)
    if size <= 0 or size.denominator != 1 or value_of(amount) % int(size):
        out.invalid(path, amount, f"{amount} is not positive integer multiple of {name}")


def resource_requirements(
    requirements: Obj,
    path: Path,
    out: ErrorList,
    claims: Iterable[str] = (),
    check: NameCheck = container_resource_name,
) -> None:
    """`requests` and `limits`, each by itself and against the other; `claims` are the pod's."""
    limits: Mapping[str, str] = requirements.get("limits") or {}
    requests: Mapping[str, str] = requirements.get("requests") or {}
    huge = computed = False
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            if name in _COMPUTE:
                computed = True
                if amount[0] != "-":
                    continue
            here = path / kind @ name
            check(name, here, out)
            resource_quantity(name, amount, here, out)
            if name.startswith(HUGE_PAGES):
                huge = True
                _huge_page(name, amount, here, out)
    for name, amount in requests.items():
        limit = limits.get(name)
        if limit is None:
            if not may_overcommit(name):
                out.required(path / "limits", "Limit must be set for non overcommitable resources")
        elif amount == limit:
            continue
        elif not may_overcommit(name) and _compare(amount, limit) != 0:
            out.invalid(path / "requests", amount, f"must be equal to {name} limit of {limit}")
        elif _compare(amount, limit) > 0:
            out.invalid(path / "requests", amount, f"must be less than or equal to {name} limit of {limit}")
    if huge and not computed:
        out.forbidden(path, "HugePages require cpu or memory")
    if requirements.get("claims"):
        _claims(requirements["claims"], set(claims), path / "claims", out)


def _claims(claims: list[Obj], known: set[str], path: Path, out: ErrorList) -> None:
    seen: set[str] = set()
    for index, claim in enumerate(claims):
        here, name, request = path @ index, claim.get("name", ""), claim.get("request", "")
        if not name:
            out.required(here, "")
            continue
        if name in seen:
            out.duplicate(here, name)
        else:
            key = f"{name}/{request}" if request else name
            if request:
                out.each(here / "request", request, names.is_dns1123_label(request))
            if key in seen:
                out.duplicate(here, key)
            elif not request:
                for other in sorted(seen):
                    if other.startswith(name + "/"):
                        out.duplicate(here, name)
            seen.add(key)
        if name not in known:
            which = ": " + ", ".join(sorted(known)) if known else " which is empty"
            out.not_found(here, name, "must be one of the names in pod.spec.resourceClaims" + which)


# -- pods --------------------------------------------------------------------------------------------------------------


def pod_resources(spec: Obj, claims: Iterable[str], path: Path, out: ErrorList) -> None:
    """`spec.resources`: the pod's own, which its containers must fit into."""
    resources, here = spec.get("resources"), path / "resources"
    if resources is None:
        return
    if (spec.get("os") or {}).get("name") == "windows":
        out.forbidden(here, "may not be set for a windows pod")
        return
    if resources.get("claims") is not None:
        out.forbidden(here / "claims", "claims may not be set for Resources at pod-level")
    resource_requirements(resources, here, out, claims, pod_resource_name)
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name, total in aggregate(spec, "requests").items():
        given = requests.get(name)
        if given is not None and quantity.compare(total, given) > 0:
            detail = f"must be greater than or equal to aggregate container requests of {total}"
            out.invalid(here / "requests" @ name, given, detail)
    for name, total in aggregate(spec, "limits").items():
        given = limits.get(name)
        if given is not None and name.startswith(HUGE_PAGES) and quantity.compare(total, given) > 0:
            detail = f"must be greater than or equal to aggregate container limits of {total}"
            out.invalid(here / "limits" @ name, given, detail)
    for index, container in enumerate(spec.get("containers") or ()):
        for name, limit in sorted(((container.get("resources") or {}).get("limits") or {}).items()):
            whole = limits.get(name)
            if whole is not None and quantity.compare(limit, whole) > 0:
                where = here / "containers" @ index @ name / "limits"
                out.invalid(where, limit, f"must be less than or equal to pod limits of {whole}")


def aggregate(spec: Obj, kind: str) -> dict[str, str]:
    """What the containers ask for together: sums, or the largest init container with the sidecars started before it."""
    total: dict[str, str] = {}
    sidecars: dict[str, str] = {}
    largest: dict[str, str] = {}
    for container in spec.get("containers") or ():
        _add(total, (container.get("resources") or {}).get(kind))
    for container in spec.get("initContainers") or ():
        amounts = (container.get("resources") or {}).get(kind) or {}
        if container.get("restartPolicy") == "Always":
            _add(total, amounts)
            _add(sidecars, amounts)
            _raise(largest, sidecars)
        else:
            together = dict(amounts)
            _add(together, sidecars)
            _raise(largest, together)
    _raise(total, largest)
    return dict(sorted(total.items()))


def _add(total: dict[str, str], amounts: Mapping[str, str] | None) -> None:
    for name, amount in (amounts or {}).items():
        total[name] = quantity.add(total[name], amount) if name in total else amount


def _raise(total: dict[str, str], amounts: Mapping[str, str]) -> None:
    for name, amount in amounts.items():
        if name not in total or quantity.compare(amount, total[name]) > 0:
            total[name] = amount

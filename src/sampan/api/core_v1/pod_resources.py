"""What a pod as a whole requests and is limited to.

Containers run at the same time and add up; init containers run one after the other, so that the largest counts;
init containers that stay (sidecars) add to both. What the pod says as a whole takes the place of that, for each
resource it names.

Source: k8s.io/component-helpers/resource/helpers.go
"""

from __future__ import annotations

from collections.abc import Callable

from sampan.api import quantity
from sampan.api.kind import Obj

Amounts = dict[str, str]


def requests(pod: Obj, *, overhead: bool = True, with_status: bool = False) -> Amounts:
    """`with_status`: what was allocated, and what is there, counts where it is more (in-place resize)."""
    spec = pod["spec"]
    out = _aggregate(spec, _asked("requests"))
    status = (pod.get("status") or {}) if with_status else {}
    if with_status:
        actual = (status.get("resources") or {}).get("requests")
        both = [actual, status.get("allocatedResources")]
        if None in both:
            both = [_aggregate(spec, found) for found in _granted(status, "requests")]
        out = _most(status, out, *both)
    whole = _pod_level(spec, "requests")
    if whole and status.get("resources") is not None:
        there = (status["resources"].get("requests"), status.get("allocatedResources"))
        whole = _supported(_most(status, whole, *there))
    out.update(whole)
    if overhead:
        add_into(out, spec.get("overhead") or {})
    return out


def limits(pod: Obj, *, overhead: bool = True, with_status: bool = False) -> Amounts:
    spec = pod["spec"]
    out = _aggregate(spec, _asked("limits"))
    status = (pod.get("status") or {}) if with_status else {}
    actual = (status.get("resources") or {}).get("limits")
    if with_status:
        there = actual if actual is not None else _aggregate(spec, _granted(status, "limits")[0])
        out = _most(status, out, there)
    whole = _pod_level(spec, "limits")
    if status.get("resources") is not None and says_for_the_whole(spec):
        whole = _supported(_most(status, whole, actual))
    out.update(whole)
    if overhead:
        for name, amount in (spec.get("overhead") or {}).items():
            # what is not limited stays so
            if name in out and quantity.parse(out[name]) != 0:
                out[name] = quantity.add(out[name], amount)
    return out


def says_for_the_whole(spec: Obj) -> bool:
    """So that its containers need not say it each."""
    return bool(_pod_level(spec, "requests") or _pod_level(spec, "limits"))


def requests_for_the_whole(spec: Obj) -> bool:
    """Something is requested for the pod as a whole."""
    return bool(_pod_level(spec, "requests"))


def add_into(total: Amounts, more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = quantity.add(total[name], amount) if name in total else amount


def max_into(total: Amounts, other: Amounts) -> None:
    for name, amount in other.items():
        if name not in total or quantity.compare(amount, total[name]) > 0:
            total[name] = amount


def _aggregate(spec: Obj, of: Callable[[Obj], Amounts]) -> Amounts:
    total: Amounts = {}
    for container in spec.get("containers") or ():
        add_into(total, of(container))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        amounts = of(container)
        if container.get("restartPolicy") == "Always":
            add_into(total, amounts)
            add_into(sidecars, amounts)
            max_into(peak, sidecars)
        else:
            together = dict(amounts)
            add_into(together, sidecars)
            max_into(peak, together)
    max_into(total, peak)
    return total


def _asked(which: str) -> Callable[[Obj], Amounts]:
    """What a container's spec says."""
    return lambda container: (container.get("resources") or {}).get(which) or {}


def _granted(status: Obj, which: str) -> tuple[Callable[[Obj], Amounts], Callable[[Obj], Amounts]]:
    """What a container has, and what was allocated to it; where that is not told, what it asks for and could have."""
    asked = (lambda container: {}) if _infeasible(status) else _asked(which)
    known = {
        item["name"]: item
        for item in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
        if "name" in item
    }

    def allocated(container: Obj) -> Amounts:
        found: Amounts | None = known.get(container["name"], {}).get("allocatedResources")
        return asked(container) if found is None or which != "requests" else found

    def actual(container: Obj) -> Amounts:
        found: Amounts | None = (known.get(container["name"], {}).get("resources") or {}).get(which)
        return allocated(container) if found is None else found

    return actual, allocated


def _most(status: Obj, asked: Amounts, *there: Amounts | None) -> Amounts:
    """The most of each; what is asked for does not count where it cannot be had."""
    out = {} if _infeasible(status) else dict(asked)
    for amounts in there:
        max_into(out, amounts or {})
    return out


def _infeasible(status: Obj) -> bool:
    pending = (item for item in status.get("conditions") or () if item.get("type") == "PodResizePending")
    return next((item.get("reason") == "Infeasible" for item in pending), False)


def _pod_level(spec: Obj, which: str) -> Amounts:
    """CPU, memory and huge pages are what can be said for the pod as a whole."""
    return _supported((spec.get("resources") or {}).get(which) or {})


def _supported(amounts: Amounts) -> Amounts:
    return {n: amount for n, amount in amounts.items() if n in ("cpu", "memory") or n.startswith("hugepages-")}

"""What a pod as a whole requests and is limited to.

Containers run at the same time and add up; init containers run one after the other, so that the largest counts;
init containers that stay (sidecars) add to both. What the pod says as a whole takes the place of that, for each
resource it names.

Source: k8s.io/component-helpers/resource/helpers.go
"""

from __future__ import annotations

from sampan.api import quantity
from sampan.api.kind import Obj

Amounts = dict[str, str]


def requests(pod: Obj, *, overhead: bool = True, with_status: bool = False) -> Amounts:
    """`with_status`: what a container still has counts while it shrinks (in-place resize)."""
    spec = pod["spec"]
    statuses = _statuses(pod) if with_status else {}
    out = _aggregate(spec, "requests", statuses)
    out.update(_pod_level(spec, "requests"))
    if overhead:
        add_into(out, spec.get("overhead") or {})
    return out


def limits(pod: Obj, *, overhead: bool = True, with_status: bool = False) -> Amounts:
    spec = pod["spec"]
    statuses = _statuses(pod) if with_status else {}
    out = _aggregate(spec, "limits", statuses)
    out.update(_pod_level(spec, "limits"))
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


def _aggregate(spec: Obj, which: str, statuses: dict[str, Obj]) -> Amounts:
    total: Amounts = {}
    for container in spec.get("containers") or ():
        add_into(total, _amounts(container, which, statuses))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        amounts = _amounts(container, which, statuses)
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


def _amounts(container: Obj, which: str, statuses: dict[str, Obj]) -> Amounts:
    asked: Amounts = (container.get("resources") or {}).get(which) or {}
    status = statuses.get(container["name"]) if statuses else None
    if status is None:
        return asked
    infeasible = status.get("infeasible")
    out = {} if infeasible else dict(asked)
    max_into(out, (status.get("resources") or {}).get(which) or {})
    if which == "requests":
        max_into(out, status.get("allocatedResources") or {})
    return out or asked


def _statuses(pod: Obj) -> dict[str, Obj]:
    status = pod.get("status") or {}
    infeasible = any(
        item.get("type") == "PodResizePending" and item.get("reason") == "Infeasible"
        for item in status.get("conditions") or ()
    )
    found = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    return {
        item["name"]: {**item, "infeasible": infeasible} for item in found if "name" in item and item.get("resources")
    }


def _pod_level(spec: Obj, which: str) -> Amounts:
    """CPU, memory and huge pages are what can be said for the pod as a whole."""
    given: Amounts = (spec.get("resources") or {}).get(which) or {}
    return {n: amount for n, amount in given.items() if n in ("cpu", "memory") or n.startswith("hugepages-")}

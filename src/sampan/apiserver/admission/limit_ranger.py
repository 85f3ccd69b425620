"""What LimitRanges of a namespace say: defaults for containers that ask for nothing, and bounds for all.

Source: kubernetes/plugin/pkg/admission/limitranger/admission.go
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sampan.api import quantity
from sampan.api.core_v1 import pod_resources
from sampan.api.kind import Obj
from sampan.apiserver.admission.chain import Attributes, Plugin
from sampan.apiserver.admission.lookup import Parsed

ANNOTATION = "kubernetes.io/limit-ranger"
Amounts = dict[str, str]


class LimitRanger(Plugin):
    resources = frozenset({("", "pods"), ("", "persistentvolumeclaims")})
    operations = frozenset({"CREATE", "UPDATE"})
    subresources = frozenset({"", "resize"})

    def __init__(self) -> None:
        self.parsed: Parsed[list[Obj]] = Parsed(lambda obj: (obj.get("spec") or {}).get("limits") or [])

    async def mutate(self, attributes: Attributes) -> None:
        """Fill in a new pod's defaults."""
        if attributes.resource == "pods" and attributes.operation == "CREATE" and attributes.obj is not None:
            for limits in self._limits(attributes):
                fill(attributes.obj, limits)

    async def validate(self, attributes: Attributes) -> None:
        """Raises 403 with all that is out of bounds by one LimitRange."""
        obj = attributes.obj
        if obj is None or (attributes.old or {}).get("metadata", {}).get("deletionTimestamp"):
            return
        pods = attributes.resource == "pods"
        # a pod's resources are changed by `resize` alone
        if (attributes.subresource == "resize") is not (pods and attributes.operation == "UPDATE"):
            return
        check = check_pod if pods else check_claim
        for limits in self._limits(attributes):
            found = list(dict.fromkeys(check(obj, limits)))
            if found:
                raise attributes.forbidden(found[0] if len(found) == 1 else f"[{', '.join(found)}]")

    def _limits(self, attributes: Attributes) -> Iterator[list[Obj]]:
        cache = attributes.api.cached("", "limitranges")
        if cache.records:
            for record in cache.list(attributes.namespace):
                yield self.parsed(record)


def fill(pod: Obj, limits: list[Obj]) -> None:
    """Defaults into every container, and a note of them into an annotation."""
    default_limits: Amounts = {}
    default_requests: Amounts = {}
    for item in limits:
        if item.get("type") == "Container":
            default_limits.update(item.get("default") or {})
            default_requests.update(item.get("defaultRequest") or {})
    if not default_limits and not default_requests:
        return
    notes: list[str] = []
    for word, kind in (("container", "containers"), ("init container", "initContainers")):
        for container in pod["spec"].get(kind) or ():
            resources = dict(container.get("resources") or {})
            for which, what, defaults in (
                ("requests", "request", default_requests),
                ("limits", "limit", default_limits),
            ):
                have = resources.get(which) or {}
                missing = sorted(name for name in defaults if name not in have)
                if missing:
                    resources[which] = {**have, **{name: defaults[name] for name in missing}}
                    notes.append(f"{', '.join(missing)} {what} for {word} {container.get('name', '')}")
            container["resources"] = resources
    if notes:
        annotations = pod["metadata"].get("annotations") or {}
        pod["metadata"]["annotations"] = {**annotations, ANNOTATION: "LimitRanger plugin set: " + "; ".join(notes)}


def check_pod(pod: Obj, limits: list[Obj]) -> Iterator[str]:
    spec = pod["spec"]
    for item in limits:
        if item.get("type") == "Container":
            for kind in ("containers", "initContainers"):
                for container in spec.get(kind) or ():
                    resources = container.get("resources") or {}
                    yield from _check(item, resources.get("requests") or {}, resources.get("limits") or {})
        elif item.get("type") == "Pod":
            requested = pod_resources.requests(pod, overhead=False)
            limited = pod_resources.limits(pod, overhead=False)
            yield from _check(item, requested, limited)


def check_claim(claim: Obj, limits: list[Obj]) -> Iterator[str]:
    requests = (claim["spec"].get("resources") or {}).get("requests") or {}
    kind = "PersistentVolumeClaim"
    for item in limits:
        if item.get("type") == kind:
            yield from _each(item, "min", lambda name, bound: _minimum(kind, name, bound, requests, {}))
            yield from _each(item, "max", lambda name, bound: _maximum_request(kind, name, bound, requests))


def _check(item: Obj, requests: Amounts, limits: Amounts) -> Iterator[str]:
    kind = item["type"]
    yield from _each(item, "min", lambda name, bound: _minimum(kind, name, bound, requests, limits))
    yield from _each(item, "max", lambda name, bound: _maximum(kind, name, bound, requests, limits))
    yield from _each(item, "maxLimitRequestRatio", lambda name, bound: _ratio(kind, name, bound, requests, limits))


def _each(item: Obj, which: str, check: Callable[[str, str], str]) -> Iterator[str]:
    for name, bound in sorted((item.get(which) or {}).items()):
        problem = check(name, bound)
        if problem:
            yield problem


def _minimum(kind: str, name: str, bound: str, requests: Amounts, limits: Amounts) -> str:
    said = f"minimum {name} usage per {kind} is {bound}"
    if name not in requests:
        return f"{said}.  No request is specified"
    if quantity.compare(requests[name], bound) < 0:
        return f"{said}, but request is {requests[name]}"
    if name in limits and quantity.compare(limits[name], bound) < 0:
        return f"{said}, but limit is {limits[name]}"
    return ""


def _maximum(kind: str, name: str, bound: str, requests: Amounts, limits: Amounts) -> str:
    said = f"maximum {name} usage per {kind} is {bound}"
    if name not in limits:
        return f"{said}.  No limit is specified"
    if quantity.compare(limits[name], bound) > 0:
        return f"{said}, but limit is {limits[name]}"
    if name in requests and quantity.compare(requests[name], bound) > 0:
        return f"{said}, but request is {requests[name]}"
    return ""


def _maximum_request(kind: str, name: str, bound: str, requests: Amounts) -> str:
    said = f"maximum {name} usage per {kind} is {bound}"
    if name not in requests:
        return f"{said}.  No request is specified"
    return f"{said}, but request is {requests[name]}" if quantity.compare(requests[name], bound) > 0 else ""


def _ratio(kind: str, name: str, bound: str, requests: Amounts, limits: Amounts) -> str:
    said = f"{name} max limit to request ratio per {kind} is {bound}"
    request, limit = quantity.parse(requests.get(name, "0")), quantity.parse(limits.get(name, "0"))
    if request == 0:
        return f"{said}, but no request is specified or request is 0"
    if limit == 0:
        return f"{said}, but no limit is specified or limit is 0"
    ratio = limit / request
    return f"{said}, but provided ratio is {float(ratio):.6f}" if ratio > quantity.parse(bound) else ""

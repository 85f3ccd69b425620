"""What objects use of a ResourceQuota: pure arithmetic, for the admission plugin and for the controller that recounts.

A quota names resources of three kinds: objects (`pods`, `services.nodeports`, `count/deployments.apps`), compute that
pods request or are limited to (`requests.cpu`, `limits.memory`, `requests.nvidia.com/gpu`), and storage that claims
request, also by class. Scopes narrow which pods (or claims) count.

Source: kubernetes/pkg/quota/v1/evaluator/core/{pods,services,persistent_volume_claims,resource_claims}.go,
k8s.io/apiserver/pkg/quota/v1/{resources,generic/evaluator}.go
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from math import ceil
from typing import NamedTuple

from sampan.api import quantity
from sampan.api.core_v1 import pod_resources, pod_spec
from sampan.api.kind import Obj
from sampan.api.times import parse_time

Amounts = dict[str, str]
Resource = tuple[str, str]
PODS: Resource = ("", "pods")
SERVICES: Resource = ("", "services")
CLAIMS: Resource = ("", "persistentvolumeclaims")
DEVICE_CLAIMS: Resource = ("resource.k8s.io", "resourceclaims")
DEVICE_CLASSES: Resource = ("resource.k8s.io", "deviceclasses")

_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_POD_NAMES = frozenset(
    {"pods", "count/pods", *_COMPUTE, *(f"{which}.{name}" for which in ("requests", "limits") for name in _COMPUTE)}
)
_SERVICE_NAMES = frozenset({"services", "count/services", "services.nodeports", "services.loadbalancers"})
_CLAIM_NAMES = frozenset({"persistentvolumeclaims", "count/persistentvolumeclaims", "requests.storage"})
_CLASS = ".storageclass.storage.k8s.io/"
_DEVICES = ".deviceclass.resource.k8s.io/devices"
_REQUESTS = "requests."
#: of any class, what pods may ask for by its name
_BY_CLASS = "deviceclass.resource.kubernetes.io/"
_FOR_POD = "resource.kubernetes.io/extended-resource-claim"
#: a claim for all devices counts as the most that one can get
_ALL_DEVICES = 32
#: counted under their plain names, too
_PLAIN = frozenset({"configmaps", "replicationcontrollers", "resourcequotas", "secrets"})
#: what every container must say once it is limited; nothing is ever added here
_REQUIRED = frozenset({"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})


class Selector(NamedTuple):
    """One scope of a quota."""

    scope: str
    operator: str = "Exists"
    values: tuple[str, ...] = ()


class Devices(NamedTuple):
    """What else counts in a count of devices. `classes`: by name, the resource that each is as well (or ""). `objects`: as
    of `recount`."""

    classes: Mapping[str, str] = {}
    objects: Callable[[Resource], Iterable[Obj] | None] = lambda resource: None


NO_DEVICES = Devices()


def device_classes(found: Iterable[Obj]) -> dict[str, str]:
    return {item["metadata"]["name"]: item["spec"].get("extendedResourceName") or "" for item in found}


# -- which quota, which of its resources -------------------------------------------------------------------------------


def selectors(quota: Obj) -> list[Selector]:
    spec = quota.get("spec") or {}
    out = [Selector(scope) for scope in spec.get("scopes") or ()]
    for item in (spec.get("scopeSelector") or {}).get("matchExpressions") or ():
        values = tuple(item.get("values") or ())
        out.append(Selector(item.get("scopeName", ""), item.get("operator", ""), values))
    return out


def tracks(resource: Resource, name: str, classes: Mapping[str, str] = NO_DEVICES.classes) -> bool:
    """Objects of `resource` can use the quota's resource `name`."""
    if resource == PODS:
        prefixes = ("hugepages-", "requests.hugepages-")
        return name in _POD_NAMES or name.startswith(prefixes) or is_extended(name)
    if resource == SERVICES:
        return name in _SERVICE_NAMES
    if resource == CLAIMS:
        return name in _CLAIM_NAMES or name.endswith((f"{_CLASS}requests.storage", f"{_CLASS}persistentvolumeclaims"))
    if resource == DEVICE_CLAIMS and (name.endswith(_DEVICES) or _is_of_class(name, classes)):
        return True
    return name in _counted(resource)


def matches(
    resource: Resource,
    quota: Obj,
    hard: Iterable[str],
    obj: Obj,
    classes: Mapping[str, str] = NO_DEVICES.classes,
) -> bool:
    """The quota is about this object: it names something the object uses, and all of its scopes hold."""
    return any(tracks(resource, name, classes) for name in hard) and in_scopes(resource, selectors(quota), obj)


def in_scopes(resource: Resource, scopes: Iterable[Selector], obj: Obj) -> bool:
    return all(_in_scope(resource, selector, obj) for selector in scopes)


def _in_scope(resource: Resource, selector: Selector, obj: Obj) -> bool:
    if resource == CLAIMS and selector.scope == "VolumeAttributesClass":
        return _selects(selector, _attribute_classes(obj))
    if resource != PODS:
        return False
    spec = obj["spec"]
    match selector.scope:
        case "Terminating":
            return ends_by_itself(obj)
        case "NotTerminating":
            return not ends_by_itself(obj)
        case "BestEffort":
            return pod_spec.qos_class(spec) == "BestEffort"
        case "NotBestEffort":
            return pod_spec.qos_class(spec) != "BestEffort"
        case "PriorityClass":
            name = spec.get("priorityClassName")
            return _selects(selector, {name} if name else set())
        case "CrossNamespacePodAffinity":
            return _crosses_namespaces(spec.get("affinity") or {})
    return False


def ends_by_itself(pod: Obj) -> bool:
    """Its deadline says so. Of all that scopes ask of pods, this alone may change later."""
    return (pod["spec"].get("activeDeadlineSeconds") or -1) >= 0


def _selects(selector: Selector, names: set[str]) -> bool:
    match selector.operator:
        case "Exists":
            return bool(names)
        case "DoesNotExist":
            return not names
        case "In":
            return not names.isdisjoint(selector.values)
        case "NotIn":
            return not names or any(name not in selector.values for name in names)
    return False


def _attribute_classes(claim: Obj) -> set[str]:
    status = claim.get("status") or {}
    found = (
        claim["spec"].get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return {name for name in found if name}


def _crosses_namespaces(affinity: Obj) -> bool:
    for kind in ("podAffinity", "podAntiAffinity"):
        found = affinity.get(kind) or {}
        terms = list(found.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        for weighted in found.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            terms.append(weighted.get("podAffinityTerm") or {})
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False


def constraint(resource: Resource, required: Iterable[str], obj: Obj) -> str:
    """What a pod's containers must say once it is limited, and do not (empty: all is said)."""
    wanted = _REQUIRED.intersection(required)
    if resource != PODS or not wanted or pod_resources.says_for_the_whole(obj["spec"]):
        return ""
    missing: dict[str, set[str]] = {}
    for container in pod_spec.containers(obj["spec"]):
        resources = container.get("resources") or {}
        said = _compute(resources.get("requests") or {}, resources.get("limits") or {})
        for name in wanted - said.keys():
            missing.setdefault(name, set()).add(container.get("name", ""))
    if not missing:
        return ""
    return "must specify " + "; ".join(f"{name} for: {','.join(sorted(missing[name]))}" for name in sorted(missing))


# -- how much ----------------------------------------------------------------------------------------------------------


def usage(resource: Resource, obj: Obj, now: float, devices: Devices = NO_DEVICES) -> Amounts:
    """All that one object uses, by the names of quotas' resources."""
    if resource == PODS:
        return _pod(obj, now)
    if resource == SERVICES:
        return _service(obj)
    if resource == CLAIMS:
        return _claim(obj)
    out = dict.fromkeys(_counted(resource), "1")
    return {**out, **_devices(obj, now, devices)} if resource == DEVICE_CLAIMS else out


def recount(
    quota: Obj,
    objects: Callable[[Resource], Iterable[Obj] | None],
    now: float,
    classes: Mapping[str, str] = NO_DEVICES.classes,
) -> Amounts:
    """What is used of all that `spec.hard` names. `objects`: those of a resource in the quota's namespace, or None
    where there is no such resource; what nothing can use is left out."""
    hard = (quota.get("spec") or {}).get("hard") or {}
    scopes, devices = selectors(quota), Devices(classes, objects)
    total: Amounts = {}
    for resource in {found for name in hard for found in resources_of(name, classes)}:
        listed = objects(resource)
        if listed is None:
            continue
        for name in hard:
            if tracks(resource, name, classes):
                total.setdefault(name, "0")
        for obj in listed:
            if in_scopes(resource, scopes, obj):
                for name, amount in usage(resource, obj, now, devices).items():
                    if name in total:
                        total[name] = quantity.add(total[name], amount)
    return total


def resources_of(name: str, classes: Mapping[str, str] = NO_DEVICES.classes) -> list[Resource]:
    """Whose objects use what a quota calls `name`."""
    measured = (PODS, SERVICES, CLAIMS, DEVICE_CLAIMS)
    if found := [resource for resource in measured if tracks(resource, name, classes)]:
        return found
    if name in _PLAIN:
        return [("", name)]
    kind, slash, rest = name.partition("/")
    if kind != "count" or not slash:
        return []
    plural, _, group = rest.partition(".")
    return [(group, plural)]


def _counted(resource: Resource) -> tuple[str, ...]:
    group, name = resource
    if group:
        return (f"count/{name}.{group}",)
    return (f"count/{name}", name) if name in _PLAIN else (f"count/{name}",)


def _pod(pod: Obj, now: float) -> Amounts:
    out = {"count/pods": "1"}
    if _is_over(pod, now):
        return out
    requests, limits = (of(pod, with_status=True) for of in (pod_resources.requests, pod_resources.limits))
    return {**out, "pods": "1", **_compute(requests, limits)}


def _is_over(pod: Obj, now: float) -> bool:
    """A pod that has run, or should be gone by now, uses nothing but its place in the store."""
    if (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
        return True
    meta = pod["metadata"]
    deleted, grace = meta.get("deletionTimestamp"), meta.get("deletionGracePeriodSeconds")
    return bool(deleted) and grace is not None and now > parse_time(deleted) + grace


def _compute(requests: Amounts, limits: Amounts) -> Amounts:
    out: Amounts = {}
    for name, amount in requests.items():
        if name in _COMPUTE or name.startswith("hugepages-"):
            out[name] = out[f"requests.{name}"] = amount
        elif not _is_native(name) or name.startswith(_BY_CLASS):
            out[f"requests.{name}"] = amount
    for name in _COMPUTE:
        if name in limits:
            out[f"limits.{name}"] = limits[name]
    return out


def _is_native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    """It is a resource that is none of the system's own, or devices of a class that pods ask for like one."""
    return name.startswith(_REQUESTS) and (not _is_native(name) or name.startswith(_REQUESTS + _BY_CLASS))


def _is_of_class(name: str, classes: Mapping[str, str]) -> bool:
    if not classes or not is_extended(name):
        return False
    resource = name.removeprefix(_REQUESTS)
    if resource.startswith(_BY_CLASS):
        return resource.removeprefix(_BY_CLASS) in classes
    return resource in classes.values()


def _service(service: Obj) -> Amounts:
    spec = service["spec"]
    ports = spec.get("ports") or ()
    balanced = spec.get("type") == "LoadBalancer"
    node_ports = len(ports) if balanced or spec.get("type") == "NodePort" else 0
    if balanced and spec.get("allocateLoadBalancerNodePorts") is False:
        node_ports = sum(1 for port in ports if port.get("nodePort"))
    return {
        "count/services": "1",
        "services": "1",
        "services.loadbalancers": "1" if balanced else "0",
        "services.nodeports": str(node_ports),
    }


def _claim(claim: Obj) -> Amounts:
    out = {"persistentvolumeclaims": "1", "count/persistentvolumeclaims": "1"}
    annotated = (claim["metadata"].get("annotations") or {}).get("volume.beta.kubernetes.io/storage-class")
    name = annotated if annotated is not None else claim["spec"].get("storageClassName") or ""
    if name:
        out[f"{name}{_CLASS}persistentvolumeclaims"] = "1"
    asked = ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage")
    if asked is None:
        return out
    allocated = ((claim.get("status") or {}).get("allocatedResources") or {}).get("storage")
    if allocated is not None and quantity.compare(allocated, asked) > 0:
        asked = allocated
    if quantity.parse(asked).denominator != 1:
        asked = str(ceil(quantity.parse(asked)))
    out["requests.storage"] = asked
    if name:
        out[f"{name}{_CLASS}requests.storage"] = asked
    return out


def _devices(claim: Obj, now: float, devices: Devices) -> Amounts:
    """Devices by class; of alternatives, the most that each class may have to give. As resources, without those that the
    pod is charged for."""
    total: dict[str, int] = {}
    for request in ((claim["spec"].get("devices") or {}).get("requests")) or ():
        most: dict[str, int] = {}
        for wanted in [request["exactly"]] if request.get("exactly") else request.get("firstAvailable") or ():
            count = _ALL_DEVICES if wanted.get("allocationMode") == "All" else wanted.get("count") or 1
            name = wanted.get("deviceClassName", "")
            most[name] = max(most.get(name, 0), count)
        for name, count in most.items():
            total[name] = total.get(name, 0) + count
    out = {f"{name}{_DEVICES}": str(count) for name, count in total.items()}
    asked: Amounts = {}
    for name, count in total.items():
        for resource in filter(None, (_BY_CLASS + name, devices.classes.get(name, ""))):
            asked = plus(asked, {_REQUESTS + resource: str(count)})
    paid = _paid_by_pod(claim, now, devices.objects) if asked else {}
    left = minus(asked, {name: amount for name, amount in paid.items() if name in asked})
    return {**out, **{name: amount for name, amount in left.items() if quantity.compare(amount, "0") > 0}}


def _paid_by_pod(claim: Obj, now: float, objects: Callable[[Resource], Iterable[Obj] | None]) -> Amounts:
    """What the pod is charged for whose requests a scheduler has put into this claim: the one that the pod names, or, as
    long as it names none, the first that says so."""
    owner, meta = _scheduled_for(claim), claim["metadata"]
    pods = (pod for pod in objects(PODS) or () if pod["metadata"].get("uid") == owner.get("uid")) if owner else ()
    pod = next((pod for pod in pods if pod["metadata"]["name"] == owner.get("name")), None)
    if pod is None:
        return {}
    named = (pod.get("status") or {}).get("extendedResourceClaimStatus")
    if named is not None:
        return _pod(pod, now) if named.get("resourceClaimName") == meta.get("name") else {}

    def age(found: Obj) -> tuple[str, str]:
        return found.get("creationTimestamp", ""), found.get("name", "")

    for other in objects(DEVICE_CLAIMS) or ():
        if _scheduled_for(other).get("uid") == owner["uid"] and age(other["metadata"]) < age(meta):
            return {}
    return _pod(pod, now)


def _scheduled_for(claim: Obj) -> Obj:
    """The pod that a scheduler says it has made the claim for."""
    meta = claim["metadata"]
    if (meta.get("annotations") or {}).get(_FOR_POD) != "true":
        return {}
    owner: Obj = next((item for item in meta.get("ownerReferences") or () if item.get("controller")), {})
    return owner if (owner.get("apiVersion"), owner.get("kind")) == ("v1", "Pod") else {}


# -- amounts -----------------------------------------------------------------------------------------------------------


def plus(used: Amounts, more: Amounts) -> Amounts:
    return {**used, **{name: quantity.add(used.get(name, "0"), amount) for name, amount in more.items()}}


def minus(used: Amounts, less: Amounts) -> Amounts:
    """Never below zero; nothing appears that was not there."""
    out = dict(used)
    for name in used.keys() & less.keys():
        left = quantity.sub(used[name], less[name])
        out[name] = left if quantity.parse(left) > 0 else "0"
    return out


def nonzero(amounts: Amounts) -> Amounts:
    zero = Fraction(0)
    return {name: amount for name, amount in amounts.items() if quantity.parse(amount) != zero}


def exceeded(used: Amounts, hard: Amounts) -> list[str]:
    return [name for name, amount in used.items() if name in hard and quantity.compare(amount, hard[name]) > 0]

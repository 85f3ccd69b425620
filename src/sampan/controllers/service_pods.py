"""What endpoints and slices of endpoints have in common: which services a pod belongs to, which of its changes they care
about, which port of it a service means, and how long changes are gathered.

Source: k8s.io/endpointslice/util/{controller_utils,trigger_time_tracker}.go, k8s.io/endpointslice/utils.go (FindPort)
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sampan.api.selectors import selector_from_map
from sampan.api.times import format_time, parse_time
from sampan.client import Bucket, Exponential, Informer, Longest, RateLimiter, key_of
from sampan.controllers.pods import condition_of, is_ready, is_terminal

Obj = dict[str, Any]
HEADLESS = "service.kubernetes.io/headless"
TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
MAX_RETRIES = 15
#: up to so many pods every change is written at once; then the changes of a while are written together
FEW, LONGEST_DELAY, PODS_PER_SECOND = 50, 1.0, 1000


def limiter() -> RateLimiter:
    """Slow: one service may be many large writes."""
    return Longest(Exponential(1.0, 1000.0), Bucket(10.0, 100))


def gathering(pods: int) -> float:
    """How long changes of the pods of a service that has so many are gathered.

    DEVIATION: changes of services of more than 50 pods are gathered for up to a second; upstream has flags for it
    (`--endpoint-updates-batch-period` and others), which are 0.
    """
    return 0.0 if pods <= FEW else min(LONGEST_DELAY, pods / PODS_PER_SECOND)


class Members:
    """Which services select a pod. `wake(key)` is called for each that a change of a pod may concern."""

    def __init__(self, services: Informer, pods: Informer, wake: Callable[[str], object]) -> None:
        self.pods = pods
        self.wake = wake
        self._selectors: dict[str, dict[str, frozenset[tuple[str, str]]]] = {}
        services.add_handler(self._service, lambda old, new: self._service(new), self._service_gone)
        pods.add_handler(self._pod, self._pod_changed, self._pod)

    def of(self, service: Obj) -> list[Obj]:
        """The pods that a service selects."""
        return self.pods.cache.list(service["metadata"]["namespace"], selector_from_map(service["spec"]["selector"]))

    def _service(self, service: Obj) -> None:
        selectors = self._selectors.setdefault(service["metadata"]["namespace"], {})
        selector = service["spec"].get("selector")
        if selector:
            selectors[key_of(service)] = frozenset(selector.items())
        else:
            selectors.pop(key_of(service), None)

    def _service_gone(self, service: Obj) -> None:
        namespace = service["metadata"]["namespace"]
        selectors = self._selectors.get(namespace, {})
        selectors.pop(key_of(service), None)
        if not selectors:
            self._selectors.pop(namespace, None)

    def _selecting(self, pod: Obj) -> Iterator[str]:
        labels = (pod["metadata"].get("labels") or {}).items()
        for key, selector in self._selectors.get(pod["metadata"]["namespace"], {}).items():
            if selector <= labels:
                yield key

    def _pod(self, pod: Obj) -> None:
        for key in self._selecting(pod):
            self.wake(key)

    def _pod_changed(self, old: Obj, new: Obj) -> None:
        pod_changed, moved = _shown(old) != _shown(new), _labelled(old) != _labelled(new)
        if not (pod_changed or moved):
            return
        keys = dict.fromkeys(self._selecting(new))
        if moved:
            before = dict.fromkeys(self._selecting(old))
            named = old["spec"].get("hostname") != new["spec"].get("hostname")
            if pod_changed or named:
                keys |= before
            else:
                keys = dict.fromkeys([*(keys.keys() - before.keys()), *(before.keys() - keys.keys())])
        for key in keys:
            self.wake(key)


def _shown(pod: Obj) -> tuple[Any, ...]:
    """What of a pod shows in an endpoint; who ended has none."""
    status = pod.get("status") or {}
    addresses = [item.get("ip") for item in status.get("podIPs") or ()]
    return pod["metadata"].get("deletionTimestamp"), is_ready(pod), addresses, is_terminal(pod)


def _labelled(pod: Obj) -> tuple[Any, ...]:
    spec = pod["spec"]
    return pod["metadata"].get("labels"), spec.get("hostname"), spec.get("subdomain")


def has_endpoint(pod: Obj, terminating: bool) -> bool:
    """`terminating`: so has one that is being deleted."""
    status = pod.get("status") or {}
    if is_terminal(pod) or not (status.get("podIP") or status.get("podIPs")):
        return False
    return terminating or "deletionTimestamp" not in pod["metadata"]


def addresses_of(pod: Obj, family: str) -> list[str]:
    """`family` is IPv4 or IPv6."""
    version = 6 if family == "IPv6" else 4
    status = pod.get("status") or {}
    listed = [item["ip"] for item in status.get("podIPs") or () if item.get("ip")] or [status.get("podIP")]
    found = (ipaddress.ip_address(text) for text in listed if text)
    return [str(address) for address in found if address.version == version]


def hostname_of(pod: Obj, service: Obj) -> str:
    """Under which name of the service's domain the pod is found; empty where it has none."""
    spec = pod["spec"]
    return spec.get("hostname", "") if spec.get("subdomain", "") == service["metadata"]["name"] else ""


def target_of(pod: Obj) -> Obj:
    meta = pod["metadata"]
    return {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}


def ports_of(pod: Obj, service: Obj) -> list[Obj]:
    """A service's ports as they are on a pod; those that it does not have are left out."""
    out = []
    for port in service["spec"].get("ports") or ():
        number = _port_number(pod, port)
        if number is not None:
            shown = {"name": port.get("name", ""), "port": number, "protocol": port.get("protocol", "TCP")}
            application = port.get("appProtocol")
            out.append(shown if application is None else {**shown, "appProtocol": application})
    return out


def _port_number(pod: Obj, port: Obj) -> int | None:
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    spec = pod["spec"]
    sidecars = (item for item in spec.get("initContainers") or () if item.get("restartPolicy") == "Always")
    for container in (*spec["containers"], *sidecars):
        for offered in container.get("ports") or ():
            same_protocol = offered.get("protocol", "TCP") == port.get("protocol", "TCP")
            if offered.get("name") == target and same_protocol:
                return int(offered["containerPort"])
    return None


def is_headless(service: Obj) -> bool:
    return service["spec"].get("clusterIP", "") in ("", "None")


def is_managed(service: Obj) -> bool:
    """Its endpoints are made from its selector; else they are somebody else's business."""
    return bool(service["spec"].get("selector")) and service["spec"].get("type") != "ExternalName"


class TriggerTimes:
    """When what led to a change of endpoints happened, as an annotation tells those who measure how fast they learn of
    it."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, dict[str, float]]] = {}

    def next(self, service: Obj, pods: Iterable[Obj]) -> str:
        """To be asked at every turn, also where nothing is written. Empty: nothing new."""
        key = key_of(service)
        created = parse_time(service["metadata"]["creationTimestamp"])
        times = {}
        for pod in pods:
            condition = condition_of(pod, "Ready")
            if condition is not None and condition.get("lastTransitionTime"):
                times[pod["metadata"]["name"]] = parse_time(condition["lastTransitionTime"])
        known = self._known.get(key)
        self._known[key] = (created, times)
        if known is None:
            return format_time(created)
        changed = [time for name, time in times.items() if time > known[1].get(name, 0.0)]
        if created > known[0]:
            changed.append(created)
        return format_time(min(changed)) if changed else ""

    def forget(self, key: str) -> None:
        self._known.pop(key, None)

"""What a pod's services and its controller select it by: whom it is spread with when it does not say so itself.

Source: pkg/scheduler/framework/plugins/helper/spread.go (DefaultSelector)
"""

from __future__ import annotations

from typing import Any

from sampan.api.selectors import LabelSelector, Requirement, label_selector_from, selector_from_map
from sampan.client import Informers
from sampan.scheduler.hears import Hears
from sampan.scheduler.shape import PodInfo, Shape

Obj = dict[str, Any]
KINDS = {
    ("apps/v1", "ReplicaSet"): "replicasets.apps",
    ("apps/v1", "StatefulSet"): "statefulsets.apps",
    ("v1", "ReplicationController"): "replicationcontrollers",
}
MAX = 4096


class Owners:
    def __init__(self, informers: Informers, hears: Hears) -> None:
        self._services: dict[str, dict[str, dict[str, str]]] = {}
        self._informers = {name: informers.get(name) for name in KINDS.values()}
        self._known: dict[tuple[Shape, str], LabelSelector | None] = {}
        services = informers.get("services")
        hears.add(services, self._service, lambda old, new: self._service(new), self._service_gone)
        for informer in self._informers.values():
            # it may come after its pods, and a ReplicationController may change its mind
            hears.add(informer, self._forget, self._changed)

    def selector(self, pod: PodInfo) -> LabelSelector | None:
        """None: nothing selects it."""
        owner = _controller(pod.pod)
        key = (pod.shape, owner.get("uid", ""))
        if key not in self._known:
            if len(self._known) >= MAX:
                self._known.clear()
            self._known[key] = self._work_out(pod, owner)
        return self._known[key]

    def _work_out(self, pod: PodInfo, owner: Obj) -> LabelSelector | None:
        labels, merged = pod.shape.labels, {}
        for selector in self._services.get(pod.namespace, {}).values():
            if all(labels.get(name) == value for name, value in selector.items()):
                merged.update(selector)
        found: list[Requirement] = list(selector_from_map(merged).requirements)
        kind = KINDS.get((owner.get("apiVersion", ""), owner.get("kind", "")))
        obj = self._informers[kind].cache.get(owner["name"], pod.namespace) if kind else None
        if obj is not None:
            asked = (obj.get("spec") or {}).get("selector")
            if kind == "replicationcontrollers":
                found.extend(selector_from_map(asked).requirements)
            elif asked:
                found.extend(label_selector_from(asked).requirements)
        return LabelSelector(tuple(sorted(dict.fromkeys(found), key=str))) if found else None

    def _service(self, obj: Obj) -> None:
        meta, selector = obj["metadata"], (obj.get("spec") or {}).get("selector")
        there = self._services.setdefault(meta["namespace"], {})
        if there.get(meta["name"]) == selector:
            return
        if selector:
            there[meta["name"]] = selector
        else:
            there.pop(meta["name"], None)
        self._known.clear()

    def _service_gone(self, obj: Obj) -> None:
        meta = obj["metadata"]
        if self._services.get(meta["namespace"], {}).pop(meta["name"], None) is not None:
            self._known.clear()

    def _changed(self, old: Obj, new: Obj) -> None:
        if (old.get("spec") or {}).get("selector") != (new.get("spec") or {}).get("selector"):
            self._known.clear()

    def _forget(self, obj: Obj) -> None:
        """Who was looked for and was not there yet."""
        uid = obj["metadata"]["uid"]
        for key in [key for key in self._known if key[1] == uid]:
            del self._known[key]


def _controller(pod: Obj) -> Obj:
    for owner in pod["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            found: Obj = owner
            return found
    return {}

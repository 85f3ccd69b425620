"""How many pods the owners of some pods want: by what is known of the usual kinds, by the scale subresource of others.

Source: kubernetes/pkg/controller/disruption/disruption.go (getExpectedScale and the finders)
"""

from __future__ import annotations

from typing import Any

from sampan.client import Client, Discovery, Informers, Resource
from sampan.client.errors import is_not_found
from sampan.controllers.pod_control import INDEXERS, controller_of

Obj = dict[str, Any]
KINDS = {
    ("apps", "ReplicaSet"): "replicasets.apps",
    ("apps", "Deployment"): "deployments.apps",
    ("apps", "StatefulSet"): "statefulsets.apps",
    ("", "ReplicationController"): "replicationcontrollers",
}


class NoScale(Exception):
    """The number of pods that an owner wants cannot be told."""


class Scales:
    def __init__(self, client: Client, informers: Informers) -> None:
        self.client = client
        self.discovery = Discovery(client)
        indexed = ("replicasets.apps", "replicationcontrollers")
        self.known = {
            kind: informers.get(name, indexers=INDEXERS) if name in indexed else informers.get(name)
            for kind, name in KINDS.items()
        }
        self.informers = tuple(self.known.values())

    async def of(self, pods: list[Obj]) -> tuple[int, bool]:
        """The sum over all owners, and whether some pods have none. Raises NoScale, StatusError."""
        wanted: dict[str, int] = {}
        #: by the owner that pods speak of, which is not always the one that is asked
        seen: set[str] = set()
        unmanaged = False
        for pod in pods:
            reference = controller_of(pod)
            if reference is None:
                unmanaged = True
            elif reference["uid"] not in seen:
                seen.add(reference["uid"])
                uid, count = await self._scale(reference, pod)
                wanted[uid] = count
        return sum(wanted.values()), unmanaged

    async def _scale(self, reference: Obj, pod: Obj) -> tuple[str, int]:
        namespace = pod["metadata"]["namespace"]
        owner = self._find(reference, namespace)
        if owner is not None and owner["kind"] == "ReplicaSet":
            above = controller_of(owner)
            if above is not None and above["kind"] == "Deployment":
                owner = self._find(above, namespace)
        if owner is not None:
            return owner["metadata"]["uid"], int(owner["spec"].get("replicas", 1))
        found = await self._ask(reference, namespace)
        if found is None:
            raise NoScale(f'found no controllers for pod "{pod["metadata"]["name"]}"')
        return found

    def _find(self, reference: Obj, namespace: str) -> Obj | None:
        group = reference["apiVersion"].rpartition("/")[0]
        informer = self.known.get((group, reference["kind"]))
        owner = informer.cache.get(reference["name"], namespace) if informer is not None else None
        return owner if owner is not None and owner["metadata"]["uid"] == reference["uid"] else None

    async def _ask(self, reference: Obj, namespace: str) -> tuple[str, int] | None:
        resource = await self.discovery.of_kind(reference["apiVersion"], reference["kind"])
        if resource is None:
            kind, version = reference["kind"], reference["apiVersion"]
            raise NoScale(f'no matches for kind "{kind}" in version "{version}"')
        try:
            scale = await self.client.get_scale(resource, reference["name"], namespace)
        except Exception as error:
            if not is_not_found(error):
                raise
            if not await self._has_scale(resource):
                raise NoScale(f"{resource.qualified} does not implement the scale subresource") from None
            return None
        if scale["metadata"]["uid"] != reference["uid"]:
            return None
        return scale["metadata"]["uid"], int((scale.get("spec") or {}).get("replicas", 0))

    async def _has_scale(self, resource: Resource) -> bool:
        return any(found.resource == resource and "scale" in found.subresources for found in await self.discovery.all())

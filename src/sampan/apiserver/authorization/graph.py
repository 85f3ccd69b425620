"""Whose objects are whose: what the pods of a node refer to, kept up with the watch cache.

    node <- pod <- secret, configmap, serviceaccount, claim, resource claim
                   claim <- volume <- secret
    node <- volume attachment, resource slice, pod certificate request

Only what pods refer to must be remembered; the rest is read from the objects themselves when somebody asks.

Source: kubernetes/plugin/pkg/auth/authorizer/node/{graph,graph_populator}.go; pkg/api/v1/{pod,persistentvolume}/util.go
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sampan.api.kind import Obj
from sampan.apiserver.cache import Entry, EventType, Record, Watcher

if TYPE_CHECKING:
    from sampan.apiserver.api import Api

#: resource, namespace, name
Reference = tuple[str, str, str]
MIRROR = "kubernetes.io/config.mirror"
#: volumes whose secret is named by `secretRef`
SECRET_REFS = ("cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos")


class Graph:
    """Reads the caches when first asked, and again when they were loaded anew."""

    def __init__(self, api: Api) -> None:
        self.pods = api.cached("", "pods")
        self.volumes = api.cached("", "persistentvolumes")
        #: resource to the field that names its node
        self._direct = {
            "volumeattachments": (api.cached("storage.k8s.io", "volumeattachments"), "nodeName"),
            "resourceslices": (api.cached("resource.k8s.io", "resourceslices"), "nodeName"),
            "podcertificaterequests": (api.cached("certificates.k8s.io", "podcertificaterequests"), "nodeName"),
        }
        self._seen: tuple[Any, ...] = ()
        self._nodes: dict[Reference, Counter[str]] = {}
        self._of_pod: dict[str, tuple[str, list[Reference]]] = {}
        #: volumes that use a secret
        self._using: dict[Reference, set[str]] = {}
        self.pods.watchers.add(Watcher("", "", None, self._pod_changed))
        self.volumes.watchers.add(Watcher("", "", None, self._volume_changed))

    def reaches(self, resource: str, namespace: str, name: str, node: str) -> bool:
        """Whether the object has to do with a pod on the node, or with the node itself."""
        self._follow()
        if resource in self._direct:
            cache, field = self._direct[resource]
            record = cache.get(f"{namespace}/{name}" if namespace else name)
            return record is not None and bool(node) and record.obj().get("spec", {}).get(field) == node
        if resource == "pods":
            return self._of_pod.get(f"{namespace}/{name}", ("",))[0] == node
        if resource == "persistentvolumes":
            return self._volume_reaches(name, node)
        key = (resource, namespace, name)
        if node in self._nodes.get(key, ()):
            return True
        return any(self._volume_reaches(volume, node) for volume in self._using.get(key, ()))

    def _volume_reaches(self, name: str, node: str) -> bool:
        record = self.volumes.get(name)
        claim = record.obj()["spec"].get("claimRef") if record is not None else None
        if not claim:
            return False
        return node in self._nodes.get(
            ("persistentvolumeclaims", claim.get("namespace", ""), claim.get("name", "")), ()
        )

    # -- following -----------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        now = (self.pods.records, self.volumes.records)
        if self._seen and all(a is b for a, b in zip(now, self._seen, strict=True)):
            return
        self._seen = now
        self._nodes, self._of_pod, self._using = {}, {}, {}
        for record in self.pods.records.values():
            self._add_pod(record)
        for record in self.volumes.records.values():
            self._add_volume(record)

    def _pod_changed(self, entry: Entry, kind: EventType) -> None:
        if not self._seen:
            return
        self._drop_pod(entry.record.key)
        if kind != "DELETED":
            self._add_pod(entry.record)

    def _add_pod(self, record: Record) -> None:
        node = record.field("spec.nodeName")
        if not node:
            return
        references = list(pod_references(record.obj()))
        self._of_pod[record.key] = (node, references)
        for reference in references:
            self._nodes.setdefault(reference, Counter())[node] += 1

    def _drop_pod(self, key: str) -> None:
        node, references = self._of_pod.pop(key, ("", []))
        for reference in references:
            count = self._nodes[reference]
            count[node] -= 1
            if not count[node]:
                del count[node]
            if not count:
                del self._nodes[reference]

    def _volume_changed(self, entry: Entry, kind: EventType) -> None:
        if entry.before is not None:
            for reference in volume_secrets(entry.before.obj()):
                self._using.get(reference, set()).discard(entry.record.name)
        if kind != "DELETED":
            self._add_volume(entry.record)

    def _add_volume(self, record: Record) -> None:
        for reference in volume_secrets(record.obj()):
            self._using.setdefault(reference, set()).add(record.name)


def pod_references(pod: Obj) -> Iterator[Reference]:
    """Everything in its namespace that a pod's node must read for it; each once. A mirror pod, which its node made,
    earns nothing."""
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    if MIRROR in (meta.get("annotations") or {}):
        return
    namespace = meta["namespace"]
    found: dict[tuple[str, str], None] = {}

    def note(resource: str, name: Any) -> None:
        if name:
            found[resource, name] = None

    note("serviceaccounts", spec.get("serviceAccountName"))
    for secret in spec.get("imagePullSecrets") or ():
        note("secrets", secret.get("name"))
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            for resource, name in _environment(container):
                note(resource, name)
    for volume in spec.get("volumes") or ():
        for resource, name in _volume(volume, meta["name"]):
            note(resource, name)
    by_status = {item["name"]: item.get("resourceClaimName") for item in status.get("resourceClaimStatuses") or ()}
    for claim in spec.get("resourceClaims") or ():
        note("resourceclaims", claim.get("resourceClaimName") or by_status.get(claim.get("name")))
    note("resourceclaims", (status.get("extendedResourceClaimStatus") or {}).get("resourceClaimName"))
    for resource, name in found:
        yield resource, namespace, name


def _environment(container: Obj) -> Iterator[tuple[str, Any]]:
    for source in container.get("envFrom") or ():
        yield "secrets", (source.get("secretRef") or {}).get("name")
        yield "configmaps", (source.get("configMapRef") or {}).get("name")
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        yield "secrets", (source.get("secretKeyRef") or {}).get("name")
        yield "configmaps", (source.get("configMapKeyRef") or {}).get("name")


def _volume(volume: Obj, pod: str) -> Iterator[tuple[str, Any]]:
    yield "secrets", (volume.get("secret") or {}).get("secretName")
    yield "secrets", (volume.get("azureFile") or {}).get("secretName")
    yield "secrets", ((volume.get("csi") or {}).get("nodePublishSecretRef") or {}).get("name")
    for kind in SECRET_REFS:
        yield "secrets", ((volume.get(kind) or {}).get("secretRef") or {}).get("name")
    yield "configmaps", (volume.get("configMap") or {}).get("name")
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield "secrets", (source.get("secret") or {}).get("name")
        yield "configmaps", (source.get("configMap") or {}).get("name")
    yield "persistentvolumeclaims", (volume.get("persistentVolumeClaim") or {}).get("claimName")
    if volume.get("ephemeral") is not None:
        yield "persistentvolumeclaims", f"{pod}-{volume['name']}"


def volume_secrets(volume: Obj) -> Iterator[Reference]:
    """The secrets that a kubelet needs to mount a bound volume."""
    spec = volume["spec"]
    claim = spec.get("claimRef")
    if not claim:
        return
    home = claim.get("namespace", "")
    azure = spec.get("azureFile") or {}
    if azure.get("secretName"):
        yield "secrets", azure.get("secretNamespace") or home, azure["secretName"]
    references = [(spec.get(kind) or {}).get("secretRef") for kind in SECRET_REFS]
    csi = spec.get("csi") or {}
    references += [csi.get(name) for name in ("nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef")]
    for reference in references:
        if reference and reference.get("name"):
            yield "secrets", reference.get("namespace") or home, reference["name"]

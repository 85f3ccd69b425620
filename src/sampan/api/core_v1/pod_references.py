"""Which other objects a pod spec names.

Source: kubernetes/pkg/api/pod/util.go (VisitPodSecretNames, VisitPodConfigmapNames)
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.kind import Obj

#: volume sources that name a Secret, and where in them
_SECRET_PATHS = (
    ("secret", "secretName"), ("azureFile", "secretName"), ("cephfs", "secretRef"), ("cinder", "secretRef"),
    ("flexVolume", "secretRef"), ("rbd", "secretRef"), ("scaleIO", "secretRef"), ("iscsi", "secretRef"),
    ("storageos", "secretRef"), ("csi", "nodePublishSecretRef"),
)  # fmt: skip


def all_containers(spec: Obj) -> Iterator[Obj]:
    """Init containers, containers, ephemeral containers: upstream's order."""
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()
    yield from spec.get("ephemeralContainers") or ()


def secret_names(spec: Obj) -> Iterator[str]:
    """Names of Secrets, some maybe empty."""
    for reference in spec.get("imagePullSecrets") or ():
        yield reference.get("name", "")
    yield from _of_containers(spec, "secretKeyRef", "secretRef")
    for volume in spec.get("volumes") or ():
        for source, field in _SECRET_PATHS:
            found = (volume.get(source) or {}).get(field)
            if found:
                yield found if isinstance(found, str) else found.get("name", "")
        yield from _projected(volume, "secret")


def config_map_names(spec: Obj) -> Iterator[str]:
    """Names of ConfigMaps, some maybe empty."""
    yield from _of_containers(spec, "configMapKeyRef", "configMapRef")
    for volume in spec.get("volumes") or ():
        if volume.get("configMap"):
            yield volume["configMap"].get("name", "")
        yield from _projected(volume, "configMap")


def _of_containers(spec: Obj, key: str, whole: str) -> Iterator[str]:
    for container in all_containers(spec):
        for env in container.get("env") or ():
            found = (env.get("valueFrom") or {}).get(key)
            if found:
                yield found.get("name", "")
        for source in container.get("envFrom") or ():
            if source.get(whole):
                yield source[whole].get("name", "")


def _projected(volume: Obj, kind: str) -> Iterator[str]:
    for source in (volume.get("projected") or {}).get("sources") or ():
        if source.get(kind):
            yield source[kind].get("name", "")

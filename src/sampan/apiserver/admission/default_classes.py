"""The class of the cluster for what names none: storage classes for claims, ingress classes for ingresses.

Of several defaults the newest is taken, and of equally old ones the first by name.

Source: kubernetes/plugin/pkg/admission/storage/storageclass/setdefault/admission.go,
plugin/pkg/admission/network/defaultingressclass/admission.go
"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.api.kind import Obj
from sampan.apiserver.admission.chain import Attributes, Plugin
from sampan.apiserver.admission.lookup import Overview

BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
INGRESS_CLASS = "kubernetes.io/ingress.class"
STORAGE_DEFAULT = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
INGRESS_DEFAULT = ("ingressclass.kubernetes.io/is-default-class",)


def _default(objs: Iterable[Obj], marks: tuple[str, ...]) -> str:
    """The default's name, or empty."""
    found = [
        obj["metadata"]
        for obj in objs
        if any((obj["metadata"].get("annotations") or {}).get(mark) == "true" for mark in marks)
    ]
    found.sort(key=lambda meta: str(meta["name"]))
    found.sort(key=lambda meta: str(meta.get("creationTimestamp") or ""), reverse=True)
    return str(found[0]["name"]) if found else ""


class DefaultStorageClass(Plugin):
    resources = frozenset({("", "persistentvolumeclaims")})
    operations = frozenset({"CREATE"})

    def __init__(self) -> None:
        self.default = Overview("storage.k8s.io", "storageclasses", lambda objs: _default(objs, STORAGE_DEFAULT))

    async def mutate(self, attributes: Attributes) -> None:
        claim = attributes.obj
        if claim is None or BETA_CLASS in (claim["metadata"].get("annotations") or {}):
            return
        if claim["spec"].get("storageClassName") is None:
            name = self.default.of(attributes.api)
            if name:
                claim["spec"]["storageClassName"] = name


class DefaultIngressClass(Plugin):
    resources = frozenset({("networking.k8s.io", "ingresses")})
    operations = frozenset({"CREATE"})

    def __init__(self) -> None:
        self.default = Overview("networking.k8s.io", "ingressclasses", lambda objs: _default(objs, INGRESS_DEFAULT))

    async def mutate(self, attributes: Attributes) -> None:
        ingress = attributes.obj
        if ingress is None or INGRESS_CLASS in (ingress["metadata"].get("annotations") or {}):
            return
        spec = ingress.setdefault("spec", {})
        if spec.get("ingressClassName") is None:
            name = self.default.of(attributes.api)
            if name:
                spec["ingressClassName"] = name

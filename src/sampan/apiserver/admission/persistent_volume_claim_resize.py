"""A claim grows only while it is bound, and only where its storage class allows that.

Source: kubernetes/plugin/pkg/admission/storage/persistentvolume/resize/admission.go
"""

from __future__ import annotations

from sampan.api import quantity
from sampan.api.kind import Obj
from sampan.apiserver.admission.chain import Attributes, Plugin
from sampan.apiserver.admission.default_classes import BETA_CLASS
from sampan.apiserver.admission.lookup import find


class PersistentVolumeClaimResize(Plugin):
    resources = frozenset({("", "persistentvolumeclaims")})
    operations = frozenset({"UPDATE"})

    async def validate(self, attributes: Attributes) -> None:
        new, old = attributes.obj, attributes.old
        if new is None or old is None or quantity.compare(_size(new), _size(old)) <= 0:
            return
        if (old.get("status") or {}).get("phase") != "Bound":
            raise attributes.forbidden("Only bound persistent volume claims can be expanded")
        if not await self._allowed(attributes, _class(new), _class(old)):
            why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must"
            raise attributes.forbidden(f"{why} support resize")

    @staticmethod
    async def _allowed(attributes: Attributes, name: str, before: str) -> bool:
        if not name or name != before:
            return False
        found = await find(attributes.api, attributes.api.cached("storage.k8s.io", "storageclasses"), name)
        return found is not None and found.obj().get("allowVolumeExpansion") is True


def _size(claim: Obj) -> str:
    requests = (claim["spec"].get("resources") or {}).get("requests") or {}
    return str(requests.get("storage", "0"))


def _class(claim: Obj) -> str:
    given = (claim["metadata"].get("annotations") or {}).get(BETA_CLASS)
    return str(given if given is not None else claim["spec"].get("storageClassName") or "")

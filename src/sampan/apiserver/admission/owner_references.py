"""Nobody gives an object an owner whose deletion it holds up, without the right to hold that up.

Source: kubernetes/plugin/pkg/admission/gc/gc_admission.go
"""

from __future__ import annotations

from sampan.api.kind import Obj
from sampan.apiserver.admission.chain import Attributes, Plugin
from sampan.apiserver.authorization import attributes as authorization


class OwnerReferencesPermissionEnforcement(Plugin):
    operations = frozenset({"CREATE", "UPDATE"})
    subresources = None

    async def validate(self, attributes: Attributes) -> None:
        """Raises 403: no right to delete the object, or to change the owner's finalizers."""
        if attributes.obj is None or (
            attributes.group == "" and attributes.resource == "pods" and attributes.subresource
        ):
            return
        new, old = _owners(attributes.obj), _owners(attributes.old)
        if new == old:
            return
        asked = authorization.Attributes(
            "delete",
            attributes.group,
            attributes.version,
            attributes.resource,
            attributes.subresource,
            attributes.namespace,
            attributes.name,
        )
        decision = attributes.api.authorizer.authorize(attributes.user, asked)
        if decision.allowed is not True:
            why = f"cannot set an ownerRef on a resource you can't delete: {decision.reason}, <nil>"
            raise attributes.forbidden(why)
        before = {item.get("uid"): item for item in old}
        for owner in new:
            known = before.get(owner.get("uid"), {})
            if owner.get("blockOwnerDeletion") and not known.get("blockOwnerDeletion"):
                self._check_blocking(attributes, owner)

    @staticmethod
    def _check_blocking(attributes: Attributes, owner: Obj) -> None:
        told = "cannot set blockOwnerDeletion"
        group, _, version = str(owner.get("apiVersion", "")).rpartition("/")
        kind = attributes.api.registry.by_kind(group, version, str(owner.get("kind", "")))
        if kind is None:
            why = f"{told} in this case because cannot find RESTMapping for APIVersion {owner.get('apiVersion')}"
            raise attributes.forbidden(f"{why} Kind {owner.get('kind')}")
        names = kind.names
        asked = authorization.Attributes(
            "update",
            names.group,
            names.version,
            names.resource,
            "finalizers",
            attributes.namespace if names.namespaced else "",
            str(owner.get("name", "")),
        )
        decision = attributes.api.authorizer.authorize(attributes.user, asked)
        if decision.allowed is not True:
            why = f"{told} if an ownerReference refers to a resource you can't set finalizers on: {decision.reason}"
            raise attributes.forbidden(f"{why}, <nil>")


def _owners(obj: Obj | None) -> list[Obj]:
    return ((obj or {}).get("metadata") or {}).get("ownerReferences") or []

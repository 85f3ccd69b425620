"""Nothing new in a namespace that is not there or is going; the system's own namespaces are not deleted.

Source: k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle/admission.go
"""

from __future__ import annotations

from sampan.api import errors
from sampan.apiserver.admission.chain import Attributes, Plugin

IMMORTAL = {"default", "kube-system", "kube-public"}


class NamespaceLifecycle(Plugin):
    operations = frozenset({"CREATE", "DELETE"})
    # an eviction or a token in a namespace that is going is something new, too
    subresources = None

    async def mutate(self, attributes: Attributes) -> None:
        """Changes nothing; it checks before other plugins spend effort."""
        names = attributes.call.kind.names
        if attributes.operation == "DELETE":
            if (names.group, names.resource) == ("", "namespaces") and attributes.name in IMMORTAL:
                raise errors.forbidden("", "namespaces", attributes.name, "this namespace may not be deleted")
        elif names.namespaced:
            self._check(attributes)

    @staticmethod
    def _check(attributes: Attributes) -> None:
        namespace = attributes.namespace
        record = attributes.api.namespaces.get(namespace)
        if record is None:
            raise errors.not_found("", "namespaces", namespace)
        if record.field("status.phase") != "Terminating":
            return
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        error = errors.forbidden(attributes.group, attributes.resource, attributes.name, why)
        cause = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
        error.details = {**(error.details or {}), "causes": [cause]}
        raise error

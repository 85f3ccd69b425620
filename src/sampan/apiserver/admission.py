"""Admission: what may be refused or completed after authorization and before anything is stored.

The chain runs twice over a write: `mutate` may change the object, `validate` sees it as it will be stored. Plugins stand
in upstream's order; further ones, webhooks and quota take their places in `Chain`.

Source: kubernetes/pkg/kubeapiserver/options/plugins.go; plugin/pkg/admission/namespace/lifecycle
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from sampan.api import errors
from sampan.api.kind import Obj

if TYPE_CHECKING:
    from sampan.apiserver.call import Call

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]
IMMORTAL_NAMESPACES = {"default", "kube-system", "kube-public"}


class Plugin(Protocol):
    """One admission plugin. Raises StatusError to refuse."""

    async def mutate(self, call: Call, operation: Operation, obj: Obj | None, old: Obj | None) -> None: ...

    async def validate(self, call: Call, operation: Operation, obj: Obj | None, old: Obj | None) -> None: ...


class Chain:
    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self.plugins = tuple(plugins)

    async def mutate(self, call: Call, operation: Operation, obj: Obj | None, old: Obj | None) -> None:
        for plugin in self.plugins:
            await plugin.mutate(call, operation, obj, old)

    async def validate(self, call: Call, operation: Operation, obj: Obj | None, old: Obj | None) -> None:
        for plugin in self.plugins:
            await plugin.validate(call, operation, obj, old)


class NamespaceLifecycle:
    """Nothing new in a namespace that is not there or is going; the system's own namespaces are not deleted."""

    async def mutate(self, call: Call, operation: Operation, obj: Obj | None, old: Obj | None) -> None:
        """Changes nothing; it checks before other plugins spend effort."""
        if operation == "CREATE" and call.kind.names.namespaced and not call.info.subresource:
            self._check_namespace(call, obj)

    async def validate(self, call: Call, operation: Operation, obj: Obj | None, old: Obj | None) -> None:
        names = call.kind.names
        if operation == "DELETE" and names.group == "" and names.resource == "namespaces" and old is not None:
            name = old["metadata"]["name"]
            if name in IMMORTAL_NAMESPACES:
                raise errors.forbidden("", "namespaces", name, "this namespace may not be deleted")

    @staticmethod
    def _check_namespace(call: Call, obj: Obj | None) -> None:
        namespace = call.info.namespace
        record = call.api.namespaces.get(namespace)
        if record is None:
            raise errors.not_found("", "namespaces", namespace)
        if record.field("status.phase") != "Terminating":
            return
        names = call.kind.names
        name = obj["metadata"].get("name", "") if obj else ""
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        error = errors.forbidden(names.group, names.resource, name, why)
        cause = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
        error.details = {**(error.details or {}), "causes": [cause]}
        raise error

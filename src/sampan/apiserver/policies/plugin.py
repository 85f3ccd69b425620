"""The admission plugins MutatingAdmissionPolicy and ValidatingAdmissionPolicy, as far as every server needs them: CEL is
imported with the first binding."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sampan.apiserver.admission.chain import Attributes, Operation, Plugin
from sampan.apiserver.webhooks.match import GROUP, POLICIES

if TYPE_CHECKING:
    from sampan.apiserver.policies.enforce import Enforcer
    from sampan.apiserver.policies.mutate import Mutator


class _Policies(Plugin):
    """Nothing that is written through the API says what becomes of policies."""

    subresources = None
    #: the kind of the policies; that of their bindings has a `Binding` at its end
    kind: ClassVar[str]

    async def validate(self, attributes: Attributes) -> None:
        if attributes.kind[0] == GROUP and attributes.kind[2] in (self.kind, f"{self.kind}Binding"):
            from sampan.apiserver.policies.authorizer import check_params

            check_params(attributes, self.kind)


def _is_policy(attributes: Attributes) -> bool:
    return attributes.kind[0] == GROUP and attributes.kind[2] in POLICIES


class MutatingAdmissionPolicy(_Policies):
    operations: ClassVar[frozenset[Operation] | None] = frozenset({"CREATE", "UPDATE", "CONNECT"})
    kind = "MutatingAdmissionPolicy"

    def __init__(self) -> None:
        self._mutator: Mutator | None = None

    async def mutate(self, attributes: Attributes) -> None:
        if self._mutator is None:
            if not attributes.api.cached(GROUP, "mutatingadmissionpolicybindings").records:
                return
            from sampan.apiserver.policies.mutate import Mutator

            self._mutator = Mutator()
        if not _is_policy(attributes):
            await self._mutator.mutate(attributes)


class ValidatingAdmissionPolicy(_Policies):
    kind = "ValidatingAdmissionPolicy"

    def __init__(self) -> None:
        self._enforcer: Enforcer | None = None

    async def validate(self, attributes: Attributes) -> None:
        if _is_policy(attributes):
            await super().validate(attributes)
            return
        if self._enforcer is None:
            if not attributes.api.cached(GROUP, "validatingadmissionpolicybindings").records:
                return
            from sampan.apiserver.policies.enforce import Enforcer

            self._enforcer = Enforcer()
        await self._enforcer.validate(attributes)

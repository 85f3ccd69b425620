"""The admission plugin ValidatingAdmissionPolicy, as far as every server needs it: CEL is imported with the first binding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.apiserver.admission.chain import Attributes, Plugin
from sampan.apiserver.webhooks.match import GROUP, is_exempt

if TYPE_CHECKING:
    from sampan.apiserver.policies.enforce import Enforcer

WITH_PARAMS = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")


class ValidatingAdmissionPolicy(Plugin):
    subresources = None

    def __init__(self) -> None:
        self._enforcer: Enforcer | None = None

    async def validate(self, attributes: Attributes) -> None:
        if is_exempt(attributes):
            if attributes.kind[2] in WITH_PARAMS:
                from sampan.apiserver.policies.authorizer import check_params

                check_params(attributes)
            return
        if self._enforcer is None:
            if not attributes.api.cached(GROUP, "validatingadmissionpolicybindings").records:
                return
            from sampan.apiserver.policies.enforce import Enforcer

            self._enforcer = Enforcer()
        await self._enforcer.validate(attributes)

"""The admission plugins MutatingAdmissionWebhook and ValidatingAdmissionWebhook, as far as every server needs them.

What calls webhooks is imported with the first webhook that is registered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sampan.apiserver.admission.chain import Attributes, Plugin
from sampan.apiserver.api import Api
from sampan.apiserver.webhooks.match import GROUP, is_exempt

if TYPE_CHECKING:
    from sampan.apiserver.webhooks.hooks import Hook, Hooks


class _Webhooks(Plugin):
    subresources = None
    configurations: ClassVar[str]

    def __init__(self) -> None:
        self._hooks: Hooks | None = None

    def concerns(self, attributes: Attributes) -> bool:
        return super().concerns(attributes) and not is_exempt(attributes)

    def idle(self, api: Api) -> bool:
        """There never was one."""
        return self._hooks is None and not api.cached(GROUP, self.configurations).records

    async def registered(self, api: Api) -> tuple[Hook, ...]:
        if self._hooks is None:
            from sampan.apiserver.webhooks.hooks import Hooks

            self._hooks = Hooks(self.configurations)
        return await self._hooks.current(api)


class MutatingAdmissionWebhook(_Webhooks):
    configurations = "mutatingwebhookconfigurations"

    async def mutate(self, attributes: Attributes) -> None:
        if self.idle(attributes.api):
            return
        hooks = await self.registered(attributes.api)
        if hooks:
            from sampan.apiserver.webhooks.mutating import dispatch

            await dispatch(hooks, attributes)


class ValidatingAdmissionWebhook(_Webhooks):
    configurations = "validatingwebhookconfigurations"

    async def validate(self, attributes: Attributes) -> None:
        if self.idle(attributes.api):
            return
        hooks = await self.registered(attributes.api)
        if hooks:
            from sampan.apiserver.webhooks.validating import dispatch

            await dispatch(hooks, attributes)

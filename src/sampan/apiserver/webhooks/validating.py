"""ValidatingAdmissionWebhook: all webhooks that the write concerns are asked at once, and the first refusal counts.

Source: k8s.io/apiserver/pkg/admission/plugin/webhook/validating/dispatcher.go
"""

from __future__ import annotations

import asyncio

from sampan.api.errors import StatusError
from sampan.apiserver.admission.chain import Attributes, Plugin
from sampan.apiserver.webhooks.client import WebhookClients
from sampan.apiserver.webhooks.hooks import CallFailed, Hook, Hooks
from sampan.apiserver.webhooks.match import Matched, converted, is_exempt
from sampan.apiserver.webhooks.review import denied


class ValidatingAdmissionWebhook(Plugin):
    subresources = None

    def __init__(self) -> None:
        self._hooks = Hooks("validatingwebhookconfigurations")

    def concerns(self, attributes: Attributes) -> bool:
        return not is_exempt(attributes)

    async def validate(self, attributes: Attributes) -> None:
        hooks = self._hooks.current(attributes.api)
        if not hooks:
            return
        concerned = [(hook, found) for hook in hooks if (found := await hook.concerns(attributes)) is not None]
        if not concerned:
            return
        clients = attributes.api.webhooks
        if len(concerned) == 1:
            refused = [await self._ask(clients, attributes, *concerned[0])]
        else:
            refused = await asyncio.gather(*(self._ask(clients, attributes, *item) for item in concerned))
        for error in refused:
            if error is not None:
                raise error

    @staticmethod
    async def _ask(clients: WebhookClients, attributes: Attributes, hook: Hook, matched: Matched) -> StatusError | None:
        obj = converted(attributes.api, attributes.obj, attributes.kind, matched.kind)
        try:
            answer = await hook.ask(clients, attributes, matched, obj, mutating=False)
        except CallFailed as error:
            return hook.failed(error)
        except StatusError as error:
            return error
        return None if answer.allowed else denied(hook.name, answer.status)

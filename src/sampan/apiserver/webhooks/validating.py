"""Validating webhooks: all that the write concerns are asked at once, and the first refusal counts.

Source: k8s.io/apiserver/pkg/admission/plugin/webhook/validating/dispatcher.go
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sampan.api.errors import StatusError
from sampan.apiserver.admission.chain import Attributes
from sampan.apiserver.webhooks.hooks import CallFailed, Hook
from sampan.apiserver.webhooks.match import Matched, converted
from sampan.apiserver.webhooks.review import denied


async def dispatch(hooks: Sequence[Hook], attributes: Attributes) -> None:
    """Raises StatusError."""
    concerned = [(hook, found) for hook in hooks if (found := await hook.concerns(attributes)) is not None]
    if len(concerned) == 1:
        refused = [await _ask(attributes, *concerned[0])]
    else:
        refused = await asyncio.gather(*(_ask(attributes, *item) for item in concerned))
    for error in refused:
        if error is not None:
            raise error


async def _ask(attributes: Attributes, hook: Hook, matched: Matched) -> StatusError | None:
    try:
        obj = await converted(attributes.api, attributes.obj, attributes.kind, matched.kind)
        with hook.counted(attributes):
            answer = await hook.ask(attributes.api.webhooks, attributes, matched, obj, mutating=False)
            if not answer.allowed:
                raise denied(hook.name, answer.status)
    except CallFailed as error:
        return hook.failed(error)
    except StatusError as error:
        return error
    return None

"""Plugins for tests of the chain itself: one that lets everything pass, one that lets nothing.

Source: kubernetes/plugin/pkg/admission/{admit,deny}/admission.go
"""

from __future__ import annotations

from sampan.apiserver.admission.chain import Attributes, Plugin


class AlwaysAdmit(Plugin):
    """No opinion."""


class AlwaysDeny(Plugin):
    subresources = None

    async def mutate(self, attributes: Attributes) -> None:
        raise attributes.forbidden("admission control is denying all modifications")

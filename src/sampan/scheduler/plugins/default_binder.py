"""DefaultBinder: the pod gets its node by the `binding` subresource.

Source: plugins/defaultbinder/default_binder.go
"""

from __future__ import annotations

from sampan.client import Client
from sampan.scheduler.changes import Hint
from sampan.scheduler.framework import Cycle, Plugin


class DefaultBinder(Plugin):
    name = "DefaultBinder"

    def __init__(self, client: Client) -> None:
        self.client = client

    async def bind(self, cycle: Cycle, node: str) -> bool:
        pod = cycle.pod
        await self.client.bind(pod.name, pod.namespace, node, uid=pod.uid)
        return True

    def hints(self) -> list[Hint]:
        return []

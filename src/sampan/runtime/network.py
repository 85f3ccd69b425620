"""The seam between a sandbox and the network: whoever attaches it gets its namespace and says its addresses.

What is here knows loopback alone, which every new namespace has; real networks come in through the same calls.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

NOT_INITIALIZED = "cni plugin not initialized"


@dataclass(frozen=True, slots=True)
class Attachment:
    """`config`: the PodSandboxConfig, with the port mappings and the pod's names."""

    sandbox: str
    namespace: Path
    config: Any


class Network(Protocol):
    def problem(self) -> str:
        """Why no pod can be attached; empty if they can."""

    async def start(self, known: Collection[str]) -> None:
        """Before any other call: what is left of other sandboxes than these is cleaned up. Raises CriError."""

    async def configure(self, pod_cidr: str) -> None:
        """The node's pod ranges, separated by commas: the kubelet says them at its start and when they change. Raises CriError."""

    async def attach(self, what: Attachment) -> tuple[str, ...]:
        """Addresses, the first one first. Raises CriError."""

    async def detach(self, what: Attachment) -> None:
        """Also of what was never attached, or only half. Raises CriError."""


class Loopback:
    """No network. Sandboxes run, but a node that has only this is not ready for pods that need more."""

    def problem(self) -> str:
        return f"Network plugin returns error: {NOT_INITIALIZED}"

    async def start(self, known: Collection[str]) -> None:
        return

    async def configure(self, pod_cidr: str) -> None:
        return

    async def attach(self, what: Attachment) -> tuple[str, ...]:
        return ()

    async def detach(self, what: Attachment) -> None:
        return

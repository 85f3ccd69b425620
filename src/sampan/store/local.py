"""What the stores in this process offer beyond the contract: to hear of a commit first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sampan.store.contract import Event

Listener = Callable[[Sequence[Event]], None]


class LocalStore(Protocol):
    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each commit's events, in the loop, before whoever wrote them goes on. Returns what ends
        the subscription."""

"""How long a container that ended, or an image that did not come, is let be: 10 s, doubled each time, 300 s at most.

Nothing is waited for here; whoever asks is told whether it is time. A back-off begins at an event (a container's end), and is forgotten
when twice the longest delay has passed without another.

Source: client-go/util/flowcontrol/backoff.go
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

FIRST, MOST = 10.0, 300.0


@dataclass(slots=True)
class _Entry:
    delay: float
    updated: float


class Backoffs:
    """`clock`: seconds since 1970, as the times of containers are."""

    def __init__(self, clock: Callable[[], float], first: float = FIRST, most: float = MOST) -> None:
        self._clock = clock
        self.first, self.most = first, most
        self._entries: dict[Hashable, _Entry] = {}

    def left(self, key: Hashable, since: float) -> float:
        """Seconds until it may be tried again after an event at `since`; 0: now."""
        entry = self._entries.get(key)
        if entry is None or self._expired(entry, since):
            return 0.0
        return max(0.0, entry.delay - (self._clock() - since))

    def left_since_update(self, key: Hashable) -> float:
        """As `left`, of an event that was the last try itself."""
        entry = self._entries.get(key)
        if entry is None or self._expired(entry, self._clock()):
            return 0.0
        return max(0.0, entry.delay - (self._clock() - entry.updated))

    def delay(self, key: Hashable) -> float:
        entry = self._entries.get(key)
        return entry.delay if entry is not None else 0.0

    def next(self, key: Hashable, since: float) -> None:
        """It is tried now; the next time, longer."""
        entry = self._entries.get(key)
        if entry is None or self._expired(entry, since):
            self._entries[key] = _Entry(self.first, self._clock())
        else:
            entry.delay = min(entry.delay * 2, self.most)
            entry.updated = self._clock()

    def forget(self, key: Hashable) -> None:
        self._entries.pop(key, None)

    def forget_all(self, match: Callable[[Hashable], bool]) -> None:
        for key in [key for key in self._entries if match(key)]:
            del self._entries[key]

    def _expired(self, entry: _Entry, event: float) -> bool:
        return event - entry.updated > 2 * self.most


def text(seconds: float) -> str:
    """As Go prints a duration of whole seconds: `10s`, `2m40s`, `5m0s`."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s" if minutes else f"{rest}s"

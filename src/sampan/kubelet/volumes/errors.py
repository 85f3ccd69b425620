"""What goes wrong with volumes, in the words of the events that tell it."""

from __future__ import annotations

from collections.abc import Sequence

FAILED_MOUNT = "FailedMount"


class SetUpFailed(Exception):
    """One volume cannot be made; as text: why, without saying which."""


class VolumeError(Exception):
    """Some of a pod's volumes are not there; each of `messages` is an event's. The pod waits, and is tried again."""

    def __init__(self, messages: Sequence[str], reason: str = FAILED_MOUNT) -> None:
        super().__init__("; ".join(messages))
        self.reason = reason
        self.messages = tuple(messages)
        self.message = str(self)


def joined(errors: Sequence[str]) -> str:
    """Several errors as one, as Go's aggregates print."""
    unique = list(dict.fromkeys(errors))
    return unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"

"""What goes wrong with volumes, in the words of the events that tell it."""

from __future__ import annotations

from collections.abc import Sequence

FAILED_MOUNT = "FailedMount"


class SetUpFailed(Exception):
    """One volume cannot be made; as text: why. `step`: at what it failed; `volume`: its name, where that is not the pod's for it."""

    def __init__(self, why: str, *, step: str = "MountVolume.SetUp", volume: str = "") -> None:
        super().__init__(why)
        self.step = step
        self.volume = volume

    def message(self, volume: str) -> str:
        return f'{self.step} failed for volume "{self.volume or volume}" : {self}'


class VolumeError(Exception):
    """Some of a pod's volumes are not there; each of `messages` is an event's. The pod waits, and is tried again."""

    def __init__(self, messages: Sequence[str], reason: str = FAILED_MOUNT) -> None:
        super().__init__("; ".join(messages))
        self.reason = reason
        self.messages = tuple(messages)
        self.message = str(self)


def not_processed(volume: str, why: str) -> VolumeError:
    """It is not even known what is to be mounted."""
    return VolumeError(
        [
            f"Unable to attach or mount volumes: unmounted volumes=[{volume}], unattached volumes=[], "
            f"failed to process volumes=[{volume}]: {why}"
        ]
    )


def words(error: OSError) -> str:
    """As Go says it."""
    text = (error.strerror or str(error)).lower()
    return f"{error.filename}: {text}" if error.filename else text


def joined(errors: Sequence[str]) -> str:
    """Several errors as one, as Go's aggregates print."""
    unique = list(dict.fromkeys(errors))
    return unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"

"""One label's values over all nodes, as small numbers: equal values have equal numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ABSENT = -1


class Column:
    """`ids[slot]`: the value's number, or `ABSENT`."""

    def __init__(self, room: int) -> None:
        self.ids = np.full(room, ABSENT, np.int64)
        self.numbers: dict[str, int] = {}
        self.texts: list[str] = []

    def set(self, slot: int, value: str | None) -> None:
        if value is None:
            self.ids[slot] = ABSENT
            return
        number = self.numbers.get(value)
        if number is None:
            number = self.numbers[value] = len(self.texts)
            self.texts.append(value)
        self.ids[slot] = number

    def grow(self, room: int) -> None:
        ids = np.full(room, ABSENT, np.int64)
        ids[: len(self.ids)] = self.ids
        self.ids = ids

    def sums(self, ids: NDArray[np.int64], amounts: NDArray[np.generic]) -> NDArray[np.float64]:
        """Amounts by value; the last entry is for nodes without the label. Index it with ids: `ABSENT` is the last."""
        out = np.bincount(ids + 1, weights=amounts, minlength=len(self.texts) + 1)
        return np.concatenate((out[1:], out[:1]))

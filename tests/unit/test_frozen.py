"""`@frozen` keeps what the standard decorator promises."""

from __future__ import annotations

import copy
import pickle
from dataclasses import fields, replace
from typing import ClassVar

import pytest

from sampan.api.frozen import frozen


@frozen
class Point:
    """With two fields."""

    x: int
    y: int = 3
    origin: ClassVar[int] = 7

    def sum(self) -> int:
        return self.x + self.y


@frozen
class Named:
    x: int

    def __repr__(self) -> str:
        return "secret"


def test_equal_by_value_and_class() -> None:
    assert Point(1) == Point(1, 3) != Point(1, 4)
    assert hash(Point(1)) == hash(Point(1, 3))
    assert Named(1) == Named(1) != Point(1)  # type: ignore[comparison-overlap]  # that they differ is the point
    assert Point(2).sum() == 5 and Point.origin == Point(1).origin == 7


def test_slots_arguments_and_words() -> None:
    assert repr(Point(1)) == "Point(x=1, y=3)" and repr(Named(1)) == "secret"
    assert Point.__doc__ == "With two fields." and not hasattr(Point(1), "__dict__")
    with pytest.raises(TypeError, match="'x'"):
        Point()  # type: ignore[call-arg]  # what is refused here
    match Point(5, 6):
        case Point(a, b):
            assert (a, b) == (5, 6)


def test_copies() -> None:
    assert copy.deepcopy(Point(1)) == pickle.loads(pickle.dumps(Point(1))) == Point(1)
    assert replace(Point(1), y=5) == Point(1, 5) and [field.name for field in fields(Point)] == ["x", "y"]

"""Quantities.

Source: k8s.io/apiserver/pkg/cel/library/quantity.go
"""

from __future__ import annotations

from fractions import Fraction

from sampan.api import quantity
from sampan.api.cel.errors import EvaluationError
from sampan.api.cel.functions import Library
from sampan.api.cel.values import INT_MAX, INT_MIN, Opaque

quantities = Library()


class Quantity(Opaque):
    __slots__ = ("value",)
    type_name = "kubernetes.Quantity"

    def __init__(self, value: Fraction) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)

    @property
    def whole(self) -> bool:
        return self.value.denominator == 1 and INT_MIN <= self.value <= INT_MAX


def _quantity(text: str) -> Quantity:
    try:
        return Quantity(quantity.parse(text))
    except ValueError as error:
        raise EvaluationError(str(error)) from None


def _is_quantity(text: str) -> bool:
    try:
        quantity.parse(text)
    except ValueError:
        return False
    return True


def _as_integer(of: Quantity) -> int:
    if not of.whole:
        raise EvaluationError("cannot convert value to integer")
    return int(of.value)


def _compare(a: Quantity, b: Quantity) -> int:
    return (a.value > b.value) - (a.value < b.value)


_Q = Quantity.type_name
quantities.function("quantity", "string_to_quantity", f"string -> {_Q}", _quantity)
quantities.function("isQuantity", "is_quantity_string", "string -> bool", _is_quantity)
quantities.function("sign", "quantity_sign", f"{_Q} -> int", lambda of: (of.value > 0) - (of.value < 0))
quantities.member("isGreaterThan", "quantity_is_greater_than", f"{_Q}, {_Q} -> bool", lambda a, b: a.value > b.value)
quantities.member("isLessThan", "quantity_is_less_than", f"{_Q}, {_Q} -> bool", lambda a, b: a.value < b.value)
quantities.member("compareTo", "quantity_compare_to", f"{_Q}, {_Q} -> int", _compare)
quantities.member("asApproximateFloat", "quantity_get_float", f"{_Q} -> double", lambda of: float(of.value))
quantities.member("asInteger", "quantity_get_int", f"{_Q} -> int", _as_integer)
quantities.member("isInteger", "quantity_is_integer", f"{_Q} -> bool", lambda of: of.whole)
quantities.member("add", "quantity_add", f"{_Q}, {_Q} -> {_Q}", lambda a, b: Quantity(a.value + b.value))
quantities.member("add", "quantity_add_int", f"{_Q}, int -> {_Q}", lambda a, b: Quantity(a.value + b))
quantities.member("sub", "quantity_sub", f"{_Q}, {_Q} -> {_Q}", lambda a, b: Quantity(a.value - b.value))
quantities.member("sub", "quantity_sub_int", f"{_Q}, int -> {_Q}", lambda a, b: Quantity(a.value - b))

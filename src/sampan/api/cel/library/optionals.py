"""Optional values. `optMap` and `optFlatMap` are macros; selecting and indexing are with the operators.

Source: cel-go cel/library.go (OptionalTypes)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sampan.api.cel.errors import EvaluationError
from sampan.api.cel.functions import Library
from sampan.api.cel.times import Duration, Timestamp
from sampan.api.cel.values import NONE, Optional

optionals = Library()


def _of_non_zero(value: Any) -> Optional:
    empty = isinstance(value, Duration) and value.ns == 0
    empty = empty or (isinstance(value, str | bytes | list | Mapping | int | float) and not value)
    return NONE if value is None or empty or value == _ZERO_TIME else Optional(value)


_ZERO_TIME = Timestamp(-62135596800 * 1_000_000_000)


def _value(optional: Optional) -> Any:
    if optional is NONE:
        raise EvaluationError("optional.none() dereference")
    return optional.value


optionals.function("optional.of", "optional_of", "V -> optional(V)", Optional)
optionals.function("optional.none", "optional_none", "-> optional(V)", lambda: NONE)
optionals.function("optional.ofNonZeroValue", "optional_ofNonZeroValue", "V -> optional(V)", _of_non_zero)
optionals.member("value", "optional_value", "optional(V) -> V", _value)
optionals.member("hasValue", "optional_hasValue", "optional(V) -> bool", lambda optional: optional is not NONE)
optionals.member(
    "or", "optional_or_optional", "optional(V), optional(V) -> optional(V)", lambda a, b: b if a is NONE else a
)
optionals.member("orValue", "optional_orValue_value", "optional(V), V -> V", lambda a, b: b if a is NONE else a.value)
optionals.function(
    "optional.unwrap",
    "optional_unwrap",
    "list(optional(V)) -> list(V)",
    lambda items: [item.value for item in items if item is not NONE],
)
optionals.member(
    "unwrapOpt",
    "optional_unwrapOpt",
    "list(optional(V)) -> list(V)",
    lambda items: [item.value for item in items if item is not NONE],
)

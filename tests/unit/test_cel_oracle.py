"""Against Google's own CEL (C++): generated expressions have the same value there, or fail there as well."""

from __future__ import annotations

import importlib
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.api import cel
from sampan.api.cel.times import Duration, Timestamp
from sampan.api.cel.values import Uint

pytest.importorskip("cel_expr_python")
pytestmark = pytest.mark.slow
oracle: Any = importlib.import_module("cel_expr_python.cel")
T = oracle.Type
VARIABLES: dict[str, tuple[Any, Any, Any]] = {
    "i": (cel.types.Int, T.INT, 7),
    "d": (cel.types.Double, T.DOUBLE, 2.5),
    "s": (cel.types.String, T.STRING, "héllo"),
    "b": (cel.types.Bool, T.BOOL, True),
    "l": (cel.types.ListType(cel.types.Int), T.List(T.INT), [3, 1, 2]),
    "m": (cel.types.MapType(cel.types.String, cel.types.Int), T.Map(T.STRING, T.INT), {"a": 1, "b": 2}),
    "x": (cel.types.Dyn, T.DYN, {"n": 1, "t": "text", "l": [1, "a", None], "f": False}),
}
THEIRS = oracle.NewEnv(variables={name: theirs for name, (_, theirs, _) in VARIABLES.items()})
OURS = cel.Environment({name: ours for name, (ours, _, _) in VARIABLES.items()})
VALUES = {name: value for name, (_, _, value) in VARIABLES.items()}
FAILED = "<failed>"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def theirs(source: str) -> Any:
    value = THEIRS.compile(source).eval(data=VALUES)
    return FAILED if value.type() == T.ERROR else plain(value.plain_value())


def ours(source: str) -> Any:
    try:
        return plain(OURS.compile(source).evaluate(VALUES))
    except cel.EvaluationError:
        return FAILED


def plain(value: Any) -> Any:
    """Both sides in one form, to the microsecond; True is not 1."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, Uint | int):
        return int(value)
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Timestamp):
        return ("time", value.ns // 1000)
    if isinstance(value, Duration):
        return ("span", value.ns // 1000)
    if isinstance(value, datetime):
        return ("time", (value - _EPOCH) // timedelta(microseconds=1))
    if isinstance(value, timedelta):
        return ("span", value // timedelta(microseconds=1))
    return value


def quoted(text: str) -> str:
    return (
        "'"
        + "".join(f"\\U{ord(letter):08x}" if not letter.isalnum() or ord(letter) > 127 else letter for letter in text)
        + "'"
    )


_INTS = st.sampled_from(
    [
        "0",
        "1",
        "-1",
        "7",
        "i",
        "9223372036854775807",
        "-9223372036854775808",
        "x.n",
        "l[1]",
        "m['a']",
        "m.b",
        "int(3.0)",
    ]
)
_DOUBLES = st.sampled_from(["0.0", "-0.5", "1e300", "d", "1e-7", "3.0"])
_STRINGS = st.one_of(
    st.sampled_from(["s", "x.t", "''", "'a'", "'Ab'", "'👑é'", "'12'"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4).map(quoted),
)
_TIMES = st.sampled_from([
    "timestamp('2009-02-13T23:31:30Z')", "timestamp('1969-12-31T23:59:59.999999Z')", "timestamp(0)",
    "timestamp('2024-02-29T12:00:00+02:30')",
])  # fmt: skip
_SPANS = st.sampled_from(
    ["duration('1h')", "duration('-1.5s')", "duration('0')", "duration('300ms')", "duration('10000h')"]
)
_ZONES = st.sampled_from(["'UTC'", "'America/New_York'", "'02:30'", "'-08:00'"])


def _join(*parts: Any) -> st.SearchStrategy[str]:
    """Strings and strategies, one after the other."""
    return st.tuples(*(st.just(part) if isinstance(part, str) else part for part in parts)).map("".join)


def grown(depth: int) -> dict[str, st.SearchStrategy[str]]:
    """Expressions of every type, `depth` levels deep."""
    if depth == 0:
        return {
            "int": _INTS, "double": _DOUBLES, "string": _STRINGS, "time": _TIMES, "span": _SPANS,
            "bool": st.sampled_from(["true", "false", "b", "x.f", "x.missing", "has(x.t)", "1/0 == 1"]),
            "list": st.sampled_from(["l", "[]", "[1, 2, i]", "x.l"]),
            "map": st.sampled_from(["m", "{'a': 1, 'c': i}"]),
        }  # fmt: skip
    b = grown(depth - 1)
    compared = st.sampled_from([" == ", " != ", " < ", " <= ", " > ", " >= "])
    arithmetic = st.sampled_from([" + ", " - ", " * ", " / "])
    condition = _join("(", b["bool"], " ? ")
    pred = st.sampled_from(["v > 1", "v != 2", "v % 2 == 0", "v / (v - 1) > 0", "v == i || v > 2", "dyn(v) < d"])
    return {
        "int": st.one_of(
            b["int"], _join("(", b["int"], arithmetic, b["int"], ")"), _join("(", b["int"], " % ", b["int"], ")"),
            _join("size(", b["list"], ")"), _join(b["map"], ".size()"), _join("size(", b["string"], ")"),
            _join("int(", b["double"], ")"), _join("int(", b["string"], ")"), _join("-(", b["int"], ")"),
            _join(b["list"], "[", b["int"], "]"), _join(b["map"], "[", b["string"], "]"), _join("int(", b["time"], ")"),
            _join(b["time"], st.sampled_from([".getFullYear", ".getMonth", ".getDate", ".getDayOfWeek", ".getHours", ".getDayOfYear"]), "(", _ZONES, ")"),
            _join(b["span"], st.sampled_from([".getHours()", ".getMinutes()", ".getSeconds()"])),
            _join(condition, b["int"], " : ", b["int"], ")"),
        ),
        "double": st.one_of(
            b["double"], _join("(", b["double"], arithmetic, b["double"], ")"), _join("double(", b["int"], ")"),
            _join("double(", b["string"], ")"),
        ),
        "string": st.one_of(
            b["string"], _join("(", b["string"], " + ", b["string"], ")"), _join("string(", b["int"], ")"),
            _join("string(", b["bool"], ")"), _join(condition, b["string"], " : ", b["string"], ")"),
            _join("string(bytes(", b["string"], "))"),
        ),
        "time": st.one_of(b["time"], _join("(", b["time"], st.sampled_from([" + ", " - "]), b["span"], ")")),
        "span": st.one_of(
            b["span"], _join("(", b["span"], " + ", b["span"], ")"), _join("(", b["time"], " - ", b["time"], ")"),
        ),
        "bool": st.one_of(
            b["bool"], _join("!(", b["bool"], ")"), _join("(", b["bool"], " && ", b["bool"], ")"),
            _join("(", b["bool"], " || ", b["bool"], ")"),
            *(_join("(", b[kind], compared, b[kind], ")") for kind in ("int", "double", "string", "time", "span")),
            _join("(dyn(", b["int"], ")", compared, b["double"], ")"), _join("(", b["list"], " == ", b["list"], ")"),
            _join("(", b["map"], " != ", b["map"], ")"), _join("(", b["int"], " in ", b["list"], ")"),
            _join("(", b["string"], " in ", b["map"], ")"), _join(b["string"], ".contains(", b["string"], ")"),
            _join(b["string"], ".startsWith(", b["string"], ")"), _join(b["string"], ".matches('^[a-z]+.?$')"),
            _join(b["list"], st.sampled_from([".all(v, ", ".exists(v, ", ".exists_one(v, "]), pred, ")"),
            _join(b["map"], st.sampled_from([".all(v, ", ".exists(v, "]), "v.startsWith('a') || m[v] > i)"),
            _join("(dyn(", b["int"], ") == dyn(", b["string"], "))"), _join("(type(", b["int"], ") == int)"),
        ),
        "list": st.one_of(
            b["list"], _join("(", b["list"], " + ", b["list"], ")"), _join("[", b["int"], ", ", b["int"], "]"),
            _join(b["list"], ".map(v, v * ", b["int"], ")"), _join(b["list"], ".filter(v, ", pred, ")"),
            _join(b["list"], ".map(v, ", pred, ", [v][0])"),
        ),
        "map": st.one_of(b["map"], _join("{", b["string"], ": ", b["int"], ", 'k': ", b["int"], "}")),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["int", "double", "string", "bool", "list", "map", "time", "span"])
def test_same_value_as_googles(kind: str) -> None:
    @settings(max_examples=60, deadline=None, database=None)
    @given(grown(2)[kind])
    def compare(source: str) -> None:
        assert ours(source) == theirs(source), source

    compare()

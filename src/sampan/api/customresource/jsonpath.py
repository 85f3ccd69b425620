"""The part of JSONPath that printer columns and scale paths use: `.spec.replicas`, `.status.conditions[?(@.type=="Ready")]
.status`, `.metadata.annotations['a\\.b/c']`, `[*]`, `[0]`, `[-1]`, `[1:3]`, `..name`.

Source: k8s.io/client-go/util/jsonpath/{parser,jsonpath}.go
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from sampan.api.customresource.values import go_number

Step = Callable[[Any], Iterator[Any]]
_NAME = re.compile(r"(?:[^.\[\]\\\s{}]|\\.)+")
_FILTER = re.compile(r"\s*@((?:\.[^\s=!<>()]+|\[[^\]]*\])*)\s*(?:(==|!=|<=|>=|<|>)\s*(.+?))?\s*", re.S)
_SLICE = re.compile(r"(-?\d+)?(:)?(-?\d+)?(?::(-?\d+))?")
#: bounds, however large the object and however deep `..` looks
MAX_RESULTS, MAX_VISITS = 1000, 20_000


class BadPath(ValueError):
    """A path that cannot be parsed."""


def parse(text: str) -> list[Step]:
    """The steps of a path; a leading `$` is allowed. Raises BadPath."""
    at, steps = 0, []
    text = text.strip()
    if text.count("..") > 1:
        # DEVIATION: upstream looks as deep as often as it is told
        raise BadPath(f"more than one recursive descent: {text}")
    if text.startswith("$"):
        at = 1
    while at < len(text):
        if text.startswith("..", at):
            match = _NAME.match(text, at + 2)
            if match is None:
                raise BadPath(f"unexpected end of path after ..: {text}")
            steps.append(_deep(_plain(match[0])))
            at = match.end()
        elif text[at] == ".":
            at += 1
            match = _NAME.match(text, at)
            if match is None:
                if at < len(text) and text[at] != "[":
                    raise BadPath(f"unrecognized character in path: {text[at:]}")
                continue
            steps.append(_all() if match[0] == "*" else _field(_plain(match[0])))
            at = match.end()
        elif text[at] == "[":
            end = _closing(text, at)
            steps.append(_bracket(text[at + 1 : end].strip()))
            at = end + 1
        else:
            match = _NAME.match(text, at)
            if match is None or at > 1:
                raise BadPath(f"unrecognized character in path: {text[at:]}")
            steps.append(_field(_plain(match[0])))
            at = match.end()
    return steps


def find(steps: list[Step], value: Any) -> list[Any]:
    """Everything the path leads to, in order; missing keys lead nowhere."""
    found = [value]
    for step in steps:
        below: list[Any] = []
        for item in found:
            for one in step(item):
                below.append(one)
                if len(below) >= MAX_RESULTS:
                    break
        found = below
    return found


def _plain(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name)


def _closing(text: str, at: int) -> int:
    quote, depth = "", 0
    for index in range(at, len(text)):
        char = text[index]
        if quote:
            if char == quote and text[index - 1] != "\\":
                quote = ""
        elif char in "'\"":
            quote = char
        elif char == "[":
            depth += 1
        elif char == "]":
            depth -= 1
            if not depth:
                return index
    raise BadPath("unterminated array")


def _bracket(inner: str) -> Step:
    if inner == "*":
        return _all()
    if inner.startswith("?(") and inner.endswith(")"):
        return _where(inner[2:-1])
    if inner[:1] in ("'", '"'):
        names = re.findall(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\"""", inner)
        if not names:
            raise BadPath(f"unterminated string in [{inner}]")
        return _fields([_plain(a or b) for a, b in names])
    match = _SLICE.fullmatch(inner)
    if match is None or not inner:
        if re.fullmatch(r"[\d\s,-]+", inner):
            return _indexes([int(part) for part in inner.split(",") if part.strip().lstrip("-").isdigit()])
        raise BadPath(f"invalid array index {inner}")
    first, colon, last, step = match.groups()
    if not colon:
        return _indexes([int(first)])
    return _slice(slice(*(int(part) if part else None for part in (first, last, step))))


def _field(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _fields(names: list[str]) -> Step:
    return lambda value: (value[name] for name in names if isinstance(value, dict) and name in value)


def _all() -> Step:
    def step(value: Any) -> Iterator[Any]:
        yield from value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()

    return step


def _indexes(indexes: list[int]) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from (value[index] for index in indexes if -len(value) <= index < len(value))

    return step


def _slice(part: slice) -> Step:
    return lambda value: iter(value[part] if isinstance(value, list) and part.step != 0 else ())


def _deep(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        todo = deque([value])
        for _ in range(MAX_VISITS):
            if not todo:
                return
            here = todo.popleft()
            if isinstance(here, dict):
                if name in here:
                    yield here[name]
                todo.extend(here.values())
            elif isinstance(here, list):
                todo.extend(here)

    return step


def _where(text: str) -> Step:
    match = _FILTER.fullmatch(text)
    if match is None:
        raise BadPath(f"invalid filter {text}")
    left, operator, right = parse(match[1] or "$"), match[2], match[3]
    wanted = _literal(right) if right is not None else None

    def holds(item: Any) -> bool:
        found = find(left, item)
        if operator is None:
            return bool(found)
        return bool(found) and _compare(found[0], operator, wanted)

    return lambda value: (item for item in (value if isinstance(value, list) else ()) if holds(item))


def _literal(text: str) -> Any:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return _plain(text[1:-1])
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    except ValueError:
        raise BadPath(f"unrecognized literal {text}") from None


def _compare(a: Any, operator: str, b: Any) -> bool:
    if operator in ("==", "!="):
        return (a == b and isinstance(a, bool) == isinstance(b, bool)) == (operator == "==")
    if isinstance(a, str) != isinstance(b, str) or a is None or isinstance(a, (dict, list)):
        return False
    return bool({"<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b}[operator])


def go_text(value: Any) -> str:
    """A value as Go's `%v` prints it, structures as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        import orjson

        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return go_number(value)

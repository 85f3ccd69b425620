"""Constants that must be right before anything runs: durations, timestamps, regular expressions, format strings.

Source: cel-go cel/validator.go, ext/formatting.go (stringFormatValidator)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sampan.api.cel.ast import Call, Constant, ListNode, Node
from sampan.api.cel.errors import EvaluationError, Issue
from sampan.api.cel.times import Duration, Timestamp


def check_constants(nodes: Sequence[Node]) -> Iterator[Issue]:
    for node in nodes:
        if isinstance(node, Call) and node.args:
            check = _CHECKS.get(node.name)
            issue = check(node) if check is not None else None
            if issue is not None:
                yield issue


def _text(node: Node | None) -> str | None:
    return node.value if isinstance(node, Constant) and isinstance(node.value, str) else None


def _duration(node: Call) -> Issue | None:
    return _parsed(Duration.parse, node.args[0], "invalid duration argument")


def _timestamp(node: Call) -> Issue | None:
    return _parsed(Timestamp.parse, node.args[0], "invalid timestamp argument")


def _parsed(parse: Callable[[str], object], arg: Node, otherwise: str) -> Issue | None:
    text = _text(arg)
    try:
        if text is not None:
            parse(text)
    except ValueError:
        return Issue(arg.at, otherwise)
    return None


def _pattern(node: Call) -> Issue | None:
    from sampan.api.cel.library.standard import pattern_of

    arg = node.args[-1]
    text = _text(arg)
    try:
        if text is not None:
            pattern_of(text)
    except EvaluationError:
        return Issue(arg.at, "invalid matches argument")
    return None


def _format(node: Call) -> Issue | None:
    from sampan.api.cel.library.formatting import format_problem

    items, text = node.args[0], _text(node.target)
    if text is None or not isinstance(items, ListNode):
        return None
    problem = format_problem(text, [item.type for item in items.items])
    if problem is None:
        return None
    place, message = problem
    return Issue(node.at if place is None else items.items[place].at, message)


_CHECKS: dict[str, Callable[[Call], Issue | None]] = {
    "duration": _duration,
    "timestamp": _timestamp,
    "matches": _pattern,
    "format": _format,
}

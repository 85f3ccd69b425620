"""Label and field selectors: parsed once, asked often.

`a=b,c in (d,e),!f` selects by labels, `metadata.name=x,status.phase!=Running` by the fields a kind offers. A selector
that cannot be parsed is a ValueError with upstream's words; the front door makes it a 400.

Source: k8s.io/apimachinery/pkg/labels/selector.go, pkg/fields/selector.go, metav1.LabelSelectorAsSelector
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from sampan.api import names
from sampan.api.frozen import frozen

_SPECIAL = "=!(),<>"
_WORDS = {"in", "notin"}
_OPERATORS = {"=", "==", "!=", "in", "notin", "gt", "lt"}


@frozen
class Requirement:
    """`operator`: in, notin, =, ==, !=, exists, !, gt or lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "in" | "=" | "==":
                return value in self.values
            case "notin" | "!=":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
        if value is None:
            return False
        try:
            left, right = int(value), int(self.values[0])
        except ValueError:
            return False
        return left > right if self.operator == "gt" else left < right

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return "!" + self.key
            case "=" | "==" | "!=":
                return f"{self.key}{self.operator}{self.values[0]}"
            case "gt" | "lt":
                return f"{self.key}{'>' if self.operator == 'gt' else '<'}{self.values[0]}"
        return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"


@frozen
class LabelSelector:
    """All requirements must hold; none: everything matches. `nothing`: the selector of an absent LabelSelector."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        labels = labels or {}
        return not self.nothing and all(r.matches(labels) for r in self.requirements)

    def __bool__(self) -> bool:
        return bool(self.requirements) or self.nothing

    def __str__(self) -> str:
        return ",".join(str(r) for r in self.requirements)


EVERYTHING = LabelSelector()


@functools.lru_cache(maxsize=1024)
def parse_label_selector(text: str) -> LabelSelector:
    """Raises ValueError with upstream's message."""
    parser = _Parser(_tokens(text))
    return LabelSelector(tuple(sorted(parser.requirements(), key=lambda r: r.key)))


def _tokens(text: str) -> list[str]:
    out: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char in " \t\r\n":
            at += 1
        elif char in _SPECIAL:
            end = at + 1
            if char in "=!" and end < len(text) and text[end] == "=":
                end += 1
            out.append(text[at:end])
            at = end
        else:
            end = at
            while end < len(text) and text[end] not in _SPECIAL and text[end] not in " \t\r\n":
                end += 1
            out.append(text[at:end])
            at = end
    return out


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def requirements(self) -> list[Requirement]:
        out: list[Requirement] = []
        if not self.tokens:
            return out
        while True:
            out.append(self.requirement())
            token = self.take()
            if not token:
                return out
            if token != ",":
                raise ValueError(f"found '{token}', expected: ',' or 'end of string'")
            if not self.peek() or self.peek() == ",":
                raise ValueError(f"found '{self.peek()}', expected: identifier after ','")

    def requirement(self) -> Requirement:
        negated = self.peek() == "!"
        if negated:
            self.take()
        key = self.take()
        if not key or key[0] in _SPECIAL:
            raise ValueError(f"unable to parse requirement: found '{key}', expected: identifier")
        _check_key(key)
        if negated:
            if self.peek() not in ("", ","):
                raise ValueError(
                    f"unable to parse requirement: found '{self.peek()}', expected: ',' or 'end of string'"
                )
            return Requirement(key, "!")
        token = self.peek()
        if token in ("", ","):
            return Requirement(key, "exists")
        operator = {">": "gt", "<": "lt"}.get(token, token)
        if operator not in _OPERATORS:
            raise ValueError(f"unable to parse requirement: found '{token}', expected: in, notin, =, ==, !=, gt, lt")
        self.take()
        values = self.value_set() if operator in _WORDS else (self.exact_value(),)
        if operator in ("gt", "lt") and not values[0].lstrip("-").isdigit():
            shown = "values[0]: Invalid value: " + _quoted(values[0])
            raise ValueError(
                f"unable to parse requirement: {shown}: for 'Gt', 'Lt' operators, the value must be an integer"
            )
        for index, value in enumerate(values):
            _check_value(key, index, value)
        return Requirement(key, operator, values)

    def exact_value(self) -> str:
        if self.peek() in ("", ","):
            return ""
        token = self.take()
        if token[0] in _SPECIAL:
            raise ValueError(f"unable to parse requirement: found '{token}', expected: identifier")
        return token

    def value_set(self) -> tuple[str, ...]:
        if self.take() != "(":
            raise ValueError(
                f"unable to parse requirement: found '{self.tokens[self.at - 1] if self.at <= len(self.tokens) else ''}', expected: '('"
            )
        out: list[str] = []
        expect_value = True
        while True:
            token = self.take()
            if token == ")":
                if expect_value:
                    out.append("")
                return tuple(dict.fromkeys(out))
            if token == ",":
                if expect_value:
                    out.append("")
                expect_value = True
            elif not token or token[0] in _SPECIAL or not expect_value:
                raise ValueError(f"unable to parse requirement: found '{token}', expected: ',', ')' or identifier")
            else:
                out.append(token)
                expect_value = False


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'


def _check_key(key: str) -> None:
    problems = names.is_qualified_name(key)
    if problems:
        raise ValueError(f"unable to parse requirement: key: Invalid value: {_quoted(key)}: {'; '.join(problems)}")


def _check_value(key: str, index: int, value: str) -> None:
    problems = names.is_valid_label_value(value)
    if problems:
        where = f"values[{index}][{key}]"
        raise ValueError(
            f"unable to parse requirement: {where}: Invalid value: {_quoted(value)}: {'; '.join(problems)}"
        )


_FROM_OBJECT = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


def label_selector_from(selector: dict[str, Any] | None) -> LabelSelector:
    """A `metav1.LabelSelector` as a selector: absent selects nothing, empty everything."""
    if selector is None:
        return LabelSelector(nothing=True)
    out = [Requirement(key, "=", (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
    for item in selector.get("matchExpressions") or ():
        operator = _FROM_OBJECT.get(item.get("operator", ""))
        if operator is None:
            raise ValueError(f"{_quoted(item.get('operator', ''))} is not a valid label selector operator")
        out.append(Requirement(item.get("key", ""), operator, tuple(item.get("values") or ())))
    return LabelSelector(tuple(sorted(out, key=lambda r: r.key)))


def selector_from_map(labels: dict[str, str] | None) -> LabelSelector:
    """A plain map (Service, ReplicationController) as a selector."""
    return LabelSelector(tuple(Requirement(k, "=", (v,)) for k, v in sorted((labels or {}).items())))


@frozen
class FieldTerm:
    field: str
    value: str
    equal: bool


@frozen
class FieldSelector:
    terms: tuple[FieldTerm, ...] = ()

    def matches(self, value_of: Callable[[str], str]) -> bool:
        return all((value_of(t.field) == t.value) is t.equal for t in self.terms)

    def renamed(self, names: Mapping[str, str]) -> FieldSelector:
        return FieldSelector(tuple(FieldTerm(names.get(t.field, t.field), t.value, t.equal) for t in self.terms))

    def exact(self, field: str) -> str | None:
        """The one value that `field` must have, if the selector says so."""
        for term in self.terms:
            if term.equal and term.field == field:
                return term.value
        return None

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __str__(self) -> str:
        return ",".join(f"{t.field}{'=' if t.equal else '!='}{t.value}" for t in self.terms)


_FIELD_OPERATOR = re.compile("!=|==|=")


@functools.lru_cache(maxsize=1024)
def parse_field_selector(text: str) -> FieldSelector:
    """Raises ValueError with upstream's message."""
    terms: list[FieldTerm] = []
    for part in _split_unescaped(text):
        if not part:
            continue
        found = _FIELD_OPERATOR.search(part)
        if found is None:
            raise ValueError(f"invalid selector: '{text}'; can't understand '{part}'")
        terms.append(FieldTerm(part[: found.start()], _unescape(part[found.end() :]), found[0] != "!="))
    return FieldSelector(tuple(terms))


def _split_unescaped(text: str) -> list[str]:
    if "\\" not in text:
        return text.split(",")
    out, here, escaped = [], "", False
    for char in text:
        if char == "," and not escaped:
            out.append(here)
            here = ""
        else:
            here += char
        escaped = char == "\\" and not escaped
    return [*out, here]


def _unescape(text: str) -> str:
    out, escaped = "", False
    for char in text:
        if escaped:
            if char not in "\\,=":
                raise ValueError(f"invalid field selector: invalid escape sequence: \\{char}")
            out += char
            escaped = False
        elif char == "\\":
            escaped = True
        elif char in ",=":
            raise ValueError(f"invalid field selector: unescaped character in value: {char}")
        else:
            out += char
    if escaped:
        raise ValueError("invalid field selector: invalid escape sequence: \\")
    return out

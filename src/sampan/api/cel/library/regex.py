"""`find` and `findAll`, by RE2.

Source: k8s.io/apiserver/pkg/cel/library/regex.go
"""

from __future__ import annotations

from typing import Any

from sampan.api.cel.errors import EvaluationError
from sampan.api.cel.functions import Library
from sampan.api.cel.library.standard import pattern_of

regex = Library()


def _pattern(text: str) -> Any:
    try:
        return pattern_of(text)
    except EvaluationError as error:
        raise EvaluationError(f"Illegal regex: {error}") from None


def _find(text: str, pattern: str) -> str:
    match = _pattern(pattern).search(text)
    return match.group() if match else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    out: list[str] = []
    for match in _pattern(pattern).finditer(text):
        if 0 <= limit <= len(out):
            break
        out.append(match.group())
    return out


regex.member("find", "string_find_string", "string, string -> string", _find)
regex.member("findAll", "string_find_all_string", "string, string -> list(string)", _find_all)
regex.member("findAll", "string_find_all_string_int", "string, string, int -> list(string)", _find_all)

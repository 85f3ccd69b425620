"""Semantic versions.

Source: k8s.io/apiserver/pkg/cel/library/semverlib.go, github.com/blang/semver/v4
"""

from __future__ import annotations

import re
from typing import Any

from sampan.api.cel.errors import EvaluationError
from sampan.api.cel.functions import Library
from sampan.api.cel.values import UINT_MAX, Opaque

semvers = Library()
_NUMBER = re.compile(r"\d+", re.ASCII)
_PART = re.compile(r"[0-9A-Za-z-]+", re.ASCII)


class Semver(Opaque):
    """`order` compares: a version without a prerelease comes after those with one. Build metadata does not count."""

    __slots__ = ("numbers", "order")
    type_name = "kubernetes.Semver"

    def __init__(self, text: str) -> None:
        """Raises ValueError with the upstream library's message."""
        if not text:
            raise ValueError("Version string empty")
        parts = text.split(".", 2)
        if len(parts) != 3:
            raise ValueError("No Major.Minor.Patch elements found")
        patch, plus, build = parts[2].partition("+")
        patch, dash, prerelease = patch.partition("-")
        major, minor = _number(parts[0], "Major"), _number(parts[1], "Minor")
        self.numbers = (major, minor, _number(patch, "Patch"))
        identifiers = [_identifier(part) for part in prerelease.split(".")] if dash else []
        for part in build.split(".") if plus else []:
            if not _PART.fullmatch(part):
                raise ValueError(
                    "Build meta data is empty"
                    if not part
                    else f'Invalid character(s) found in build meta data "{part}"'
                )
        self.order: tuple[Any, ...] = (self.numbers, not identifiers, identifiers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Semver) and other.order == self.order

    def __hash__(self) -> int:
        return hash(self.numbers)


def _number(text: str, what: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f'Invalid character(s) found in {what.lower()} number "{text}"')
    if len(text) > 1 and text[0] == "0":
        raise ValueError(f'{what} number must not contain leading zeroes "{text}"')
    if len(text) > 20 or int(text) > UINT_MAX:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)


def _identifier(text: str) -> tuple[int, int, str]:
    """Numbers come before words."""
    if not text:
        raise ValueError("Prerelease is empty")
    if _NUMBER.fullmatch(text):
        if len(text) > 1 and text[0] == "0":
            raise ValueError(f'Numeric PreRelease version must not contain leading zeroes "{text}"')
        return 0, int(text[:4000]), ""
    if not _PART.fullmatch(text):
        raise ValueError(f'Invalid character(s) found in prerelease "{text}"')
    return 1, 0, text


def _normal(text: str) -> str:
    """`v1.02` is `1.2.0`."""
    parts = text.removeprefix("v").split(".", 2)
    for place, part in enumerate(parts):
        if len(part) > 1:
            bare = part.lstrip("0")
            parts[place] = bare if bare and bare[0] in "0123456789" else f"0{bare}"
    if len(parts) < 3 and any(letter in parts[-1] for letter in "+-"):
        raise ValueError("short version cannot contain PreRelease/Build meta data")
    return ".".join((*parts, "0", "0")[:3])


def _semver(text: str, normalize: bool = False) -> Semver:
    try:
        return Semver(_normal(text) if normalize else text)
    except ValueError as error:
        raise EvaluationError(str(error)) from None


def _is_semver(text: str, normalize: bool = False) -> bool:
    try:
        _semver(text, normalize)
    except EvaluationError:
        return False
    return True


_S = Semver.type_name
semvers.function("semver", "string_to_semver", f"string -> {_S}", _semver)
semvers.function("semver", "string_bool_to_semver", f"string, bool -> {_S}", _semver)
semvers.function("isSemver", "is_semver_string", "string -> bool", _is_semver)
semvers.function("isSemver", "is_semver_string_bool", "string, bool -> bool", _is_semver)
semvers.member("isGreaterThan", "semver_is_greater_than", f"{_S}, {_S} -> bool", lambda a, b: a.order > b.order)
semvers.member("isLessThan", "semver_is_less_than", f"{_S}, {_S} -> bool", lambda a, b: a.order < b.order)
semvers.member(
    "compareTo", "semver_compare_to", f"{_S}, {_S} -> int", lambda a, b: (a.order > b.order) - (a.order < b.order)
)
for _place, _name in enumerate(("major", "minor", "patch")):
    semvers.member(_name, f"semver_{_name}", f"{_S} -> int", lambda of, place=_place: of.numbers[place])

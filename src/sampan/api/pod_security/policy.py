"""Levels and versions, and what the labels of a namespace say of them.

Source: k8s.io/pod-security-admission/api/{constants,helpers}.go
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from sampan.api.field import ErrorList, Path

Level = Literal["privileged", "baseline", "restricted"]
#: from the loosest to the strictest
LEVELS: tuple[Level, ...] = ("privileged", "baseline", "restricted")
PREFIX = "pod-security.kubernetes.io/"
MODES = ("enforce", "audit", "warn")
LATEST = -1
_VERSION = re.compile(r"v1\.([0-9]|[1-9][0-9]*)", re.ASCII)
_LABELS = tuple(PREFIX + name for mode in MODES for name in (mode, f"{mode}-version"))


@dataclass(frozen=True, slots=True)
class Standard:
    """`version`: the minor of v1.MINOR, or LATEST."""

    level: Level = "privileged"
    version: int = LATEST

    def __str__(self) -> str:
        return f"{self.level}:{'latest' if self.version == LATEST else f'v1.{self.version}'}"


@dataclass(frozen=True, slots=True)
class Policy:
    enforce: Standard = Standard()
    audit: Standard = Standard()
    warn: Standard = Standard()

    @property
    def privileged(self) -> bool:
        return {self.enforce.level, self.audit.level, self.warn.level} == {"privileged"}


PRIVILEGED = Policy()


def of_labels(labels: Mapping[str, str] | None, defaults: Policy = PRIVILEGED) -> tuple[Policy, ErrorList]:
    """A policy always, and what is wrong with the labels: what is enforced is then the strictest, what is only audited
    or warned of nothing."""
    if not labels:
        return defaults, ErrorList()
    return _of_values(tuple(labels.get(label) for label in _LABELS), defaults)


@functools.lru_cache(maxsize=1024)
def _of_values(values: tuple[str | None, ...], defaults: Policy) -> tuple[Policy, ErrorList]:
    problems = ErrorList()
    found: dict[str, Standard] = {}
    for index, mode in enumerate(MODES):
        standard: Standard = getattr(defaults, mode)
        level, version = values[2 * index], values[2 * index + 1]
        if level is not None:
            standard = replace(standard, level=_level(mode, level, problems))
        if version is not None:
            standard = replace(standard, version=_version(mode, version, problems))
        found[mode] = standard
    return Policy(**found), problems


def _level(mode: str, text: str, problems: ErrorList) -> Level:
    for level in LEVELS:
        if text == level:
            return level
    path = Path("metadata", "labels") @ (PREFIX + mode)
    problems.invalid(path, text, f"must be one of {', '.join(LEVELS)}")
    return "restricted" if mode == "enforce" else "privileged"


def _version(mode: str, text: str, problems: ErrorList) -> int:
    if text == "latest":
        return LATEST
    match = _VERSION.fullmatch(text)
    # Go's integers end somewhere
    if match is not None and len(match[1]) < 19:
        return int(match[1])
    path = Path("metadata", "labels") @ f"{PREFIX}{mode}-version"
    problems.invalid(path, text, 'must be "latest" or "v1.x"')
    return LATEST

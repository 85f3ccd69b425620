"""`$(VAR)` in commands, arguments, values of variables and sub-paths.

`$$` is a dollar sign; a name that nobody knows, and what is no reference at all, stay as they are written.

Source: kubernetes third_party/forked/golang/expansion/expand.go, pkg/kubelet/container/helpers.go
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

#: a dollar sign and what it makes of the next: another one, or a name in parentheses
_REFERENCE = re.compile(r"\$(?:(\$)|\(([^)]*)\))")


class Missing(Exception):
    """References to names that nobody knows, where that is not allowed."""


def expand(text: str, *known: Mapping[str, str]) -> str:
    """The first of `known` that has a name gives its value."""

    def value(match: re.Match[str]) -> str:
        if match[1]:
            return "$"
        for variables in known:
            if match[2] in variables:
                return variables[match[2]]
        return match[0]

    return _REFERENCE.sub(value, text)


def expand_all(texts: Iterable[str], known: Mapping[str, str]) -> list[str]:
    """For a command or its arguments."""
    return [expand(text, known) for text in texts]


def expand_strictly(text: str, known: Mapping[str, str]) -> str:
    """For sub-paths, where a name that stays would be a directory's. Raises Missing."""
    missing = [match[2] for match in _REFERENCE.finditer(text) if not match[1] and match[2] not in known]
    if missing:
        raise Missing(f'missing value for "{missing[-1]}"')
    return expand(text, known)

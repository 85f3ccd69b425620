"""Variables in a file that an init container wrote: `NAME='value'`, one after the other.

    # a comment
    HOST='db.example'
    TEXT='two
    lines'

A value stands in single quotes and is taken as it is, line breaks too; it cannot hold a single quote. Blank lines and what follows a
`#` outside of values mean nothing. All of it is valid for a shell, too.

Source: kubernetes pkg/kubelet/util/env/env_util.go; KEP-3721
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

MAX_BYTES = 1 << 20
_WRONG = "invalid environment variable format"


def value_of(volume: Path, path: str, name: str) -> str:
    """Empty: it is not there. Raises ValueError where the file is none of these, OSError."""
    return value(_read(volume, path), name)


def _read(volume: Path, path: str) -> str:
    """Not through links: containers write there, and must not show us files of the node."""
    file = os.open(volume, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in path.split("/"):
        following = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=file)
        os.close(file)
        file = following
    with os.fdopen(file, "rb") as opened:
        data = opened.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError("environment variable file is too large")
    return data.decode()


def value(text: str, name: str) -> str:
    """Of the first assignment to `name`; what comes after it is not looked at. Raises ValueError."""
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        line = line.lstrip(" \t")
        if not line or line.startswith("#"):
            continue
        found, rest = _assignment(line, number)
        if rest[:1] not in ("'", " ", "\t"):
            raise ValueError(f"{_WRONG} at line {number}: value must be enclosed in single quotes")
        content = (
            _quoted(rest[1:], number, lines) if rest.startswith("'") else ""
        )  # as shells do: `A= 'x'` makes A empty
        if found == name:
            return content
    return ""


def _assignment(line: str, number: int) -> tuple[str, str]:
    name, equals, rest = line.partition("=")
    if not equals:
        raise ValueError(f"{_WRONG} at line {number}: missing '='")
    if not name.strip(" \t"):
        raise ValueError(f"{_WRONG} at line {number}: empty variable name")
    if name != name.rstrip(" \t"):
        raise ValueError(f"{_WRONG} at line {number}: whitespace before '=' is not allowed")
    return name, rest


def _quoted(rest: str, began: int, lines: Iterator[tuple[int, str]]) -> str:
    """Up to the closing quote, which may be some lines further."""
    out, number = "", began
    while "'" not in rest:
        out += rest + "\n"
        number, rest = next(lines, (0, ""))
        if not number:
            raise ValueError(f"{_WRONG} starting at line {began}: unclosed single quote")
    content, _, after = rest.partition("'")
    after = after.lstrip(" \t")
    if after and not after.startswith("#"):
        raise ValueError(f"{_WRONG} at line {number}: unexpected content after closing quote")
    return out + content

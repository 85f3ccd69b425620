"""Variables in a file that an init container wrote: `NAME='value'`, one after the other.

    # a comment
    HOST='db.example'
    TEXT='two
    lines'

A value stands in single quotes and is taken as it is, line breaks too; it cannot hold a single quote. Blank lines and lines that
begin with `#` mean nothing.

Source: kubernetes pkg/kubelet/util/env/env_util.go; KEP-3721
"""

from __future__ import annotations

import os
from pathlib import Path

MAX_BYTES = 1 << 20


def value_of(volume: Path, path: str, name: str) -> str:
    """Empty: it is not there. Raises ValueError where the file is none of these, OSError."""
    return parse(_read(volume, path)).get(name, "")


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


def parse(text: str) -> dict[str, str]:
    """Raises ValueError."""
    out: dict[str, str] = {}
    at, line = 0, 1
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        stripped = text[at:end].strip()
        if not stripped or stripped.startswith("#"):
            at, line = end + 1, line + 1
            continue
        name, equals, rest = text[at:end].partition("=")
        if not equals or not name.strip() or not rest.lstrip().startswith("'"):
            raise ValueError(f"invalid environment variable format at line {line}")
        begin = text.index("'", at + len(name)) + 1
        close = text.find("'", begin)
        if close < 0:
            raise ValueError(f"unterminated value at line {line}")
        out.setdefault(name.strip(), text[begin:close])
        line += text.count("\n", begin, close) + 1
        end = text.find("\n", close)
        end = len(text) if end < 0 else end
        if text[close + 1 : end].strip() and not text[close + 1 : end].lstrip().startswith("#"):
            raise ValueError(f"invalid environment variable format at line {line}")
        at = end + 1
    return out

"""`.dockerignore`: which files of a directory a build does not see.

Source: https://docs.docker.com/build/concepts/context/#dockerignore-files; moby/patternmatcher
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path


class Ignore:
    """The last pattern that matches decides; `!` takes back."""

    def __init__(self, text: str) -> None:
        self._patterns: list[tuple[bool, re.Pattern[str]]] = []
        for line in text.splitlines():
            pattern = line.strip()
            if not pattern or pattern.startswith("#"):
                continue
            back = pattern.startswith("!")
            clean = posixpath.normpath(pattern.removeprefix("!").strip()).lstrip("/")
            self._patterns.append((back, re.compile(_translated(clean))))
        self._takes_back = any(back for back, _ in self._patterns)

    @classmethod
    def of(cls, context: Path, dockerfile: Path) -> Ignore:
        """A file beside the Dockerfile goes before the directory's."""
        for path in (dockerfile.with_name(f"{dockerfile.name}.dockerignore"), context / ".dockerignore"):
            if path.is_file():
                return cls(path.read_text())
        return cls("")

    def __call__(self, name: str) -> bool:
        """Is it left out, or one of the directories it is in?"""
        parts = name.split("/")
        ways = ["/".join(parts[: number + 1]) for number in range(len(parts))]
        ignored = False
        for back, pattern in self._patterns:
            if back == ignored and any(pattern.fullmatch(way) for way in ways):
                ignored = not back
        return ignored

    def whole(self, directory: str) -> bool:
        """Need it not even be looked into?"""
        return self(directory) and not self._takes_back


def _translated(pattern: str) -> str:
    out, at = "", 0
    while at < len(pattern):
        sign = pattern[at]
        if pattern.startswith("**/", at):
            out, at = out + "(?:.*/)?", at + 3
            continue
        if pattern.startswith("**", at):
            out, at = out + ".*", at + 2
            continue
        if sign == "[" and "]" in pattern[at:]:
            end = pattern.index("]", at)
            out, at = out + "[" + pattern[at + 1 : end].replace("\\", "\\\\") + "]", end + 1
            continue
        out += {"*": "[^/]*", "?": "[^/]"}.get(sign, re.escape(sign))
        at += 1
    return out

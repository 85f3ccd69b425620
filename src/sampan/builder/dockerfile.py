"""Dockerfiles: text to instructions, stage by stage, with variables replaced where Docker replaces them.

Source: https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

KNOWN = {
    "FROM", "RUN", "CMD", "LABEL", "MAINTAINER", "EXPOSE", "ENV", "ADD", "COPY", "ENTRYPOINT", "VOLUME", "USER", "WORKDIR",
    "ARG", "ONBUILD", "STOPSIGNAL", "HEALTHCHECK", "SHELL",
}  # fmt: skip
#: in which variables are replaced
REPLACED = {"FROM", "LABEL", "EXPOSE", "ENV", "ADD", "COPY", "VOLUME", "USER", "WORKDIR", "ARG", "STOPSIGNAL"}
_DIRECTIVE = re.compile(r"#\s*(\w+)\s*=\s*(.+?)\s*$")
_HEREDOC = re.compile(r"<<(-?)([\"']?)([A-Za-z_][A-Za-z0-9_]*)\2")
_VARIABLE = re.compile(r"\\(.)|\$(?:(\w+)|\{(\w+)(?:(:?[-+])([^}]*))?\})", re.DOTALL)
_FLAG = re.compile(r"--([a-z-]+)(?:=(\S*))?\s*")


class Mistake(ValueError):
    """What is wrong with the Dockerfile, for people."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """`rest`: as it was written, after the flags. `documents`: texts of here-documents, by their names."""

    name: str
    rest: str
    line: int
    flags: Mapping[str, str] = field(default_factory=dict)
    documents: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        flags = "".join(f" --{name}={value}" if value else f" --{name}" for name, value in self.flags.items())
        return f"{self.name}{flags} {self.rest}".strip()

    def words(self) -> list[str]:
        """JSON's or the shell's."""
        return self.array() or split(self.rest, self.line)

    def array(self) -> list[str] | None:
        """The exec form; None: it is not written as one."""
        if not self.rest.startswith("["):
            return None
        try:
            found = json.loads(self.rest)
        except ValueError:
            return None
        return found if isinstance(found, list) and all(isinstance(word, str) for word in found) else None


@dataclass(slots=True)
class Stage:
    base: str
    name: str
    line: int
    platform: str = ""
    instructions: list[Instruction] = field(default_factory=list)


def parse(text: str) -> tuple[list[Instruction], list[Stage]]:
    """ARGs before the first FROM, and the stages. Raises Mistake."""
    before: list[Instruction] = []
    stages: list[Stage] = []
    for each in _instructions(text):
        if each.name == "FROM":
            words = each.rest.split()
            named = words[2] if len(words) == 3 and words[1].upper() == "AS" else ""
            if len(words) not in (1, 3) or (len(words) == 3 and not named):
                raise Mistake(f"line {each.line}: FROM requires either one or three arguments")
            stages.append(Stage(words[0], named.lower(), each.line, each.flags.get("platform", "")))
        elif stages:
            stages[-1].instructions.append(each)
        elif each.name == "ARG":
            before.append(each)
        else:
            raise Mistake(f"line {each.line}: no build stage in current context: {each.name} before FROM")
    if not stages:
        raise Mistake("file with no instructions")
    return before, stages


def _instructions(text: str) -> list[Instruction]:
    lines = text.removeprefix("\ufeff").splitlines()
    escape = _escape(lines)
    out: list[Instruction] = []
    at = 0
    while at < len(lines):
        first, line = at, lines[at].strip()
        at += 1
        if not line or line.startswith("#"):
            continue
        while line.endswith(escape) and at < len(lines):
            following = lines[at].strip()
            at += 1
            if following.startswith("#") or not following:
                continue  # comments and empty lines may stand in between
            line = line[:-1] + following
        line = line.removesuffix(escape) if line.endswith(escape) else line
        documents, at = _documents(line, lines, at)
        out.append(_instruction(line, first + 1, documents))
    return out


def _escape(lines: list[str]) -> str:
    for line in lines:
        found = _DIRECTIVE.match(line)
        if found is None:
            break
        if found[1].lower() == "escape":
            return found[2]
    return "\\"


def _documents(line: str, lines: list[str], at: int) -> tuple[dict[str, str], int]:
    """Here-documents of an instruction that takes them, and the line after them."""
    out: dict[str, str] = {}
    if line.split(None, 1)[0].upper() not in ("RUN", "COPY", "ADD"):
        return out, at
    for dash, _, name in _HEREDOC.findall(line):
        said: list[str] = []
        while at < len(lines) and (lines[at].strip() if dash else lines[at]) != name:
            said.append(lines[at].lstrip("\t") if dash else lines[at])
            at += 1
        if at == len(lines):
            raise Mistake(f"here-document {name} has no end")
        at += 1
        out[name] = "".join(f"{each}\n" for each in said)
    return out, at


def _instruction(line: str, number: int, documents: dict[str, str]) -> Instruction:
    word, _, rest = line.partition(" ")
    name = word.upper()
    if name not in KNOWN:
        raise Mistake(f"line {number}: unknown instruction: {word}")
    rest, flags = rest.strip(), {}
    while name in ("FROM", "COPY", "ADD", "RUN", "HEALTHCHECK") and (found := _FLAG.match(rest)):
        flags[found[1]] = found[2] or ""
        rest = rest[found.end() :]
    if not rest:
        raise Mistake(f"line {number}: {name} requires at least one argument")
    return Instruction(name, rest, number, flags, documents)


def split(text: str, line: int) -> list[str]:
    """As a shell does. Raises Mistake."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Mistake(f"line {line}: {error}") from None


def replaced(text: str, known: Mapping[str, str]) -> str:
    """`$name`, `${name}`, `${name:-word}`, `${name:+word}`; a backslash before `$` keeps it."""

    def one(found: re.Match[str]) -> str:
        if found[1] is not None:
            return "$" if found[1] == "$" else found[0]
        name, operator, word = found[2] or found[3], found[4], found[5]
        value = known.get(name)
        there = bool(value) if operator and operator.startswith(":") else value is not None
        if operator and operator.endswith("+"):
            return replaced(word, known) if there else ""
        if operator and not there:
            return replaced(word, known)
        return value or ""

    return _VARIABLE.sub(one, text)


def pairs(text: str, line: int) -> dict[str, str]:
    """`key=value ...`, or the old form of one key and its value. Raises Mistake."""
    words = split(text, line)
    if words and "=" not in words[0]:
        key, _, value = text.partition(" ")
        if not value:
            raise Mistake(f"line {line}: syntax error - can't find = in {text!r}. Must be of the form: name=value")
        return {key: value.strip()}
    out = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise Mistake(f"line {line}: syntax error - can't find = in {word!r}. Must be of the form: name=value")
        out[key] = value
    return out

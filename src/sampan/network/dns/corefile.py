"""Reading a Corefile: words, server blocks, and a cursor over a directive's words, with Caddy's rules and complaints.

Source: github.com/coredns/caddy caddyfile/{lexer,parse,dispenser}.go
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: imports of snippets and of files, each: a snippet may import itself
MAX_IMPORTS = 1000
_VARIABLE = re.compile(r"\{%([^%]+)%\}|\{\$([^}]+)\}")


class CorefileError(Exception):
    """The message is complete, with file and line where there is one."""


@dataclass(frozen=True, slots=True)
class Token:
    file: str
    line: int
    text: str


@dataclass(slots=True)
class Block:
    """One server block: its keys, and all words of each directive, the name included, in the order they were written."""

    keys: list[str]
    tokens: dict[str, list[Token]] = field(default_factory=dict)


def lex(text: str, file: str) -> Iterator[Token]:
    """Words; `"..."` is one word, over lines too, with backslash-quote for a quote; `#` begins a comment."""
    line, word, start = 1, "", 0
    quoted = comment = escaped = False
    for char in text.removeprefix("\ufeff"):
        if quoted:
            if escaped:
                word += char if char == '"' else "\\" + char
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                yield Token(file, start, word)
                word, quoted = "", False
            else:
                word += char
            line += char == "\n"
            continue
        if char.isspace():
            comment = comment and char != "\n"
            if word:
                yield Token(file, start, word)
                word = ""
            line += char == "\n"
        elif comment or (char == "#" and not word):
            comment = True
        else:
            if not word:
                start = line
                if char == '"':
                    quoted = True
                    continue
            word += char
    if word:
        yield Token(file, start, word)


class Dispenser:
    """A cursor over words, on none of them at first."""

    def __init__(self, file: str, tokens: list[Token]) -> None:
        self.file = file
        self.tokens = tokens
        self.cursor = -1
        self._nesting = 0

    def next(self) -> bool:
        if self.cursor < len(self.tokens) - 1:
            self.cursor += 1
            return True
        return False

    def _same_line(self, at: int) -> bool:
        """Is the word at `at` on the line on which the one before it ends?"""
        last, this = self.tokens[at - 1], self.tokens[at]
        return last.file == this.file and last.line + last.text.count("\n") >= this.line

    def next_arg(self) -> bool:
        """The next word of the same line."""
        if self.cursor < 0:
            self.cursor = 0
            return bool(self.tokens)
        if self.cursor + 1 < len(self.tokens) and self._same_line(self.cursor + 1):
            self.cursor += 1
            return True
        return False

    def is_new_line(self) -> bool:
        return self.cursor < 1 or not self._same_line(self.cursor)

    def next_block(self) -> bool:
        """Onto the first word of a block `{ ... }` that begins on this line, and from line to line in it."""
        if self._nesting > 0:
            self.next()
            if self.val == "}":
                self._nesting -= 1
                return False
            return True
        if not self.next_arg():
            return False
        if self.val != "{":
            self.cursor -= 1
            return False
        self.next()
        if self.val == "}":
            return False
        self._nesting += 1
        return True

    @property
    def val(self) -> str:
        return self.tokens[self.cursor].text if 0 <= self.cursor < len(self.tokens) else ""

    def args(self) -> list[str]:
        """The rest of the line, without the brace of a block."""
        out = []
        while self.next_arg():
            if self.val == "{":
                self.cursor -= 1
                break
            out.append(self.val)
        return out

    def _place(self) -> str:
        known = 0 <= self.cursor < len(self.tokens)
        file = (self.tokens[self.cursor].file if known else "") or self.file
        return f"{file}:{self.tokens[self.cursor].line if known else 0}"

    def error(self, message: str) -> CorefileError:
        return CorefileError(f"{self._place()} - Error during parsing: {message}")

    def wrong_arguments(self) -> CorefileError:
        if self.val == "{":
            return self.error("Unexpected token '{', expecting argument")
        return self.error(f"Wrong argument count or unexpected line ending after '{self.val}'")

    def syntax(self, expected: str) -> CorefileError:
        message = f"Syntax error: Unexpected token '{self.val}', expecting '{expected}'"
        return CorefileError(f"{self._place()} - {message}")

    def end_of_file(self) -> CorefileError:
        return self.error("Unexpected EOF")


class _Parser(Dispenser):
    def __init__(self, file: str, tokens: list[Token], known: Collection[str], environ: Mapping[str, str]) -> None:
        super().__init__(file, tokens)
        self.known = known
        self.environ = environ
        self.snippets: dict[str, list[Token]] = {}
        self.block = Block([])
        self.imports = {"snippet": 0, "file": 0}

    def parse(self) -> list[Block]:
        out = []
        while self.next():
            self.block = Block([])
            self._begin()
            if self.block.keys:
                out.append(self.block)
        return out

    def _begin(self) -> None:
        if self._addresses():
            return
        keys = self.block.keys
        if len(keys) == 1 and keys[0].startswith("(") and keys[0].endswith(")"):
            name = keys[0][1:-1]
            if name in self.snippets:
                raise self.error(f"redeclaration of previously declared snippet {name}")
            self.snippets[name] = self._snippet()
            self.block.keys = []
            return
        self._contents()

    def _addresses(self) -> bool:
        """True when the file ends after them."""
        another = False
        while True:
            word = self._expanded(self.val)
            if word == "import" and self.is_new_line():
                self._import()
                if not self.next():
                    return True
                continue
            if word == "{":
                if another:
                    raise self.error(f"Expected another address but had '{word}' - check for extra comma")
                return False
            if word:
                another = word.endswith(",")
                self.block.keys.append(word.removesuffix(","))
            more = self.next()
            if another and not more:
                raise self.end_of_file()
            if not more:
                return True
            if not another and self.is_new_line():
                return False

    def _contents(self) -> None:
        braces = self.val == "{"
        if not braces:
            self.cursor -= 1  # a single server needs none
        while self.next() and self.val != "}":
            if self.val == "import":
                self._import()
                continue
            self._directive()
        if braces and self.val != "}":
            raise self.syntax("}")

    def _directive(self) -> None:
        name = self._expanded(self.val)
        if name not in self.known:
            raise self.error(f"Unknown directive '{name}'")
        words = self.block.tokens.setdefault(name, [])
        words.append(self.tokens[self.cursor])
        nesting = 0
        while self.next():
            if self.val == "{":
                nesting += 1
            elif self.is_new_line() and nesting == 0:
                self.cursor -= 1
                break
            elif self.val == "}" and nesting > 0:
                nesting -= 1
            elif self.val == "}":
                raise self.error("Unexpected '}' because no matching opening brace")
            elif self.val == "import" and self.is_new_line():
                self._import()
                continue
            token = self.tokens[self.cursor]
            words.append(Token(token.file, token.line, self._expanded(token.text)))
        if nesting > 0:
            raise self.end_of_file()

    def _snippet(self) -> list[Token]:
        if self.val != "{":
            raise self.syntax("{")
        depth = 1
        out: list[Token] = []
        while self.next():
            if self.val == "}":
                depth -= 1
                if depth == 0:
                    return out
            elif self.val == "{":
                depth += 1
            out.append(self.tokens[self.cursor])
        raise self.syntax("}")

    def _import(self) -> None:
        """Put what is imported in the place of `import NAME`; the cursor is then before it."""
        if not self.next_arg():
            raise self.wrong_arguments()
        wanted = self._expanded(self.val)
        if not wanted:
            raise self.error("Import requires a non-empty filepath")
        if self.next_arg():
            raise self.error("Import takes only one argument (glob pattern or file)")
        kind = "snippet" if wanted in self.snippets else "file"
        if self.imports[kind] >= MAX_IMPORTS:
            raise self.error(f"maximum {kind} import depth ({MAX_IMPORTS}) exceeded")
        self.imports[kind] += 1
        found = self.snippets[wanted] if kind == "snippet" else self._files(wanted)
        self.tokens = self.tokens[: self.cursor - 1] + found + self.tokens[self.cursor + 1 :]
        self.cursor -= 2

    def _files(self, wanted: str) -> list[Token]:
        here = self.tokens[self.cursor].file or self.file
        pattern = os.path.join(os.path.dirname(os.path.abspath(here)), wanted)
        if pattern.count("*") > 1 or pattern.count("?") > 1 or ("[" in pattern and "]" in pattern):
            raise self.error(f"Glob pattern may only contain one wildcard (*), but has others: {pattern}")
        found = sorted(glob.glob(pattern))
        if not found and not set("*?[]") & set(pattern):
            raise self.error(f"File to import not found: {wanted}")
        out: list[Token] = []
        for each in found:
            try:
                out += lex(Path(each).read_text(errors="replace"), each)
            except IsADirectoryError:
                raise self.error(f"Could not import {each}: is a directory") from None
            except OSError as error:
                raise self.error(f"Could not import {each}: {error.strerror}") from None
        return out

    def _expanded(self, text: str) -> str:
        if "{$" not in text and "{%" not in text:
            return text
        return _VARIABLE.sub(lambda found: self.environ.get(found[1] or found[2], ""), text)


def parse(text: str, file: str, known: Collection[str], environ: Mapping[str, str] = os.environ) -> list[Block]:
    """`known`: the directives there are. Raises CorefileError."""
    return _Parser(file, list(lex(text, file)), known, environ).parse()

"""Source to tokens.

One regular expression finds the next token, so that a source of the greatest length is read in milliseconds. What is
no token is reported as ANTLR does and left out.

Source: cel-go parser/gen/CEL.g4, parser/unescape.go
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from sampan.api.cel.errors import Issue

_INT_MAX = (1 << 63) - 1
_UINT_MAX = (1 << 64) - 1

_CODED = r"\\(?:[abfnrtv\"'\\?`]|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2})"
_STRING = rf"""(?:"{{3}}(?:[^\\]|{_CODED})*?"{{3}}|'{{3}}(?:[^\\]|{_CODED})*?'{{3}}
    |"(?:[^\\"\n\r]|{_CODED})*"|'(?:[^\\'\n\r]|{_CODED})*')"""
#: raw strings have no escapes, so a backslash does not hide the quote; bytes may be raw too, in either order
_RAW = r"""(?:"{3}.*?"{3}|'{3}.*?'{3}|"[^"\n\r]*"|'[^'\n\r]*')"""
_TOKEN = re.compile(
    rf"""
    (?P<space>[ \t\r\n\f]+|//[^\n]*)
  | (?P<raw>(?:[rR][bB]?|[bB][rR]){_RAW})
  | (?P<string>[bB]?{_STRING})
  | (?P<float>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
  | (?P<uint>(?:0x[0-9a-fA-F]+|\d+)[uU])
  | (?P<int>0x[0-9a-fA-F]+|\d+)
  | (?P<ident>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<escaped>`[A-Za-z0-9_.\-/\ ]+`)
  | (?P<op>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,(){{}}\[\]])
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
#: what is no token ends with the first character that cannot go on: half an operator, a string left open
_UNKNOWN = re.compile(
    r"""
    (["'])(?:(?!\1)[^\\\n\r]|CODED)*(?:\\(?:[xX][0-9a-fA-F]?|u[0-9a-fA-F]{0,3}|U[0-9a-fA-F]{0,7}|[0-3][0-7]?)?)?.?
  | ([|&=])(?!\2).?
  | .
    """.replace("CODED", _CODED),
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|X([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.))", re.DOTALL
)
_SIMPLE = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "'": "'", '"': '"', "`": "`", "?": "?",
}  # fmt: skip


class Token(NamedTuple):
    """`kind` is string, bytes, float, uint, int, ident, escaped, end, or the operator itself."""

    kind: str
    text: str
    at: int
    value: Any = None


def tokens(source: str, issues: list[Issue]) -> list[Token]:
    out: list[Token] = []
    at, end = 0, len(source)
    next_token = _TOKEN.match
    while at < end:
        match = next_token(source, at)
        if match is None:
            unknown = _UNKNOWN.match(source, at)
            text = unknown.group() if unknown else source[at]
            shown = text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
            issues.append(Issue(at, f"Syntax error: token recognition error at: '{shown}'"))
            at += len(text)
            continue
        kind, text = match.lastgroup or "", match.group()
        if kind == "op":
            out.append(Token(text, text, at))
        elif kind == "ident":
            out.append(Token(kind, text, at, text))
        elif kind in ("string", "raw"):
            out.append(_quoted(text, at, issues))
        elif kind != "space":
            out.append(_plain(kind, text, at, issues))
        at = match.end()
    out.append(Token("end", "<EOF>", len(source)))
    return out


def _plain(kind: str, text: str, at: int, issues: list[Issue]) -> Token:
    if kind in ("int", "uint"):
        digits = text.rstrip("uU")
        # the length is looked at first: Python refuses to read very long numbers
        value = int(digits, 0 if digits.startswith("0x") else 10) if len(digits) < 100 else _UINT_MAX + 1
        # one more than the greatest int is right behind a minus sign; the parser looks
        if value > (_UINT_MAX if kind == "uint" else _INT_MAX + 1):
            issues.append(Issue(at, f"invalid {kind} literal"))
            value = 0
        return Token(kind, text, at, value)
    if kind == "float":
        number = float(text)
        if number in (float("inf"), float("-inf")):
            issues.append(Issue(at, "invalid double literal"))
        return Token(kind, text, at, number)
    return Token(kind, text, at, text[1:-1])


def _quoted(text: str, at: int, issues: list[Issue]) -> Token:
    quote = min(place for place in (text.find('"'), text.find("'")) if place >= 0)
    prefix = text[:quote].lower()
    width = 3 if text[quote : quote + 3] in ('"""', "'''") and len(text) - quote >= 6 else 1
    body = text[quote + width : -width].replace("\r\n", "\n").replace("\r", "\n")
    binary = "b" in prefix
    bad: list[str] = []
    if "r" not in prefix and "\\" in body:
        value: Any = _unescape_bytes(body, bad) if binary else _unescape(body, bad)
    else:
        value = body.encode() if binary else body
    if bad:
        issues.append(Issue(at, f"{'bytes' if binary else 'string'} literal is invalid: {bad[0]}"))
    return Token("bytes" if binary else "string", text, at, value)


def _unescape(body: str, bad: list[str]) -> str:
    def one(match: re.Match[str]) -> str:
        *coded, octal, simple = match.groups()
        if simple is not None:
            if simple not in _SIMPLE:
                bad.append("unable to unescape string")
            return _SIMPLE.get(simple, "")
        code = int(octal, 8) if octal else int(next(code for code in coded if code), 16)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            bad.append("unable to unescape string")
            return ""
        return chr(code)

    return _ESCAPE.sub(one, body)


def _unescape_bytes(body: str, bad: list[str]) -> bytes:
    out = bytearray()
    place = 0
    for match in _ESCAPE.finditer(body):
        out += body[place : match.start()].encode()
        small, large, four, eight, octal, simple = match.groups()
        if four or eight or (simple is not None and simple not in _SIMPLE):
            bad.append("unable to unescape string")
        elif simple is not None:
            out += _SIMPLE[simple].encode()
        else:
            out.append(int(octal, 8) if octal else int(small or large, 16))
        place = match.end()
    return bytes(out + body[place:].encode())

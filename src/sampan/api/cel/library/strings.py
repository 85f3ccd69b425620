"""Strings, version 2 of the extension. Places are counted in code points.

Source: cel-go ext/strings.go
"""

from __future__ import annotations

from sampan.api.cel.errors import BudgetExceeded, EvaluationError
from sampan.api.cel.functions import Library
from sampan.api.cel.library.formatting import format_string, quote
from sampan.api.cel.values import MAX_SIZE

strings = Library()

_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
_LOWER = {upper: lower for lower, upper in _UPPER.items()}
#: what Go calls space
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"


def _out_of_range(index: int) -> EvaluationError:
    return EvaluationError(f"index out of range: {index}")


def _char_at(text: str, index: int) -> str:
    if not 0 <= index <= len(text):
        raise _out_of_range(index)
    return text[index : index + 1]


def _index_of(text: str, part: str, start: int = 0) -> int:
    if start < 0:
        raise _out_of_range(start)
    if not part:
        return start
    return text.find(part, start)


def _last_index_of(text: str, part: str) -> int:
    return text.rfind(part) if part else len(text)


def _last_index_before(text: str, part: str, start: int) -> int:
    """`start` is the last place where the part may begin."""
    if start < 0:
        raise _out_of_range(start)
    if not part:
        return start
    return text.rfind(part, 0, start + len(part))


def bounded(size: int) -> None:
    """Stops what would make a string that no one can pay for.

    DEVIATION: upstream makes it; `replace` and `join` can make gigabytes for little cost.
    """
    if size > 10 * MAX_SIZE:
        raise BudgetExceeded(False)


def _replace(text: str, old: str, new: str, limit: int = -1) -> str:
    count = text.count(old) if limit < 0 else min(limit, text.count(old))
    bounded(len(text) + count * (len(new) - len(old)))
    return text.replace(old, new, limit)


def _join(parts: list[str], separator: str = "") -> str:
    bounded(sum(map(len, parts)) + len(separator) * len(parts))
    return separator.join(parts)


def _split(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    if not separator:
        letters = list(text)
        if 0 < limit < len(letters):
            letters[limit - 1 :] = ["".join(letters[limit - 1 :])]
        return letters
    return text.split(separator, limit - 1 if limit > 0 else -1)


def _substring(text: str, start: int) -> str:
    if not 0 <= start <= len(text):
        raise _out_of_range(start)
    return text[start:]


def _subrange(text: str, start: int, end: int) -> str:
    if start > end:
        raise EvaluationError(f"invalid substring range. start: {start}, end: {end}")
    for place in (start, end):
        if not 0 <= place <= len(text):
            raise _out_of_range(place)
    return text[start:end]


strings.member("charAt", "string_char_at_int", "string, int -> string", _char_at)
strings.member("indexOf", "string_index_of_string", "string, string -> int", _index_of)
strings.member("indexOf", "string_index_of_string_int", "string, string, int -> int", _index_of)
strings.member("lastIndexOf", "string_last_index_of_string", "string, string -> int", _last_index_of)
strings.member("lastIndexOf", "string_last_index_of_string_int", "string, string, int -> int", _last_index_before)
strings.member("lowerAscii", "string_lower_ascii", "string -> string", lambda text: text.translate(_LOWER))
strings.member("upperAscii", "string_upper_ascii", "string -> string", lambda text: text.translate(_UPPER))
strings.member("replace", "string_replace_string_string", "string, string, string -> string", _replace)
strings.member("replace", "string_replace_string_string_int", "string, string, string, int -> string", _replace)
strings.member("split", "string_split_string", "string, string -> list(string)", _split)
strings.member("split", "string_split_string_int", "string, string, int -> list(string)", _split)
strings.member("substring", "string_substring_int", "string, int -> string", _substring)
strings.member("substring", "string_substring_int_int", "string, int, int -> string", _subrange)
strings.member("trim", "string_trim", "string -> string", lambda text: text.strip(_SPACE))
strings.member("join", "list_join", "list(string) -> string", _join)
strings.member("join", "list_join_string", "list(string), string -> string", _join)
strings.member("format", "string_format", "string, list(dyn) -> string", format_string)
strings.function("strings.quote", "strings_quote", "string -> string", quote)

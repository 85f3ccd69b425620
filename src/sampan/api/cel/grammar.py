"""The tables of the grammar: operators, words, macros, and what ANTLR says it expected.

Source: cel-go parser/gen/CEL.g4, parser/options.go, common/operators
"""

from __future__ import annotations

from sampan.api.cel import types
from sampan.api.cel.ast import FoldKind

MAX_CODE_POINTS = 100_000
MAX_DEPTH = 250
INT_MIN_DIGITS = 1 << 63

BINARY = {
    "||": (2, "||"), "&&": (3, "&&"),
    "<": (4, "_<_"), "<=": (4, "_<=_"), ">": (4, "_>_"), ">=": (4, "_>=_"), "==": (4, "_==_"), "!=": (4, "_!=_"),
    "in": (4, "@in"), "+": (5, "_+_"), "-": (5, "_-_"), "*": (6, "_*_"), "/": (6, "_/_"), "%": (6, "_%_"),
}  # fmt: skip
TERNARY = 1
LITERALS = {"true": (True, types.Bool), "false": (False, types.Bool), "null": (None, types.Null)}
CONSTANTS = {
    "int": types.Int, "uint": types.Uint, "float": types.Double, "string": types.String, "bytes": types.Bytes,
}  # fmt: skip
RESERVED = frozenset(
    ("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace",
     "return", "var", "void", "while")
)  # fmt: skip
KEYWORDS = frozenset((*LITERALS, "in"))
STARTS = frozenset(("[", "{", "(", ".", "-", "!", "float", "int", "uint", "string", "bytes", "ident"))
_TERMINALS = "'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
EXPECTED = f"{{'[', '{{', '(', '.', '-', '!', {_TERMINALS}"
OR_CLOSED = f"{{'[', '{{', '(', ')', '.', '-', '!', {_TERMINALS}"
OR_OPTIONAL = f"{{'[', '{{', '(', '.', '-', '!', '\\u003F', {_TERMINALS}"
FIELDS = "{'}', ',', '\\u003F', IDENTIFIER, ESC_IDENTIFIER}"

#: name and number of arguments: kind, number of variables, whether the last but one argument is a filter
FOLDS: dict[tuple[str, int], tuple[FoldKind, int, bool]] = {
    ("all", 2): ("all", 1, False),
    ("exists", 2): ("exists", 1, False),
    ("exists_one", 2): ("exists_one", 1, False),
    ("existsOne", 2): ("exists_one", 1, False),
    ("map", 2): ("map", 1, False),
    ("map", 3): ("map", 1, True),
    ("filter", 2): ("filter", 1, False),
    ("sortBy", 2): ("sortBy", 1, False),
    ("all", 3): ("all", 2, False),
    ("exists", 3): ("exists", 2, False),
    ("exists_one", 3): ("exists_one", 2, False),
    ("existsOne", 3): ("exists_one", 2, False),
    ("transformList", 3): ("map", 2, False),
    ("transformList", 4): ("map", 2, True),
    ("transformMap", 3): ("transformMap", 2, False),
    ("transformMap", 4): ("transformMap", 2, True),
    ("transformMapEntry", 3): ("transformMapEntry", 2, False),
    ("transformMapEntry", 4): ("transformMapEntry", 2, True),
}

"""Names of properties as expressions write them.

>>> escape("a-b.c"), escape("namespace"), escape("a__b"), escape("a b")
('a__dash__b__dot__c', '__namespace__', 'a__underscores__b', None)

Source: k8s.io/apiserver/pkg/cel/escaping.go
"""

from __future__ import annotations

import re

_RESERVED = frozenset(
    ("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let",
     "loop", "package", "namespace", "return", "var", "void", "while")
)  # fmt: skip
_ESCAPABLE = re.compile(r"[A-Za-z_./-][A-Za-z0-9_./-]*", re.ASCII)
_SPECIAL = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_PARTS = re.compile(r"__|[./-]")


def escape(name: str) -> str | None:
    """None when no expression can name it."""
    if name in _RESERVED:
        return f"__{name}__"
    if not _ESCAPABLE.fullmatch(name):
        return None
    return _PARTS.sub(lambda part: _SPECIAL[part.group()], name)

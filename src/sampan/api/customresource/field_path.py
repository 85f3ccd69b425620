"""Paths into a schema, as `fieldPath` of a rule and `selectableFields` have them: `.spec.a`, `.spec['b.c'].d`.

Source: apiextensions-apiserver/pkg/apiserver/schema/cel/validation.go (ValidFieldPath)
"""

from __future__ import annotations

import re
from typing import Any

Schema = dict[str, Any]
_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|[.\[\]]|[^.\[\]']+", re.S)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'", "\\": "\\"}


class BadFieldPath(ValueError):
    """Why a path leads nowhere, in upstream's words."""


def valid_field_path(text: str, schema: Schema, arrays: bool = True) -> tuple[list[str], Schema]:
    """The steps, and the schema they lead to. `arrays` False: brackets are refused. Raises BadFieldPath."""
    tokens = _TOKEN.findall(text)
    steps: list[str] = []
    at = 0

    def following() -> str:
        nonlocal at
        if at >= len(tokens):
            raise BadFieldPath("unexpected end of JSON path")
        at += 1
        return str(tokens[at - 1])

    while at < len(tokens):
        token = following()
        if token == "[":
            if not arrays:
                raise BadFieldPath("array notation is not allowed")
            name = following()
            if len(name) < 2 or name[0] != "'" or name[-1] != "'":
                raise BadFieldPath(f"expected single quoted string but got {name}")
            schema = _into(schema, _unescaped(name[1:-1]), steps)
            end = following()
            if end != "]":
                raise BadFieldPath(f"expected ] but got {end}")
        elif token == ".":
            schema = _into(schema, following(), steps)
        else:
            raise BadFieldPath(f"expected [ or . but got: {token}")
    return steps, schema


def _into(schema: Schema, name: str, steps: list[str]) -> Schema:
    properties, additional = schema.get("properties"), schema.get("additionalProperties")
    steps.append(name)
    if properties:
        if name not in properties:
            raise BadFieldPath("does not refer to a valid field")
        found: Schema = properties[name]
        return found
    if isinstance(additional, dict):
        return additional
    raise BadFieldPath("does not refer to a valid field")


def _unescaped(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES:
            raise BadFieldPath(f"invalid string literal: invalid escape char {match[0]}")
        return _ESCAPES[match[1]]

    return re.sub(r"\\(.)", one, text)

"""Printer columns of a version: headers, and a row for an object.

Source: apiextensions-apiserver/pkg/registry/customresource/tableconvertor/tableconvertor.go
"""

from __future__ import annotations

from typing import Any

from sampan.api.customresource import jsonpath
from sampan.api.kind import NAME, Cell, Column, Obj
from sampan.api.table import human_duration
from sampan.api.times import parse_time

AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


class Columns:
    """`additionalPrinterColumns` compiled; without any there is Age."""

    __slots__ = ("headers", "paths")

    def __init__(self, declared: list[Obj] | None) -> None:
        chosen = declared or [AGE]
        headers = [NAME]
        self.paths: list[tuple[str, list[jsonpath.Step]]] = []
        for item in chosen:
            path = item["jsonPath"]
            text = item.get("description") or f"Custom resource definition column (in JSONPath format): {path}"
            kind = item["type"]
            headers.append(Column(item["name"], kind, item.get("format", ""), item.get("priority", 0), text))
            try:
                self.paths.append((kind, jsonpath.parse(path)))
            except jsonpath.BadPath:
                # as upstream: a path that cannot be parsed ends the columns, it does not end the server
                headers.pop()
                break
        self.headers = tuple(headers)

    def row(self, obj: Obj, now: float) -> list[Cell]:
        cells: list[Any] = [obj["metadata"].get("name", "")]
        for kind, path in self.paths:
            found = jsonpath.find(path, obj)
            cells.append(_cell(kind, found[0], now) if found else None)
        return cells


def _cell(kind: str, value: Any, now: float) -> Any:
    if value is None:
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    match kind:
        case "string":
            return jsonpath.go_text(value)
        case "integer":
            return int(value) if number else None
        case "number":
            return value if number else None
        case "boolean":
            return value if isinstance(value, bool) else None
    if not isinstance(value, str):
        return None
    try:
        return human_duration(now - parse_time(value))
    except ValueError:
        return "<invalid>"

"""Defaults in schemas are valid themselves: no unknown fields, and nothing that validation would refuse.

Source: apiextensions-apiserver/pkg/apiserver/schema/defaulting/validation.go
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sampan.api.customresource.embedded import check_embedded
from sampan.api.customresource.lists import check_lists
from sampan.api.customresource.reader import clone, compile_reader
from sampan.api.customresource.validate import TOO_COSTLY, Findings, Node, TooCostly
from sampan.api.customresource.values import add
from sampan.api.field import ErrorList, Path
from sampan.api.schema.decode import WrongType

Schema = dict[str, Any]


def check_defaults(schema: Schema, path: Path, out: ErrorList) -> None:
    if schema.get("default") is not None:
        _check(schema, path / "default", out)
    # additionalProperties are not followed: defaults are forbidden there
    if isinstance(schema.get("items"), dict):
        check_defaults(schema["items"], path / "items", out)
    for name, sub in (schema.get("properties") or {}).items():
        check_defaults(sub, path / "properties" @ name, out)


def _check(schema: Schema, path: Path, out: ErrorList) -> None:
    default = schema["default"]
    unknown: list[str] = []
    try:
        compile_reader(schema)(clone(default), "", unknown)
    except WrongType as error:
        out.invalid(path, default, error.text)
        return
    if unknown:
        out.invalid(path, default, "must not have unknown fields")
    found = Findings()
    check_embedded(schema, default, "", found)
    if not found:
        try:
            Node(schema).check(default, "", found)
        except TooCostly:
            add(found, "FieldValueInvalid", "", "", TOO_COSTLY)
    if not found:
        check_lists(schema, default, "", found)
    for wrong in found:
        place = str(path) if wrong.field in ("", "<nil>") else f"{path}.{wrong.field}"
        out.append(replace(wrong, field=place))


def check_default_rules(schema: Schema, path: Path, out: ErrorList) -> None:
    """As above for CEL rules, once it is known that they compile."""
    from sampan.api.customresource.rules import Rules

    if schema.get("default") is not None:
        rules = Rules({key: value for key, value in schema.items() if key != "default"}, root=False)
        if not rules.node.empty:
            for error in rules.check(schema["default"]):
                place = f"{path}.default" if error.field == "<nil>" else f"{path}.default.{error.field}"
                out.append(replace(error, field=place))
    if isinstance(schema.get("items"), dict):
        check_default_rules(schema["items"], path / "items", out)
    for name, sub in (schema.get("properties") or {}).items():
        check_default_rules(sub, path / "properties" @ name, out)

"""Field errors: what validation returns, word for word as upstream prints it.

A validator gets a `Path` and appends to an `ErrorList`; nothing is raised, so that one reply can name every mistake.

    errors = ErrorList()
    errors.required(path / "name", "name or generateName is required")
    errors.invalid(path / "ports" @ 0 / "port", 70000, "must be between 1 and 65535, inclusive")

Source: k8s.io/apimachinery/pkg/util/validation/field/{errors,path}.go
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


class Path:
    """A place in an object: `/` descends into a field, `@` into a list, `[...]` into a map.

    >>> str(Path("spec") / "ports" @ 0 / "name"), str(Path("metadata") / "labels" @ "a.b/c")
    ('spec.ports[0].name', 'metadata.labels[a.b/c]')
    """

    __slots__ = ("_parent", "_step")

    def __init__(self, *names: str) -> None:
        parent: Path | None = None
        for name in names[:-1]:
            parent = Path._make(parent, name)
        self._parent = parent
        self._step = names[-1] if names else ""

    @staticmethod
    def _make(parent: Path | None, step: str) -> Path:
        out = object.__new__(Path)
        out._parent = parent
        out._step = step
        return out

    def __truediv__(self, name: str) -> Path:
        return Path._make(self, name)

    def __matmul__(self, index: int | str) -> Path:
        return Path._make(self, f"[{index}]")

    def __str__(self) -> str:
        steps: list[str] = []
        here: Path | None = self
        while here is not None:
            if here._step:
                steps.append(here._step)
            here = here._parent
        steps.reverse()
        out = ""
        for step in steps:
            out += step if step.startswith("[") or not out else "." + step
        return out

    def __repr__(self) -> str:
        return f"Path({str(self)!r})"


_LABELS = {
    "FieldValueNotFound": "Not found",
    "FieldValueRequired": "Required value",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueTooLong": "Too long",
    "FieldValueTooMany": "Too many",
    "FieldValueTypeInvalid": "Invalid value",
    "InternalError": "Internal error",
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One mistake. `type` is the cause's reason on the wire, `body` its message, `field` its path."""

    type: str
    field: str
    value: Any
    detail: str

    @property
    def body(self) -> str:
        label = _LABELS[self.type]
        bare = self.type in ("FieldValueRequired", "FieldValueForbidden", "FieldValueTooLong", "InternalError")
        out = label if bare else f"{label}: {go_value(self.value)}"
        return f"{out}: {self.detail}" if self.detail else out

    def __str__(self) -> str:
        return f"{self.field}: {self.body}"


def go_value(value: Any) -> str:
    """A value as Go's field errors print it: strings quoted, numbers bare, structures as JSON, nil as null."""
    if isinstance(value, str):
        return go_quote(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if value is None:
        return "null"
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=isinstance(value, dict))


def go_quote(text: str) -> str:
    """`strconv.Quote`, near enough: control characters and quotes escaped, the rest as it is."""
    return json.dumps(text, ensure_ascii=False)


class ErrorList(list[FieldError]):
    """Field errors in the order found, with one method per kind of error."""

    def required(self, path: Path, detail: str = "") -> None:
        self.append(FieldError("FieldValueRequired", str(path), "", detail))

    def invalid(self, path: Path, value: Any, detail: str) -> None:
        self.append(FieldError("FieldValueInvalid", str(path), value, detail))

    def not_supported(self, path: Path, value: Any, supported: Iterable[str]) -> None:
        """`Unsupported value: "x": supported values: "A", "B"`; the values are sorted, as upstream sorts sets."""
        shown = ", ".join(go_quote(item) for item in sorted(supported))
        self.append(
            FieldError("FieldValueNotSupported", str(path), value, f"supported values: {shown}" if shown else "")
        )

    def forbidden(self, path: Path, detail: str) -> None:
        self.append(FieldError("FieldValueForbidden", str(path), "", detail))

    def duplicate(self, path: Path, value: Any) -> None:
        self.append(FieldError("FieldValueDuplicate", str(path), value, ""))

    def not_found(self, path: Path, value: Any) -> None:
        self.append(FieldError("FieldValueNotFound", str(path), value, ""))

    def too_long(self, path: Path, maximum: int) -> None:
        detail = f"may not be more than {maximum} bytes" if maximum >= 0 else "value is too long"
        self.append(FieldError("FieldValueTooLong", str(path), "", detail))

    def too_many(self, path: Path, actual: int, maximum: int) -> None:
        plural = "item" if maximum == 1 else "items"
        detail = f"must have at most {maximum} {plural}" if maximum >= 0 else "has too many items"
        self.append(FieldError("FieldValueTooMany", str(path), actual, detail))

    def type_invalid(self, path: Path, value: Any, detail: str) -> None:
        self.append(FieldError("FieldValueTypeInvalid", str(path), value, detail))

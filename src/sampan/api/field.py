"""Field errors: what validation returns, word for word as upstream prints it.

A validator gets a `Path` and appends to an `ErrorList`; nothing is raised, so that one reply can name every mistake.

    errors = ErrorList()
    errors.required(path / "name", "name or generateName is required")
    errors.invalid(path / "ports" @ 0 / "port", 70000, "must be between 1 and 65535, inclusive")

Source: k8s.io/apimachinery/pkg/util/validation/field/{errors,path}.go
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_new = object.__new__


class Path:
    """A place in an object: `/` descends into a field, `@` into a list, `[...]` into a map.

    >>> str(Path("spec") / "ports" @ 0 / "name"), str(Path("metadata") / "labels" @ "a.b/c")
    ('spec.ports[0].name', 'metadata.labels[a.b/c]')
    """

    __slots__ = ("_parent", "_step")

    def __init__(self, *names: str) -> None:
        parent: Path | None = None
        for name in names[:-1]:
            parent = Path(name) if parent is None else parent / name
        self._parent: Path | None = parent
        self._step: str | int = names[-1] if names else ""

    # a path is made for many fields and printed for few: these two stay short
    def __truediv__(self, name: str) -> Path:
        out = _new(Path)
        out._parent = self
        out._step = name
        return out

    def __matmul__(self, index: int | str) -> Path:
        out = _new(Path)
        out._parent = self
        out._step = index if index.__class__ is int else f"[{index}]"
        return out

    def __str__(self) -> str:
        steps: list[str] = []
        here: Path | None = self
        while here is not None:
            step = here._step
            if step.__class__ is int:
                steps.append(f"[{step}]")
            elif step:
                steps.append(str(step))
            here = here._parent
        steps.reverse()
        out = ""
        for text in steps:
            out += text if text.startswith("[") or not out else "." + text
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


#: as a value: do not print it
OMIT: Any = object()


@dataclass(frozen=True, slots=True)
class Bare:
    """A value that prints as it stands: a time, a duration."""

    text: str


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
        bare = self.value is OMIT or self.type in (
            "FieldValueRequired", "FieldValueForbidden", "FieldValueTooLong", "InternalError"
        )  # fmt: skip
        # upstream prints a nil as the quoted word
        out = label if bare else f"{label}: {go_value('null' if self.value is None else self.value)}"
        return f"{out}: {self.detail}" if self.detail else out

    def __str__(self) -> str:
        return f"{self.field}: {self.body}"


def go_value(value: Any) -> str:
    """A value as Go's field errors print it: strings quoted, numbers bare, structures as JSON, nil as null.

    DEVIATION: with names as on the wire and only what is set, where upstream prints its internal structs whole.
    """
    if isinstance(value, str):
        return go_quote(value)
    if isinstance(value, Bare):
        return value.text
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
    """Field errors in the order found, with one method per kind of error. `warnings`: what is no error after all."""

    warnings: Sequence[str] = ()

    def required(self, path: Path, detail: str = "") -> None:
        self.append(FieldError("FieldValueRequired", str(path), "", detail))

    def invalid(self, path: Path, value: Any, detail: str) -> None:
        self.append(FieldError("FieldValueInvalid", str(path), value, detail))

    def not_supported(self, path: Path, value: Any, supported: Iterable[str]) -> None:
        """`Unsupported value: "x": supported values: "A", "B"`, in the order given; sets are sorted, as upstream does."""
        listed = sorted(supported) if isinstance(supported, (set, frozenset)) else supported
        shown = ", ".join(go_quote(item) for item in listed)
        self.append(
            FieldError("FieldValueNotSupported", str(path), value, f"supported values: {shown}" if shown else "")
        )

    def forbidden(self, path: Path, detail: str) -> None:
        self.append(FieldError("FieldValueForbidden", str(path), "", detail))

    def duplicate(self, path: Path, value: Any, detail: str = "") -> None:
        self.append(FieldError("FieldValueDuplicate", str(path), value, detail))

    def not_found(self, path: Path, value: Any, detail: str = "") -> None:
        self.append(FieldError("FieldValueNotFound", str(path), value, detail))

    def each(self, path: Path, value: Any, problems: Iterable[str]) -> None:
        """An invalid value, once for each reason."""
        for problem in problems:
            self.invalid(path, value, problem)

    def too_long(self, path: Path, maximum: int) -> None:
        detail = f"may not be more than {maximum} bytes" if maximum >= 0 else "value is too long"
        self.append(FieldError("FieldValueTooLong", str(path), "", detail))

    def too_many(self, path: Path, actual: int, maximum: int) -> None:
        plural = "item" if maximum == 1 else "items"
        detail = f"must have at most {maximum} {plural}" if maximum >= 0 else "has too many items"
        self.append(FieldError("FieldValueTooMany", str(path), actual, detail))

    def type_invalid(self, path: Path, value: Any, detail: str) -> None:
        self.append(FieldError("FieldValueTypeInvalid", str(path), value, detail))

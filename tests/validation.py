"""For tables of what is refused: a valid object, a change to it, and everything that is then said.

POD = Valid("", "v1", "pods", {"metadata": ..., "spec": ...})
POD.errors({"spec/containers/0/image": GONE}) == ["spec.containers[0].image: Required value"]
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sampan.api.field import ErrorList
from sampan.api.kind import Kind, Obj
from sampan.api.registry import Registry
from sampan.api.schema.decode import apply_declared_defaults, decode

Change = Mapping[str, Any]
GONE: Any = object()
REGISTRY = Registry()
META = {"name": "a", "namespace": "default", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}


def changed(raw: Obj, change: Change) -> Obj:
    """A copy with the values at these paths (`spec/ports/0/port`; a key with slashes is a tuple of steps) replaced."""
    out = copy.deepcopy(raw)
    for path, value in change.items():
        *steps, last = path if isinstance(path, tuple) else path.split("/")
        here: Any = out
        for step in steps:
            here = here[int(step)] if isinstance(here, list) else here.setdefault(step, {})
        if value is GONE:
            here.pop(last, None)
        elif isinstance(here, list):
            here[int(last) : int(last) + 1] = [value]
        else:
            here[last] = value
    return out


class Valid:
    """A kind and an object of it that is refused nothing."""

    def __init__(self, group: str, version: str, resource: str, raw: Obj) -> None:
        kind = REGISTRY.get(group, version, resource)
        assert kind is not None
        self.kind: Kind = kind
        meta = {key: value for key, value in META.items() if key != "namespace" or kind.names.namespaced}
        self.raw: Obj = {**raw, "metadata": {**meta, **raw.get("metadata", {})}}
        assert self.errors({}) == [], self.errors({})
        assert self.update({}) == [], self.update({})

    def object(self, change: Change) -> Obj:
        out = decode(self.kind.schema, changed(self.raw, change), strict=[])
        apply_declared_defaults(self.kind.schema, out)
        self.kind.default(out)
        return out

    def errors(self, change: Change) -> list[str]:
        """Of a new object."""
        return said(self.kind.validate(self.object(change)))

    def update(self, change: Change, old: Change | None = None) -> list[str]:
        return said(self.kind.validate_update(self.object({**(old or {}), **change}), self.object(old or {})))

    def status(self, change: Change, old: Change | None = None) -> list[str]:
        return said(self.kind.validate_status_update(self.object({**(old or {}), **change}), self.object(old or {})))

    def warnings(self, change: Change) -> list[str]:
        return self.kind.warnings(self.object(change), None)


#: what names may be is told at length, and tested elsewhere
_LONG = re.compile(
    r"(must consist of|a lowercase RFC 1123 \w+|a DNS-1035 label|a valid label|a wildcard DNS-1123 subdomain).*"
)


def said(errors: ErrorList) -> list[str]:
    return [_LONG.sub(r"\1 …", str(error)) for error in errors]


def ids(table: Iterable[tuple[Any, ...]]) -> list[str]:
    """A row's change, for the names of tests."""
    return [",".join("/".join(k) if isinstance(k, tuple) else k for k in row[0]) or "valid" for row in table]

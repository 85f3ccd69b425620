"""Which resource is meant: `Resource`, from a name as kubectl takes it or from an object.

Built-in resources come from `sampan.api.registry`'s facts; a custom one is written down by whoever uses it:

    WIDGETS = Resource("example.com", "v1", "widgets", "Widget")
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from sampan.api.registry import default_names


@dataclass(frozen=True, slots=True)
class Resource:
    """`name` is the plural in URLs, `kind` what stands in objects."""

    group: str
    version: str
    name: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """`deployments.apps`, as messages show it."""
        return f"{self.name}.{self.group}" if self.group else self.name

    @property
    def root(self) -> str:
        """`/api/v1` or `/apis/GROUP/VERSION`."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


@functools.cache
def _built_in() -> tuple[dict[str, Resource], dict[tuple[str, str], Resource]]:
    by_name: dict[str, Resource] = {}
    by_kind: dict[tuple[str, str], Resource] = {}
    for names in default_names():
        found = Resource(names.group, names.version, names.resource, names.kind, names.namespaced)
        by_kind[found.api_version, found.kind] = found
        by_name[f"{found.name}.{found.version}.{found.group}"] = found
        # an unqualified name is the first group's that has it, a group alone its highest version
        by_name.setdefault(found.name, found)
        known = by_name.get(found.qualified)
        if known is None or found.version > known.version:
            by_name[found.qualified] = found
    core = {found.name: found for found in by_kind.values() if not found.group}
    return {**by_name, **core}, by_kind


class UnknownResource(KeyError):
    """There is no such kind of object."""

    def __str__(self) -> str:
        return str(self.args[0])


def resource(name: str) -> Resource:
    """`pods`, `deployments.apps`, `horizontalpodautoscalers.v2.autoscaling`. Raises UnknownResource for what is not built
    in."""
    found = _built_in()[0].get(name)
    if found is None:
        raise UnknownResource(
            f'no built-in resource is named "{name}"; of a custom one give Resource(group, version, name, kind)'
        )
    return found


def of_kind(api_version: str, kind: str) -> Resource:
    """The built-in resource of a kind. Raises KeyError."""
    return _built_in()[1][api_version, kind]


def of_object(obj: dict[str, Any]) -> Resource:
    """By the object's own `apiVersion` and `kind`. Raises KeyError."""
    return of_kind(obj["apiVersion"], obj["kind"])

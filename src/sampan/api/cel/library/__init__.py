"""What expressions can call, one file per library of upstream's; all of them together make Kubernetes' environment."""

from __future__ import annotations

import functools

from sampan.api.cel.functions import Overload, merge
from sampan.api.cel.types import Type


@functools.cache
def kubernetes() -> dict[str, tuple[Overload, ...]]:
    """Every function of Kubernetes 1.37, by name."""
    from sampan.api.cel.library.standard import standard

    return merge(standard)


@functools.cache
def opaque_types() -> tuple[Type, ...]:
    """The types that the libraries add, found in what they declare."""
    found: dict[str, Type] = {}
    for overloads in kubernetes().values():
        for overload in overloads:
            for type in (*overload.params, overload.result):
                if type.kind == "object":
                    found[type.name] = type
    return tuple(found.values())

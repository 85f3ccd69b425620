"""What expressions can call, one file per library of upstream's; all of them together make Kubernetes' environment."""

from __future__ import annotations

import functools

from sampan.api.cel.functions import Overload, merge
from sampan.api.cel.types import Type


@functools.cache
def kubernetes() -> dict[str, tuple[Overload, ...]]:
    """Every function of Kubernetes 1.37, by name."""
    from sampan.api.cel.library.authorization import authorization
    from sampan.api.cel.library.conversions import conversions
    from sampan.api.cel.library.formats import formats
    from sampan.api.cel.library.lists import lists
    from sampan.api.cel.library.network import network
    from sampan.api.cel.library.optionals import optionals
    from sampan.api.cel.library.quantities import quantities
    from sampan.api.cel.library.regex import regex
    from sampan.api.cel.library.semvers import semvers
    from sampan.api.cel.library.standard import standard
    from sampan.api.cel.library.strings import strings
    from sampan.api.cel.library.urls import urls

    return merge(
        standard,
        conversions,
        optionals,
        strings,
        lists,
        regex,
        urls,
        quantities,
        network,
        formats,
        semvers,
        authorization,
    )


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

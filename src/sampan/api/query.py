"""Values of query parameters, as upstream converts them.

Source: k8s.io/apimachinery/pkg/conversion/queryparams; pkg/runtime/conversion.go (Convert_Slice_string_To_bool, _int64)
"""

from __future__ import annotations

from collections.abc import Mapping


def boolean(query: Mapping[str, str], name: str) -> bool:
    """A parameter that is there is true, unless "0" or "false"."""
    return query.get(name, "0").lower() not in ("0", "false")


def integer(query: Mapping[str, str], name: str) -> int | None:
    """None where it is not there, or empty. Raises ValueError in Go's words."""
    text = query.get(name)
    if not text:
        return None
    try:
        value = int(text)
    except ValueError:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value

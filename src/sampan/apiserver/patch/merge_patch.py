"""RFC 7386: an object laid over another; null removes.

Source: https://www.rfc-editor.org/rfc/rfc7386; gopkg.in/evanphx/json-patch.v4 merge.go
"""

from __future__ import annotations

from typing import Any


def apply(target: Any, patch: Any) -> Any:
    """A new document; neither argument is changed."""
    if not isinstance(patch, dict):
        return patch if isinstance(target, dict) else _without_nulls(patch)
    if not isinstance(target, dict):
        return _without_nulls(patch)
    out = dict(target)
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = apply(out.get(key), value)
    return out


def _without_nulls(value: Any) -> Any:
    """What is new has no null fields, unlike in the RFC not in objects in lists either."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value

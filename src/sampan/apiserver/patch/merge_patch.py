"""RFC 7386: an object laid over another; null removes.

Source: https://www.rfc-editor.org/rfc/rfc7386
"""

from __future__ import annotations

from typing import Any


def apply(target: Any, patch: Any) -> Any:
    """A new document; neither argument is changed."""
    if not isinstance(patch, dict):
        return patch
    out = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = apply(out.get(key), value)
    return out

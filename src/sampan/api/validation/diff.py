"""What differs between two objects, for a person to read.

Source: k8s.io/apimachinery/pkg/util/diff (a unified diff of both as indented JSON)
"""

from __future__ import annotations

import json
from typing import Any


def difference(old: Any, new: Any) -> str:
    """DEVIATION: names as on the wire and only what is set, where upstream prints its internal structs whole."""
    import difflib

    before, after = (
        json.dumps(item, indent=2, ensure_ascii=False, sort_keys=True).splitlines(keepends=True) for item in (old, new)
    )
    before[-1:] = [line + "\n" for line in before[-1:]]
    after[-1:] = [line + "\n" for line in after[-1:]]
    return "".join(list(difflib.unified_diff(before, after, n=3))[2:])

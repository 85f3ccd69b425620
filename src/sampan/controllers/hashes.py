"""Short, safe names for pod templates and revisions.

Source: kubernetes/pkg/controller/controller_utils.go (ComputeHash), k8s.io/apimachinery/pkg/util/rand/rand.go
"""

from __future__ import annotations

from typing import Any

import orjson

#: no vowels, nor what looks like another: no word can come of it
SAFE = "bcdfghjklmnpqrstvwxz2456789"


def safe_encode(text: str) -> str:
    return "".join(SAFE[ord(char) % len(SAFE)] for char in text)


def fnv32a(data: bytes) -> int:
    value = 0x811C9DC5
    for byte in data:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def template_hash(template: Any, collisions: int | None = None) -> str:
    """The `pod-template-hash` of a template; another one after each collision.

    DEVIATION: upstream hashes a dump of its Go structs; ours is of the template's JSON with sorted keys. Both are stable
    as long as the defaults are, and templates are compared by content, never by hash.
    """
    data = orjson.dumps(template, option=orjson.OPT_SORT_KEYS)
    if collisions is not None:
        data += collisions.to_bytes(8, "little")
    return safe_encode(str(fnv32a(data)))

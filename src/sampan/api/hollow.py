"""What marks a simulated node, for all who must treat it as one."""

from __future__ import annotations

HOLLOW = "sampan.io/hollow"


def is_hollow(labels: dict[str, str] | None) -> bool:
    return (labels or {}).get(HOLLOW) == "true"

"""What marks a simulated node, for all who must treat it as one."""

from __future__ import annotations

HOLLOW = "sampan.io/hollow"


def is_hollow(labels: dict[str, str] | None) -> bool:
    return (labels or {}).get(HOLLOW) == "true"


#: for so many nodes the usual range of pods has addresses
USUAL_NODES, WIDE = 250, "10.128.0.0/9"


def pod_range(usual: str, nodes: int) -> str:
    """Of the addresses of pods where all nodes are simulated, and none of them leads anywhere."""
    return usual if nodes <= USUAL_NODES else WIDE

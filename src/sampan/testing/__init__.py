"""What users' tests import: a whole cluster in process, virtual time, simulated nodes.

`import sampan.testing` is quick: what it names is imported when first used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from sampan.hollow import HollowNodes
    from sampan.testing.cluster import Cluster, Snapshot
    from sampan.testing.loop import VirtualLoop
    from sampan.testing.sync import SyncCluster

__all__ = ["Cluster", "HollowNodes", "Snapshot", "SyncCluster", "VirtualLoop", "run"]

T = TypeVar("T")
_PLACES = {
    "Cluster": "sampan.testing.cluster",
    "Snapshot": "sampan.testing.cluster",
    "SyncCluster": "sampan.testing.sync",
    "VirtualLoop": "sampan.testing.loop",
    "HollowNodes": "sampan.hollow",
}


def run(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, under virtual time."""
    from sampan.testing.loop import VirtualLoop

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_PLACES[name]), name)

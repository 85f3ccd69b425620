"""`/scale` of custom resources: where replicas and selector are, the definition says.

Source: apiextensions-apiserver/pkg/registry/customresource/etcd.go (ScaleREST, scaleFromCustomResource)
"""

from __future__ import annotations

from typing import Any

from sampan.api import errors
from sampan.api.kind import Kind, Obj

_KEPT = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def _at(obj: Obj, path: str) -> Any:
    here: Any = obj
    for step in path.strip(".").split("."):
        if not isinstance(here, dict) or step not in here:
            return None
        here = here[step]
    return here


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def scale_of(kind: Kind, obj: Obj) -> Obj:
    """Raises 500 when the object does not say how many replicas it wants."""
    assert kind.scale_paths is not None
    spec_path, status_path, selector_path = kind.scale_paths
    meta = obj["metadata"]
    wanted = _at(obj, spec_path)
    if wanted is None:
        raise errors.internal(f'the spec replicas field "{spec_path}" does not exist')
    status: Obj = {"replicas": _count(_at(obj, status_path))}
    selector = _at(obj, selector_path) if selector_path else None
    if isinstance(selector, str) and selector:
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta[name] for name in _KEPT if name in meta},
        "spec": {"replicas": _count(wanted)} if _count(wanted) else {},
        "status": status,
    }


def scaled(kind: Kind, old: Obj, replicas: int) -> Obj:
    """A copy of `old` with so many replicas; what is on the way is made where it is missing."""
    assert kind.scale_paths is not None
    steps = kind.scale_paths[0].strip(".").split(".")
    out = dict(old)
    here = out
    for step in steps[:-1]:
        below = here.get(step)
        here[step] = dict(below) if isinstance(below, dict) else {}
        here = here[step]
    here[steps[-1]] = replicas
    return out

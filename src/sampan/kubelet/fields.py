"""The downward API: what a pod may know of itself, as variables and files show it.

Source: kubernetes pkg/fieldpath/fieldpath.go, pkg/api/v1/resource/helpers.go, pkg/kubelet/kubelet_resources.go
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import ceil
from typing import Any

from sampan.api import quantity
from sampan.api.field import go_quote

Obj = dict[str, Any]
_SUBSCRIPT = re.compile(r"(metadata\.(?:annotations|labels))\['(.*)'\]")
#: limits that a container without them has from its node
_OF_NODE = ("cpu", "memory", "ephemeral-storage")


class Unsupported(Exception):
    """No pod has such a field."""


def of_metadata(pod: Obj, path: str) -> str:
    """A `fieldRef` that concerns the object alone. Raises Unsupported."""
    meta = pod["metadata"]
    match path:
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return str(meta[path.removeprefix("metadata.")])
        case "metadata.annotations" | "metadata.labels":
            return _lines(meta.get(path.removeprefix("metadata.")) or {})
    if found := _SUBSCRIPT.fullmatch(path):
        values = meta.get(found[1].removeprefix("metadata.")) or {}
        return str(values.get(found[2], ""))
    raise Unsupported(f"unsupported fieldPath: {path}")


def _lines(values: Mapping[str, str]) -> str:
    return "\n".join(f"{key}={go_quote(values[key])}" for key in sorted(values))


def of_resources(pod: Obj, container: Obj | None, ref: Obj, allocatable: Mapping[str, str]) -> str:
    """A `resourceFieldRef`, rounded up to whole divisors; `container` is the one that asks, if one does. Raises Unsupported."""
    if name := ref.get("containerName"):
        container = next((each for each in _all(pod) if each["name"] == name), None)
        if container is None:
            raise Unsupported(f"container {name} not found")
    if container is None:
        raise Unsupported("containerName is required")
    kind, _, resource = ref["resource"].partition(".")
    known = kind in ("limits", "requests") and (resource in _OF_NODE or resource.startswith("hugepages-"))
    if not known:
        raise Unsupported(f"unsupported container resource : {ref['resource']}")
    amount = quantity.parse(((container.get("resources") or {}).get(kind) or {}).get(resource, "0"))
    if not amount and kind == "limits" and resource in _OF_NODE:
        of_pod = ((pod["spec"].get("resources") or {}).get("limits") or {}).get(resource)
        amount = quantity.parse(of_pod or allocatable.get(resource, "0"))
    divisor = quantity.parse(ref.get("divisor") or "1") or quantity.parse("1")
    return str(ceil(amount / divisor))


def _all(pod: Obj) -> list[Obj]:
    spec = pod["spec"]
    return [*(spec.get("initContainers") or ()), *spec["containers"], *(spec.get("ephemeralContainers") or ())]

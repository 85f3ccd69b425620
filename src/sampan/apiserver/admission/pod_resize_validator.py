"""A pod that runs does not grow beyond its node.

Source: kubernetes/plugin/pkg/admission/podresize/admission.go
"""

from __future__ import annotations

from math import ceil

from sampan.api import errors, quantity
from sampan.api.core_v1 import pod_resources
from sampan.api.kind import Obj
from sampan.apiserver.admission.chain import Attributes, Plugin
from sampan.apiserver.admission.lookup import find

OS_LABEL = "kubernetes.io/os"


class PodResizeValidator(Plugin):
    resources = frozenset({("", "pods")})
    operations = frozenset({"UPDATE"})
    subresources = frozenset({"resize"})

    async def validate(self, attributes: Attributes) -> None:
        """Raises 403, with the cause `NodeCapacity` or `UnsupportedPlatform`."""
        pod, old = attributes.obj, attributes.old
        assert pod is not None and old is not None
        name = pod["spec"].get("nodeName")
        if not name or pod["spec"] == old["spec"]:
            return
        record = await find(attributes.api, attributes.api.cached("", "nodes"), name)
        if record is None:
            raise attributes.forbidden(f'node "{name}" not found')
        lacking = _lacking(pod, record.obj())
        if lacking:
            why = f"Node didn't have enough allocatable resources: {'; '.join(lacking)}"
            raise _caused(attributes.forbidden(why), "NodeCapacity")
        system = (record.labels or {}).get(OS_LABEL, "")
        if system != "linux":
            why = f'pod resize is only supported on linux nodes, node "{name}" is "{system}"'
            raise _caused(attributes.forbidden(why), "UnsupportedPlatform")


def _lacking(pod: Obj, node: Obj) -> list[str]:
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    requests = pod_resources.requests(pod)
    out = []
    for name, scale in (("cpu", 1000), ("memory", 1)):
        asked = ceil(quantity.parse(requests.get(name, "0")) * scale)
        there = ceil(quantity.parse(allocatable.get(name, "0")) * scale)
        if asked > there:
            out.append(f"{name}, requested: {asked}, allocatable: {there}")
    return out


def _caused(error: errors.StatusError, reason: str) -> errors.StatusError:
    error.details = {**(error.details or {}), "causes": [{"reason": reason}]}
    return error

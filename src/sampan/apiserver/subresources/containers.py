"""Which container of a pod a request means.

Source: kubernetes/pkg/registry/core/pod/strategy.go (validateContainer)
"""

from __future__ import annotations

from sampan.api import errors
from sampan.api.kind import Obj


def choose(pod: Obj, name: str) -> str:
    """`name`, or the only container there is. Raises 400 with all that could be meant."""
    spec, whose = pod["spec"], pod["metadata"]["name"]
    names = [each["name"] for each in spec.get("containers") or ()]
    init = [each["name"] for each in spec.get("initContainers") or ()]
    if name:
        if name not in (*names, *init, *(each["name"] for each in spec.get("ephemeralContainers") or ())):
            raise errors.bad_request(f"container {name} is not valid for pod {whose}")
        return name
    if len(names) == 1:
        return str(names[0])
    message = f"a container name must be specified for pod {whose}"
    if names:
        message += f", choose one of: [{' '.join(names)}]"
    if init:
        message += f" or one of the init containers: [{' '.join(init)}]"
    raise errors.bad_request(message)

"""`/runningpods/`: what the runtime runs, whatever it should.

Source: kubernetes/pkg/kubelet/container/runtime.go (Pod.ToAPIPod)
"""

from __future__ import annotations

from typing import Any

from sampan.cri import pb
from sampan.kubelet import names
from sampan.kubelet.cri import Cri

Obj = dict[str, Any]


async def running_pods(cri: Cri) -> list[Obj]:
    """Raises CriFailed."""
    found = (
        await cri.ListContainers(filter=pb.ContainerFilter(state=pb.ContainerStateValue(state=pb.CONTAINER_RUNNING)))
    ).containers
    out: dict[str, Obj] = {}
    for each in found:
        labels = each.labels
        if uid := labels.get(names.POD_UID):
            meta = {
                "name": labels.get(names.POD_NAME, ""),
                "namespace": labels.get(names.POD_NAMESPACE, ""),
                "uid": uid,
            }
            pod = out.setdefault(uid, {"metadata": meta, "spec": {"containers": []}, "status": {}})
            container = {"name": labels.get(names.CONTAINER_NAME, ""), "image": each.image.image, "resources": {}}
            pod["spec"]["containers"].append(container)
    return list(out.values())

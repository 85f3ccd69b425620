"""Every pod pulls its images anew, so that nobody runs a private image because it happens to be on the node.

Source: kubernetes/plugin/pkg/admission/alwayspullimages/admission.go
"""

from __future__ import annotations

from sampan.api.core_v1.pod_references import all_containers
from sampan.api.field import ErrorList, Path
from sampan.apiserver.admission.chain import Attributes, Plugin


class AlwaysPullImages(Plugin):
    resources = frozenset({("", "pods")})
    operations = frozenset({"CREATE", "UPDATE"})
    subresources = frozenset({"", "ephemeralcontainers"})

    async def mutate(self, attributes: Attributes) -> None:
        if attributes.obj is None:
            return
        spec = attributes.obj["spec"]
        for container in all_containers(spec):
            container["imagePullPolicy"] = "Always"
        for volume in spec.get("volumes") or ():
            if volume.get("image"):
                volume["image"]["pullPolicy"] = "Always"

    async def validate(self, attributes: Attributes) -> None:
        """Raises 403 for what a later plugin has changed back."""
        if attributes.obj is None:
            return
        problems = ErrorList()
        for container in all_containers(attributes.obj["spec"]):
            policy = container.get("imagePullPolicy", "")
            if policy != "Always":
                problems.not_supported(Path("spec", "containers", "imagePullPolicy"), policy, ("Always",))
        if problems:
            raise attributes.forbidden(str(problems[0]))

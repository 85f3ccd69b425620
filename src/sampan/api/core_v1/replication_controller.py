"""ReplicationController.

Source: kubernetes/pkg/registry/core/replicationcontroller/strategy.go; defaults.go
"""

from __future__ import annotations

from typing import Any

from sampan.api.core_v1.pod_spec import default_pod_template
from sampan.api.field import ErrorList
from sampan.api.kind import Obj
from sampan.api.replicas import Replicas
from sampan.api.table import labels_text
from sampan.api.validation.pods import pod_template
from sampan.api.validation.workload import NO_MATCH, SPEC, nonnegative, runs_forever


class ReplicationController(Replicas):
    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        template = spec.get("template")
        if template is not None:
            default_pod_template(template)
        labels = ((template or {}).get("metadata") or {}).get("labels")
        if labels:
            if not spec.get("selector"):
                spec["selector"] = dict(labels)
            if not obj["metadata"].get("labels"):
                obj["metadata"]["labels"] = dict(labels)
        spec.setdefault("replicas", 1)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj["spec"]
        nonnegative(spec, out, "replicas", "minReadySeconds")
        selector, template = spec.get("selector") or {}, spec.get("template")
        if not selector:
            out.required(SPEC / "selector", "")
        if template is None:
            out.required(SPEC / "template", "")
            return out
        labels = (template.get("metadata") or {}).get("labels") or {}
        if any(labels.get(key) != value for key, value in selector.items()):
            out.invalid(SPEC / "template" / "metadata" / "labels", labels, NO_MATCH)
        pod_template(template, SPEC / "template", out)
        runs_forever(template, "ReplicationController", out)
        return out

    def selector_text(self, selector: Any) -> str:
        return labels_text(selector)

"""ReplicaSet.

Source: kubernetes/pkg/registry/apps/replicaset/strategy.go, pkg/apis/apps/{v1/defaults,validation/validation}.go
"""

from __future__ import annotations

from typing import Any

from sampan.api.core_v1.pod_spec import default_pod_template
from sampan.api.field import ErrorList
from sampan.api.kind import Obj
from sampan.api.replicas import Replicas
from sampan.api.table import selector_text
from sampan.api.validation.workload import nonnegative, selector_and_template, selector_unchanged


class ReplicaSet(Replicas):
    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        default_pod_template(spec.setdefault("template", {}))
        spec.setdefault("replicas", 1)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        nonnegative(obj["spec"], out, "replicas", "minReadySeconds")
        selector_and_template(obj["spec"], out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self.validate(obj)
        selector_unchanged(obj, old, out)
        return out

    def selector_text(self, selector: Any) -> str:
        return selector_text(selector)

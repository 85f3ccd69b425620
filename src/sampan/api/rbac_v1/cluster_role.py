"""ClusterRole.

Source: kubernetes/pkg/registry/rbac/clusterrole/strategy.go
"""

from __future__ import annotations

from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.rbac_v1.rules import AnyRole
from sampan.api.validation.meta import validate_label_selector


class ClusterRole(AnyRole):
    def validate(self, obj: Obj) -> ErrorList:
        out = super().validate(obj)
        rule = obj.get("aggregationRule")
        if rule is None:
            return out
        selectors, here = rule.get("clusterRoleSelectors") or [], Path("aggregationRule", "clusterRoleSelectors")
        if not selectors:
            out.required(here, "at least one clusterRoleSelector required if aggregationRule is non-nil")
        for selector in selectors:
            # upstream's path has no index
            out.extend(validate_label_selector(selector, here))
        return out

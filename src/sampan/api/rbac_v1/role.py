"""Role.

Source: kubernetes/pkg/apis/rbac/validation/validation.go (ValidatePolicyRule)
"""

from __future__ import annotations

from sampan.api.field import ErrorList, Path
from sampan.api.kind import Kind, Obj
from sampan.api.names import path_segment_name


class Role(Kind):
    has_generation = False

    def validate_name(self, name: str, generate: bool) -> list[str]:
        return path_segment_name(name)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        for index, rule in enumerate(obj.get("rules") or ()):
            here = Path("rules") @ index
            if not rule.get("verbs"):
                out.required(here / "verbs", "verbs must contain at least one value")
            if rule.get("nonResourceURLs"):
                detail = "namespaced rules cannot apply to non-resource URLs"
                out.invalid(here / "nonResourceURLs", rule["nonResourceURLs"], detail)
                if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                    detail = "rules cannot apply to both regular resources and non-resource URLs"
                    out.invalid(here / "nonResourceURLs", rule["nonResourceURLs"], detail)
                continue
            if not rule.get("apiGroups"):
                out.required(here / "apiGroups", "resource rules must supply at least one api group")
            if not rule.get("resources"):
                out.required(here / "resources", "resource rules must supply at least one resource")
        return out

"""What Role and ClusterRole have in common: their rules.

Source: kubernetes/pkg/apis/rbac/validation/validation.go (ValidatePolicyRule)
"""

from __future__ import annotations

from sampan.api.field import ErrorList, Path
from sampan.api.kind import Kind, Obj
from sampan.api.names import path_segment_name


class AnyRole(Kind):
    create_on_update = True
    has_generation = False

    def validate_name(self, name: str, generate: bool) -> list[str]:
        return path_segment_name(name)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        for index, rule in enumerate(obj.get("rules") or ()):
            policy_rule(rule, self.names.namespaced, Path("rules") @ index, out)
        return out


def policy_rule(rule: Obj, namespaced: bool, path: Path, out: ErrorList) -> None:
    if not rule.get("verbs"):
        out.required(path / "verbs", "verbs must contain at least one value")
    urls = rule.get("nonResourceURLs")
    if urls:
        here = path / "nonResourceURLs"
        if namespaced:
            out.invalid(here, urls, "namespaced rules cannot apply to non-resource URLs")
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            out.invalid(here, urls, "rules cannot apply to both regular resources and non-resource URLs")
        return
    if not rule.get("apiGroups"):
        out.required(path / "apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        out.required(path / "resources", "resource rules must supply at least one resource")

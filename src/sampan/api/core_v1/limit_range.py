"""LimitRange.

Source: kubernetes/pkg/apis/core/v1/defaults.go (SetDefaults_LimitRangeItem)
"""

from __future__ import annotations

from sampan.api.field import ErrorList
from sampan.api.kind import Kind, Obj
from sampan.api.validation.limits import limit_range


class LimitRange(Kind):
    create_on_update = True
    has_generation = False

    def default(self, obj: Obj) -> None:
        for item in (obj.get("spec") or {}).get("limits") or ():
            if item.get("type") != "Container":
                continue
            default = dict(item.get("default") or {})
            for name, amount in (item.get("max") or {}).items():
                default.setdefault(name, amount)
            request = dict(item.get("defaultRequest") or {})
            for source in (default, item.get("min") or {}):
                for name, amount in source.items():
                    request.setdefault(name, amount)
            if default:
                item["default"] = default
            if request:
                item["defaultRequest"] = request

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        limit_range(obj, out)
        return out

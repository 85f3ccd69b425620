"""LimitRange.

Source: kubernetes/pkg/apis/core/v1/defaults.go (SetDefaults_LimitRangeItem), pkg/registry/core/limitrange/strategy.go
"""

from __future__ import annotations

from sampan.api.field import ErrorList
from sampan.api.kind import Context, Kind, Obj
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

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        meta = obj["metadata"]
        if not meta.get("name"):
            # upstream takes another UUID
            meta["name"] = meta["uid"]

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        limit_range(obj, out)
        return out

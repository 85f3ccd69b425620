"""DaemonSet.

Source: kubernetes/pkg/registry/apps/daemonset/strategy.go, pkg/apis/apps/{v1/{defaults,conversion},validation/validation}.go
"""

from __future__ import annotations

import re

from sampan.api import errors
from sampan.api.core_v1.pod_spec import default_pod_template
from sampan.api.field import ErrorList, go_quote
from sampan.api.kind import AGE, NAME, Cell, Column, Context, Kind, Obj
from sampan.api.table import age, containers_cells, labels_text, selector_text
from sampan.api.validation import pod_warnings
from sampan.api.validation.meta import validate_label_selector
from sampan.api.validation.pods import pod_template
from sampan.api.validation.workload import (
    NO_MATCH,
    SPEC,
    STATUS,
    int_or_percent,
    is_zero,
    matches_template,
    nonnegative,
    not_decremented,
    not_over_hundred,
    runs_forever,
    selector_unchanged,
)

#: a field of older versions
TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
COUNTS = (
    "currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "observedGeneration",
    "updatedNumberScheduled", "numberAvailable", "numberUnavailable", "collisionCount",
)  # fmt: skip


class DaemonSet(Kind):
    has_status = True
    columns = (
        NAME,
        Column("Desired", "integer"),
        Column("Current", "integer"),
        Column("Ready", "integer"),
        Column("Up-to-date", "integer"),
        Column("Available", "integer"),
        Column("Node Selector"),
        AGE,
        Column("Containers", priority=1),
        Column("Images", priority=1),
        Column("Selector", priority=1),
    )

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        default_pod_template(spec.setdefault("template", {}))
        strategy = spec.setdefault("updateStrategy", {})
        if not strategy.get("type"):
            strategy["type"] = "RollingUpdate"
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxUnavailable", 1)
            rolling.setdefault("maxSurge", 0)
        spec.setdefault("revisionHistoryLimit", 10)
        # who writes a set owns it
        if TEMPLATE_GENERATION not in (obj["metadata"].get("annotations") or {}):
            _set_template_generation(obj, 0)

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        _set_template_generation(obj, max(_template_generation(obj), 1))

    def prepare_for_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        # refused if it is no number, but not taken
        _template_generation(obj)
        changed = obj["spec"].get("template") != old["spec"].get("template")
        _set_template_generation(obj, _template_generation(old) + changed)

    def prepare_for_status_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        _template_generation(obj)
        _set_template_generation(obj, _template_generation(old))

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj["spec"]
        template, selector = spec.get("template") or {}, spec.get("selector")
        out.extend(validate_label_selector(selector, SPEC / "selector"))
        matches_template(selector, template, SPEC / "template", out)
        if selector is None:
            # upstream takes none for one that matches nothing
            labels = (template.get("metadata") or {}).get("labels") or {}
            out.invalid(SPEC / "template" / "metadata" / "labels", labels, NO_MATCH)
        elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
            out.invalid(SPEC / "selector", selector, "empty selector is invalid for daemonset")
        pod_template(template, SPEC / "template", out)
        runs_forever(template, "DaemonSet", out)
        nonnegative(spec, out, "minReadySeconds", "revisionHistoryLimit")
        strategy = spec.get("updateStrategy") or {}
        here = SPEC / "updateStrategy"
        kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
        if kind == "RollingUpdate":
            if rolling is None:
                out.required(here / "rollingUpdate", "")
                return out
            unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
            at = here / "rollingUpdate"
            int_or_percent(unavailable, at / "maxUnavailable", out)
            int_or_percent(surge, at / "maxSurge", out)
            not_over_hundred(unavailable, at / "maxUnavailable", out)
            not_over_hundred(surge, at / "maxSurge", out)
            if not is_zero(unavailable) and not is_zero(surge):
                out.invalid(at / "maxSurge", surge, "may not be set when maxUnavailable is non-zero")
            elif is_zero(unavailable) and is_zero(surge):
                out.required(at / "maxUnavailable", "cannot be 0 when maxSurge is 0")
        elif kind != "OnDelete":
            out.not_supported(here, strategy, ("RollingUpdate", "OnDelete"))
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self.validate(obj)
        selector_unchanged(obj, old, out)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        nonnegative(obj.get("status") or {}, out, *COUNTS, path=STATUS)
        not_decremented(obj, old, "collisionCount", out)
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        if old is not None and obj["spec"].get("template") == old["spec"].get("template"):
            return []
        return pod_warnings.template(obj["spec"].get("template"), SPEC / "template")

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
        pod = spec["template"]["spec"]
        containers, images = containers_cells(pod)
        return [
            meta["name"],
            status.get("desiredNumberScheduled", 0),
            status.get("currentNumberScheduled", 0),
            status.get("numberReady", 0),
            status.get("updatedNumberScheduled", 0),
            status.get("numberAvailable", 0),
            labels_text(pod.get("nodeSelector")),
            age(meta.get("creationTimestamp"), now),
            containers,
            images,
            selector_text(spec.get("selector")),
        ]


def _template_generation(obj: Obj) -> int:
    """Raises 400."""
    text = (obj["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION, "0")
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        said = f"strconv.ParseInt: parsing {go_quote(text)}: invalid syntax"
        raise errors.bad_request(f'DaemonSet in version "v1" cannot be handled as a DaemonSet: {said}')
    return int(text)


def _set_template_generation(obj: Obj, number: int) -> None:
    meta = obj["metadata"]
    meta["annotations"] = {**(meta.get("annotations") or {}), TEMPLATE_GENERATION: str(number)}

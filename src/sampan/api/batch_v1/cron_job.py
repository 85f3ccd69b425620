"""CronJob.

Source: kubernetes/pkg/registry/batch/cronjob/strategy.go, pkg/apis/batch/{v1/defaults,validation/validation}.go
"""

from __future__ import annotations

import re
import zoneinfo

from sampan.api.batch_v1.job import default_job_spec, validate_job_spec
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import NONE, age, containers_cells, selector_text

SPEC = Path("spec")
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_WORDS = {
    3: ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    4: ("sun", "mon", "tue", "wed", "thu", "fri", "sat"),
}
_NAMED = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}


class CronJob(Kind):
    has_status = True
    columns = (
        NAME,
        Column("Schedule"),
        Column("Timezone"),
        Column("Suspend", "boolean"),
        Column("Active", "integer"),
        Column("Last Schedule"),
        AGE,
        Column("Containers", priority=1),
        Column("Images", priority=1),
        Column("Selector", priority=1),
    )

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("concurrencyPolicy"):
            spec["concurrencyPolicy"] = "Allow"
        spec.setdefault("suspend", False)
        spec.setdefault("successfulJobsHistoryLimit", 3)
        spec.setdefault("failedJobsHistoryLimit", 1)
        template = spec.setdefault("jobTemplate", {})
        default_job_spec(template.setdefault("spec", {}))

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj["spec"]
        if len(obj["metadata"].get("name", "")) > 52:
            out.invalid(Path("metadata", "name"), obj["metadata"]["name"], "must be no more than 52 characters")
        schedule = spec.get("schedule", "")
        if not schedule:
            out.required(SPEC / "schedule", "")
        else:
            wrong = schedule_problem(schedule)
            if wrong:
                out.invalid(SPEC / "schedule", schedule, wrong)
        zone = spec.get("timeZone")
        if zone is not None and not _zone_exists(zone):
            out.invalid(SPEC / "timeZone", zone, f"unknown time zone {zone}")
        policy = spec.get("concurrencyPolicy")
        if policy not in ("Allow", "Forbid", "Replace"):
            out.not_supported(SPEC / "concurrencyPolicy", policy or "", ("Allow", "Forbid", "Replace"))
        for field in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
            if (spec.get(field) or 0) < 0:
                out.invalid(SPEC / field, spec[field], "must be greater than or equal to 0")
        out.extend(validate_job_spec(spec["jobTemplate"]["spec"], SPEC / "jobTemplate" / "spec"))
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
        job = spec["jobTemplate"]["spec"]
        containers, images = containers_cells(job["template"]["spec"])
        last = status.get("lastScheduleTime")
        return [
            meta["name"],
            spec.get("schedule", ""),
            spec.get("timeZone") or NONE,
            "True" if spec.get("suspend") else "False",
            len(status.get("active") or ()),
            age(last, now) if last else NONE,
            age(meta.get("creationTimestamp"), now),
            containers,
            images,
            selector_text(job.get("selector")),
        ]


def _zone_exists(zone: str) -> bool:
    if not zone or zone.lower() == "local":
        return False
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def schedule_problem(text: str) -> str:
    """Why `text` is no cron schedule, or nothing."""
    if text.startswith("@every "):
        return "" if re.fullmatch(r"(\d+(\.\d+)?(h|m|s|ms))+", text[7:]) else f"failed to parse duration {text}"
    if text.startswith("@"):
        return "" if text in _NAMED else f"unrecognized descriptor: {text}"
    fields = text.split()
    if len(fields) != 5:
        return f"expected exactly 5 fields, found {len(fields)}: {fields}"
    for index, field in enumerate(fields):
        for part in field.split(","):
            if not _part_is_good(part, index):
                return (
                    f"failed to parse {part}: not a value or range between {_RANGES[index][0]} and {_RANGES[index][1]}"
                )
    return ""


def _part_is_good(part: str, index: int) -> bool:
    low, high = _RANGES[index]
    span, slash, step = part.partition("/")
    if slash and (not step.isdigit() or int(step) == 0):
        return False
    if span in ("*", "?"):
        return True
    ends = []
    for end in span.split("-"):
        words = _WORDS.get(index, ())
        if end.lower() in words:
            ends.append(words.index(end.lower()) + low)
        elif end.isdigit():
            ends.append(int(end))
        else:
            return False
    return len(ends) <= 2 and all(low <= end <= high for end in ends) and ends == sorted(ends)

"""CronJob.

Source: kubernetes/pkg/registry/batch/cronjob/strategy.go, pkg/apis/batch/{v1/defaults,validation/validation}.go
"""

from __future__ import annotations

import re
import zoneinfo

from sampan.api.batch_v1.job import default_template, job_warnings
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import NONE, age, containers_cells, selector_text
from sampan.api.validation import pod_warnings
from sampan.api.validation.jobs import job_spec
from sampan.api.validation.workload import SPEC, nonnegative

_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_WORDS = {
    3: ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    4: ("sun", "mon", "tue", "wed", "thu", "fri", "sat"),
}
#: no dots alone, no sign in front
_ZONE_PART = re.compile(r"(?![-])(?!\.\.?$)[A-Za-z.\-_0-9+]{1,14}")
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
        default_template(template.setdefault("spec", {}))

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        _spec(obj["spec"], None, out)
        if len(obj["metadata"].get("name", "")) > 52:
            out.invalid(Path("metadata", "name"), obj["metadata"]["name"], "must be no more than 52 characters")
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = ErrorList()
        _spec(obj["spec"], old["spec"], out)
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        out = pod_warnings.name(obj) if old is None else []
        if pod_warnings.due(obj, old):
            out += job_warnings(obj["spec"]["jobTemplate"].get("spec") or {}, SPEC / "jobTemplate" / "spec")
        # a new one is refused
        if old is not None and _has_zone(obj["spec"].get("schedule", "")):
            out.append(
                "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see "
                "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
            )
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


def _spec(spec: Obj, old: Obj | None, out: ErrorList) -> None:
    schedule, zone = spec.get("schedule", ""), spec.get("timeZone")
    if not schedule:
        out.required(SPEC / "schedule", "")
    else:
        _schedule(schedule, zone, old is not None and _has_zone(old.get("schedule", "")), out)
    if zone is not None and (old is None or old.get("timeZone") != zone):
        out.each(SPEC / "timeZone", zone, zone_problems(zone))
    nonnegative(spec, out, "startingDeadlineSeconds")
    policy, allowed = spec.get("concurrencyPolicy", ""), ("Allow", "Forbid", "Replace")
    if not policy:
        out.required(SPEC / "concurrencyPolicy", "")
    elif policy not in allowed:
        out.not_supported(SPEC / "concurrencyPolicy", policy, allowed)
    nonnegative(spec, out, "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
    job, path = spec["jobTemplate"].get("spec") or {}, SPEC / "jobTemplate" / "spec"
    job_spec(job, path, out)
    if job.get("selector") is not None:
        out.invalid(path / "selector", job["selector"], "`selector` will be auto-generated")
    if job.get("manualSelector"):
        out.not_supported(path / "manualSelector", True, ("nil", "false"))


def _has_zone(schedule: str) -> bool:
    return "TZ" in schedule


def _schedule(schedule: str, zone: str | None, had_zone: bool, out: ErrorList) -> None:
    here = SPEC / "schedule"
    bare = schedule
    if _has_zone(schedule):
        given, _, bare = schedule.partition(" ")
        name = given.partition("=")[2]
        if not given.startswith(("TZ=", "CRON_TZ=")):
            bare = schedule
        elif name != "Local" and zone_problems(name):
            out.invalid(here, schedule, f"provided bad location {name}: unknown time zone {name}")
            bare = ""
    wrong = schedule_problem(bare.strip()) if bare else ""
    if wrong:
        out.invalid(here, schedule, wrong)
    if not _has_zone(schedule):
        return
    if zone is not None:
        out.invalid(here, schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule")
    elif not had_zone:
        out.invalid(here, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")


def zone_problems(zone: str) -> list[str]:
    """Why `zone` is no time zone of the IANA's."""
    if not zone:
        return ["timeZone must be nil or non-empty string"]
    if any(not _ZONE_PART.fullmatch(part) for part in zone.split("/")):
        return [f"unknown time zone {zone}"]
    if zone.lower() == "local":
        return ["timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"]
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return [f"unknown time zone {zone}"]
    return []


def schedule_problem(text: str) -> str:
    """Why `text` is no cron schedule, in the words of upstream's parser, or nothing."""
    if text.startswith("@every "):
        return "" if re.fullmatch(r"(\d+(\.\d+)?(h|m|s|ms))+", text[7:]) else f"failed to parse duration {text}"
    if text.startswith("@"):
        return "" if text in _NAMED else f"unrecognized descriptor: {text}"
    fields = text.split()
    if len(fields) != 5:
        return f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
    for index, field in enumerate(fields):
        for part in filter(None, field.split(",")):
            problem = _part_problem(part, index)
            if problem:
                return problem
    return ""


def _part_problem(part: str, index: int) -> str:
    low, high = _RANGES[index]
    span, *steps = part.split("/")
    ends = span.split("-")
    if ends[0] in ("*", "?"):
        start, end = low, high
    else:
        if len(ends) > 2:
            return f"too many hyphens: {part}"
        numbers = [_number(text, index) for text in ends]
        for number in numbers:
            if isinstance(number, str):
                return number
        start, end = int(numbers[0]), int(numbers[-1])
    step: int | str = 1
    if len(steps) > 1:
        return f"too many slashes: {part}"
    if steps:
        step = _number(steps[0], -1)
        if isinstance(step, str):
            return step
        if len(ends) == 1:
            end = high
    if start < low:
        return f"beginning of range ({start}) below minimum ({low}): {part}"
    if end > high:
        return f"end of range ({end}) above maximum ({high}): {part}"
    if start > end:
        return f"beginning of range ({start}) beyond end of range ({end}): {part}"
    return f"step of range should be a positive number: {part}" if step == 0 else ""


def _number(text: str, index: int) -> int | str:
    """The number, or why it is none; months and days of the week have names."""
    words = _WORDS.get(index, ())
    if text.lower() in words:
        return words.index(text.lower()) + _RANGES[index][0]
    if re.fullmatch(r"\+?[0-9]{1,18}", text):
        return int(text)
    return f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'

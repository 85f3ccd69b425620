"""Which time of its schedule a CronJob is at: the last one due, how many were missed, how long until the next.

Missed times are not listed but estimated, since there may be very many: how often the distance of the first two fits.

Source: kubernetes/pkg/controller/cronjob/utils.go (mostRecentScheduleTime, nextScheduleTime)
"""

from __future__ import annotations

from typing import Any

from sampan.api.times import parse_time
from sampan.controllers.schedules import Schedule, schedule

Obj = dict[str, Any]
MANY = 100
#: so that what is to happen at a time is looked at after it
DELTA = 0.1


def scheduled(cron_job: Obj) -> Schedule:
    """Raises ValueError."""
    spec = cron_job["spec"]
    try:
        return schedule(spec["schedule"], spec.get("timeZone"))
    except ValueError:
        # a bad zone is told of elsewhere; a bad schedule again here
        return schedule(spec["schedule"])


def due(cron_job: Obj, times: Schedule, now: float) -> tuple[float | None, bool]:
    """The last time that is due, and whether too many were missed. Raises ValueError for a schedule without times."""
    _, last, missed = _last(cron_job, times, now, with_deadline=True)
    return last, last is not None and missed > MANY


def until_next(cron_job: Obj, times: Schedule, now: float) -> float:
    """Seconds."""
    try:
        earliest, last, missed = _last(cron_job, times, now, with_deadline=False)
    except ValueError:
        base = now
    else:
        base = last if last is not None else now if missed else earliest
    following = times.next_after(base)
    # a schedule without times: looked at again, in case that the calendar is
    return (following if following is not None else now + 86_400) + DELTA - now


def _last(cron_job: Obj, times: Schedule, now: float, *, with_deadline: bool) -> tuple[float, float | None, int]:
    """From when on was looked, the last time since that is not later than now, and how many there were (nearly)."""
    stamp = (cron_job.get("status") or {}).get("lastScheduleTime") or cron_job["metadata"]["creationTimestamp"]
    earliest = parse_time(stamp)
    deadline = cron_job["spec"].get("startingDeadlineSeconds")
    if with_deadline and deadline is not None:
        earliest = max(earliest, now - deadline)
    first = times.next_after(earliest)
    second = times.next_after(first) if first is not None else None
    if first is not None and now < first:
        return earliest, None, 0
    if second is not None and now < second:
        return earliest, first, 0
    if first is None or second is None or second - first < 1:
        raise ValueError("time difference between two schedules is less than 1 second")
    between = round(second - first)
    missed = int(now - first) // between + 1
    # one distance further back, for schedules whose times are not evenly spread
    at, last = times.next_after(first + (missed - 2) * between), None
    while at is not None and at <= now:
        at, last = times.next_after(at), at
    return earliest, last, missed

"""Cron schedules: when next, in a time zone.

    next_after(schedule("30 6-16/4 * * 1-5", "Europe/Berlin"), time)

Days match by day of month and day of week: by both if either is `*`, else by any. Clocks that are put forward skip what
lies between; what they show twice happens twice.

Source: github.com/robfig/cron/v3 {parser,spec,constantdelay}.go
"""

from __future__ import annotations

import functools
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from math import floor

from sampan.api import durations
from sampan.api.batch_v1.cron_job import schedule_problem, zone_problems

_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_NAMES = {
    name: number
    for names, first in (("jan feb mar apr may jun jul aug sep oct nov dec", 1), ("sun mon tue wed thu fri sat", 0))
    for number, name in enumerate(names.split(), first)
}
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_YEARS = 5


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed delay, of whole seconds."""

    seconds: int

    def next_after(self, time: float) -> float | None:
        return float(floor(time) + self.seconds)


@dataclass(frozen=True, slots=True)
class Cron:
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    both: bool
    zone: tzinfo

    def next_after(self, time: float) -> float | None:
        """The first time later than this. None: there is none within five years."""
        return _next_after(self, floor(time))

    def search(self, second: int) -> float | None:
        """What `next_after` remembers."""
        at = float(second + 1)
        last = datetime.fromtimestamp(at, self.zone).year + _YEARS
        while True:
            local = datetime.fromtimestamp(at, self.zone)
            if local.year > last:
                return None
            if local.month not in self.months:
                at = self._midnight(local.replace(day=1) + timedelta(days=32), first=True)
            elif not self._is_day(local):
                at = self._midnight(local + timedelta(days=1))
            elif local.hour not in self.hours:
                at += 3600 - 60 * local.minute - local.second
            elif local.second:
                at += 60 - local.second
            elif local.minute not in self.minutes:
                later = min((minute for minute in self.minutes if minute > local.minute), default=60)
                at += 60 * (later - local.minute)
            else:
                return at

    def _is_day(self, day: datetime) -> bool:
        of_month, of_week = day.day in self.days, (day.weekday() + 1) % 7 in self.weekdays
        return (of_month and of_week) if self.both else (of_month or of_week)

    def _midnight(self, day: datetime, *, first: bool = False) -> float:
        return datetime(day.year, day.month, 1 if first else day.day, tzinfo=self.zone).timestamp()


@functools.lru_cache(maxsize=4096)
def _next_after(cron: Cron, second: int) -> float | None:
    """Remembered: each look at a CronJob asks anew what comes after its last run, and after now."""
    return cron.search(second)


Schedule = Every | Cron


def zone(name: str | None) -> tzinfo:
    """None and the empty name: UTC. Raises ValueError.

    DEVIATION: upstream's default is the local time of the controller manager's machine; ours is UTC everywhere.
    """
    if not name or name == "UTC":
        return UTC
    if zone_problems(name):
        raise ValueError(f"unknown time zone {name}")
    return zoneinfo.ZoneInfo(name)


@functools.lru_cache(maxsize=4096)
def schedule(text: str, zone_name: str | None = None) -> Schedule:
    """Raises ValueError, in the words of upstream's parser. A zone in the text (`TZ=...`) goes before `zone_name`."""
    if text.startswith(("TZ=", "CRON_TZ=")):
        given, _, text = text.partition(" ")
        zone_name = given.partition("=")[2]
    text = text.strip()
    problem = schedule_problem(text)
    if problem:
        raise ValueError(problem)
    if text.startswith("@every "):
        return Every(max(1, int(durations.seconds(text.removeprefix("@every ").strip()))))
    fields = _DESCRIPTORS.get(text, text).split()
    minutes, hours, days, months, weekdays = (
        _field(field, *bounds) for field, bounds in zip(fields, _BOUNDS, strict=True)
    )
    both = days[1] or weekdays[1]
    return Cron(minutes[0], hours[0], days[0], months[0], weekdays[0], both, zone(zone_name))


def _field(text: str, low: int, high: int) -> tuple[frozenset[int], bool]:
    """Its numbers, and whether it says `every`."""
    numbers: set[int] = set()
    star = False
    for part in filter(None, text.split(",")):
        span, _, step = part.partition("/")
        start, dash, end = span.partition("-")
        if start in ("*", "?"):
            first, last = low, high
            star = star or step in ("", "1")
        else:
            first = _number(start)
            last = _number(end) if dash else high if step else first
        numbers.update(range(first, last + 1, int(step or 1)))
    return frozenset(numbers), star


def _number(text: str) -> int:
    name = _NAMES.get(text.lower())
    return int(text) if name is None else name

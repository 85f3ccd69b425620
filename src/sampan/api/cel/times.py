"""Timestamps and durations, to the nanosecond.

A timestamp remembers the offset that it was written with, as Go does, and prints with it; it plays no part in comparing.

Source: cel-go common/types/{timestamp,duration}.go, Go's time package
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import NoReturn

from sampan.api.cel.errors import EvaluationError

_SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MIN, _MAX = -62135596800 * _SECOND, 253402300800 * _SECOND  # 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z
_LONGEST = (1 << 63) - 1
_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII)
_UNITS = {
    "ns": 1,
    "us": 1000,
    "µs": 1000,
    "μs": 1000,
    "ms": 1_000_000,
    "s": _SECOND,
    "m": 60 * _SECOND,
    "h": 3600 * _SECOND,
}
_PART = re.compile(r"(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_OFFSET = re.compile(r"([+-]?)(\d\d?):(\d\d)", re.ASCII)


class _Instant:
    """Nanoseconds, ordered and hashed by them."""

    __slots__ = ("ns",)

    def __init__(self, ns: int) -> None:
        self.ns = ns

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.ns == self.ns

    def __lt__(self, other: _Instant) -> bool:
        return self.ns < other.ns

    def __le__(self, other: _Instant) -> bool:
        return self.ns <= other.ns

    def __gt__(self, other: _Instant) -> bool:
        return self.ns > other.ns

    def __ge__(self, other: _Instant) -> bool:
        return self.ns >= other.ns

    def __hash__(self) -> int:
        return hash(self.ns)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"


class Duration(_Instant):
    """A span of time, within an int64 of nanoseconds."""

    __slots__ = ()

    @classmethod
    def checked(cls, ns: int) -> Duration:
        if not -_LONGEST - 1 <= ns <= _LONGEST:
            raise EvaluationError("duration overflow")
        return cls(ns)

    @classmethod
    def parse(cls, text: str) -> Duration:
        """As Go's ParseDuration. Raises ValueError."""
        rest = text[1:] if text[:1] in ("+", "-") else text
        if rest == "0":
            return cls(0)
        total, place = 0, 0
        while place < len(rest):
            match = _PART.match(rest, place)
            if match is None or not (match[1] or match[2]) or len(match[0]) > 60:
                raise ValueError(f'time: invalid duration "{text}"')
            unit = _UNITS[match[3]]
            total += int(match[1] or 0) * unit
            if match[2]:
                total += int(match[2]) * unit // 10 ** len(match[2])
            place = match.end()
        if not rest or total > _LONGEST:
            raise ValueError(f'time: invalid duration "{text}"')
        return cls(-total if text[0] == "-" else total)

    def __str__(self) -> str:
        """In seconds: `3600s`, `1.5s`."""
        whole, rest = divmod(abs(self.ns), _SECOND)
        fraction = f".{rest:09d}".rstrip("0") if rest else ""
        return f"{'-' if self.ns < 0 else ''}{whole}{fraction}s"


class Timestamp(_Instant):
    __slots__ = ("offset",)

    def __init__(self, ns: int, offset: int = 0) -> None:
        self.ns = ns
        #: minutes east of UTC
        self.offset = offset

    @classmethod
    def checked(cls, ns: int, offset: int = 0) -> Timestamp:
        if not _MIN <= ns < _MAX:
            raise EvaluationError("timestamp overflow")
        return cls(ns, offset)

    @classmethod
    def parse(cls, text: str) -> Timestamp:
        """RFC 3339. Raises ValueError."""
        match = _RFC3339.fullmatch(text)
        if match is None:
            _unreadable(text)
        year, month, day, hour, minute, second, fraction, sign, hours, minutes = match.groups()
        if sign and (int(hours) > 24 or int(minutes) >= 60):
            _unreadable(text)
        offset = (int(hours) * 60 + int(minutes)) * (-1 if sign == "-" else 1) if sign else 0
        try:
            when = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), tzinfo=UTC)
        except ValueError:
            _unreadable(text)
        ns = (_seconds(when) - offset * 60) * _SECOND + int((fraction or "0")[:9].ljust(9, "0"))
        if not _MIN <= ns < _MAX:
            raise ValueError("timestamp overflow")
        return cls(ns, offset)

    @classmethod
    def parse_date(cls, text: str) -> Timestamp:
        """`2006-01-02`. Raises ValueError."""
        return cls.parse(f"{text}T00:00:00Z")

    def local(self, zone: str) -> datetime:
        """The parts in a time zone; what is below a second is in `nanosecond`."""
        seconds = self.ns // _SECOND
        try:
            return (_EPOCH + timedelta(seconds=seconds)).astimezone(_zone(zone))
        except OverflowError:
            raise EvaluationError("timestamp overflow") from None

    @property
    def nanosecond(self) -> int:
        return self.ns % _SECOND

    def __str__(self) -> str:
        local = _EPOCH + timedelta(seconds=self.ns // _SECOND + self.offset * 60)
        fraction = f".{self.nanosecond:09d}".rstrip("0") if self.nanosecond else ""
        hours, minutes = divmod(abs(self.offset), 60)
        zone = f"{'-' if self.offset < 0 else '+'}{hours:02d}:{minutes:02d}" if self.offset else "Z"
        head = f"{local.year:04d}-{local.month:02d}-{local.day:02d}"
        return f"{head}T{local.hour:02d}:{local.minute:02d}:{local.second:02d}{fraction}{zone}"


def _seconds(when: datetime) -> int:
    gap = when - _EPOCH
    return gap.days * 86400 + gap.seconds


def _unreadable(text: str) -> NoReturn:
    raise ValueError(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse')


def _zone(name: str) -> tzinfo:
    match = _OFFSET.fullmatch(name)
    if match is not None:
        shift = timedelta(hours=int(match[2]), minutes=int(match[3]))
        if shift >= timedelta(hours=24):
            raise EvaluationError(f"unknown time zone {name}")
        return timezone(-shift if match[1] == "-" else shift)
    if name in ("", "UTC", "Z"):
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise EvaluationError(f"unknown time zone {name}") from None

"""Times as they stand on the wire: RFC 3339 in UTC, to the second (`Time`) or microsecond (`MicroTime`).

Source: k8s.io/apimachinery/pkg/apis/meta/v1/{time,micro_time}.go
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime, timedelta, timezone

#: how long a time to the second is in UTC; the same few come again and again
PLAIN = len("2006-01-02T15:04:05Z")
_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII)


def parse_time(text: str) -> float:
    """Seconds since the epoch. Raises ValueError for anything but RFC 3339."""
    return _parse_plain(text) if len(text) == PLAIN else _parse(text)


def _parse(text: str) -> float:
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{text}" as "2006"')
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = match.groups()
    zone = UTC
    if sign:
        shift = timedelta(hours=int(hours), minutes=int(minutes))
        zone = timezone(-shift if sign == "-" else shift)
    micro = int((fraction or "0")[:6].ljust(6, "0"))
    try:
        when = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), micro, zone)
        return when.timestamp()
    except (ValueError, OverflowError) as error:
        raise ValueError(f'parsing time "{text}": {error}') from None


_parse_plain = functools.lru_cache(maxsize=1024)(_parse)


def format_time(epoch: float) -> str:
    return _format_second(int(epoch // 1))


@functools.lru_cache(maxsize=64)
def _format_second(epoch: int) -> str:
    """Remembered: a write asks for the current second several times."""
    return datetime.fromtimestamp(epoch, UTC).isoformat()[:-6] + "Z"


def format_micro_time(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def canonical_time(text: str) -> str:
    """To the second, in UTC. Raises ValueError."""
    if len(text) == PLAIN:
        _parse_plain(text)
        return text
    return format_time(_parse(text))


def canonical_micro_time(text: str) -> str:
    return format_micro_time(parse_time(text))

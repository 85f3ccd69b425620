"""Lines of a container's log, as runtimes write them, and what is shown of them.

`TIME stdout|stderr F|P TEXT`; a piece marked P has no end of line of its own. What does not look like that is left out.

Source: k8s.io/cri-client pkg/logs/logs.go (parseCRILog, logWriter)
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogOptions:
    """`since`: seconds since 1970; `tail`: lines; `limit`: bytes; `stream`: All, Stdout or Stderr."""

    follow: bool = False
    timestamps: bool = False
    since: float | None = None
    tail: int | None = None
    limit: int | None = None
    stream: str = "All"


class Lines:
    """From lines of a log file to what is shown of them. `full`: the limit is reached."""

    def __init__(self, options: LogOptions) -> None:
        self._timestamps = options.timestamps
        self._since = _stamp(options.since) if options.since is not None else b""
        self._left = options.limit if options.limit is not None else -1
        self._stream = b"" if options.stream == "All" else options.stream.lower().encode()
        self._fresh = True
        self.full = self._left == 0

    def show(self, data: bytes) -> bytes:
        """Of whole lines."""
        plain = not (self._since or self._stream)
        cut = _cut(data, self._timestamps) if plain and self._fresh else None
        if cut is not None:
            out = cut
        elif plain and not self._timestamps:
            out = _texts(data)
        else:
            out = b"".join(self._chosen(data))
        if self._left >= 0:
            out = out[: self._left]
            self._left -= len(out)
            self.full = not self._left
        return out

    def _chosen(self, data: bytes) -> Iterator[bytes]:
        for line in _split(data):
            parts = line.split(b" ", 3)
            if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr"):
                continue
            time, stream, tag, text = parts
            try:
                time = fixed(time)
                if self._since and utc(time) < self._since:
                    continue
            except ValueError:
                continue
            whole = not tag.startswith(b"P")
            if self._stream and stream != self._stream:
                continue
            if self._timestamps and self._fresh:
                yield time + b" "
            self._fresh = whole
            yield text if whole else text[:-1]


def _cut(data: bytes, timestamps: bool) -> bytes | None:
    """The same for lines that are all whole and have times of one length and zone: each is cut once. None: they are not."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        return b""
    zone = b"Z" if lines[0][29:30] == b"Z" else lines[0][29:35]
    shown = b"Z " if zone == b"+00:00" else zone + b" "
    head, text = zone + b" std", 29 + len(zone) + 10
    end, tag = 29 + len(head), text - 3
    if timestamps:
        out = [line[:29] + shown + line[text:] for line in lines if line[tag:text] == b" F " and line[29:end] == head]
    else:
        out = [line[text:] for line in lines if line[tag:text] == b" F " and line[29:end] == head]
    return b"\n".join(out) + b"\n" if len(out) == len(lines) else None


def _texts(data: bytes) -> bytes:
    """Where everything is wanted, of any lines."""
    out = []
    for line in data.split(b"\n"):
        parts = line.split(b" ", 3)
        if len(parts) == 4 and parts[1] in (b"stdout", b"stderr"):
            out.append(parts[3])
            if not parts[2].startswith(b"P"):
                out.append(b"\n")
    return b"".join(out)


def _split(data: bytes) -> list[bytes]:
    """At line feeds alone, which are kept."""
    parts = data.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def fixed(time: bytes) -> bytes:
    """A time as it is shown: nine digits of a second, `Z` for UTC. Raises ValueError."""
    if len(time) == 30 and time.endswith(b"Z"):
        return time
    if len(time) == 35 and time.endswith(b"+00:00"):
        return time[:29] + b"Z"
    zone = b"Z" if time.endswith((b"Z", b"+00:00")) else time[-6:]
    plain = time[:-1] if time.endswith(b"Z") else time[:-6]
    if len(plain) < 19 or plain[4:5] != b"-" or plain[10:11] != b"T":
        raise ValueError("no time")
    return plain[:19] + b"." + plain[20:29].ljust(9, b"0") + zone


def utc(time: bytes) -> bytes:
    """A time of `fixed` in UTC, so that bytes compare as times do. Raises ValueError."""
    if time.endswith(b"Z"):
        return time
    return _moved(time[:19], time[29:]) + time[19:29] + b"Z"


@functools.lru_cache(maxsize=256)
def _moved(second: bytes, zone: bytes) -> bytes:
    there = datetime.datetime.fromisoformat((second + zone).decode())
    return there.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()


def _stamp(seconds: float) -> bytes:
    whole = datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{int(seconds % 1 * 1e9):09d}Z".encode()

"""What one client may send, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    body: int = 3 * 1024 * 1024
    headers: int = 64 * 1024
    header_count: int = 256
    pipelined: int = 16
    idle: float = 300.0
    #: for the head and for the body of one request
    receive: float = 60.0
    high_water: int = 256 * 1024

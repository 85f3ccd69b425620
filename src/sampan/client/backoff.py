"""How long to wait before the next try, and how often something may be done.

All durations are the loop's: under virtual time they pass as virtual time does.

Source: k8s.io/apimachinery/pkg/util/wait/backoff.go, client-go/util/workqueue/default_rate_limiters.go
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Hashable
from typing import Protocol


def loop_time() -> float:
    return asyncio.get_running_loop().time()


class Backoff:
    """Doubles from `first` to `most`, each time up to twice as long by chance; starts over when it was not asked for
    `reset` seconds."""

    def __init__(self, first: float, most: float, *, reset: float, rng: random.Random) -> None:
        self.first, self.most, self.reset, self.rng = first, most, reset, rng
        self._current = first
        self._last: float | None = None

    def next(self) -> float:
        now = loop_time()
        if self._last is not None and now - self._last > self.reset:
            self._current = self.first
        self._last = now
        delay = min(self._current, self.most)
        self._current = min(delay * 2, self.most)
        return delay * (1 + self.rng.random())


class RateLimiter(Protocol):
    """When a key that failed may be tried again."""

    def when(self, key: Hashable) -> float:
        """Seconds from now; counts as one more failure."""

    def forget(self, key: Hashable) -> None: ...

    def failures(self, key: Hashable) -> int: ...


class Exponential:
    """`base` times two to the number of the key's failures."""

    def __init__(self, base: float = 0.005, most: float = 1000.0) -> None:
        self.base, self.most = base, most
        self._failures: dict[Hashable, int] = {}

    def when(self, key: Hashable) -> float:
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        return min(self.base * 2.0 ** min(count, 60), self.most)

    def forget(self, key: Hashable) -> None:
        self._failures.pop(key, None)

    def failures(self, key: Hashable) -> int:
        return self._failures.get(key, 0)


class Bucket:
    """`burst` at once, then `rate` a second, over all keys."""

    def __init__(self, rate: float, burst: int, time: Callable[[], float] = loop_time) -> None:
        self.rate, self.burst, self.time = rate, burst, time
        self._tokens = float(burst)
        self._at: float | None = None

    def take(self) -> float:
        """Take one, and wait so long for it."""
        self._refill()
        self._tokens -= 1
        return 0.0 if self._tokens >= 0 else -self._tokens / self.rate

    def try_take(self) -> bool:
        """Take one if there is one."""
        self._refill()
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _refill(self) -> None:
        now = self.time()
        if self._at is not None:
            self._tokens = min(self._tokens + (now - self._at) * self.rate, float(self.burst))
        self._at = now

    def when(self, key: Hashable) -> float:
        return self.take()

    def forget(self, key: Hashable) -> None:
        """It knows no keys."""

    def failures(self, key: Hashable) -> int:
        return 0


class Longest:
    """The longest wait that any of several asks for."""

    def __init__(self, *limiters: RateLimiter) -> None:
        self.limiters = limiters

    def when(self, key: Hashable) -> float:
        return max(limiter.when(key) for limiter in self.limiters)

    def forget(self, key: Hashable) -> None:
        for limiter in self.limiters:
            limiter.forget(key)

    def failures(self, key: Hashable) -> int:
        return max(limiter.failures(key) for limiter in self.limiters)


def controller_limiter() -> RateLimiter:
    """The default of Kubernetes' controllers: 5 ms to 1000 s per key, and 10 a second over all after a burst of 100."""
    return Longest(Exponential(), Bucket(10.0, 100))

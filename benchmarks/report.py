"""How every benchmark tells its figures: alone by `python -m benchmarks.NAME`, all by `make bench`.

`--quick` takes a tenth of the requests and one run instead of several: to see that all works, not to quote. Where a figure
is a rate over the loopback, the processor time that the server spent on each request stands below it: on a machine that
does other things too, only that can be compared.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

#: what, how much, unit, budget
Figure = tuple[str, float, str, str]
Measure = Callable[[], Awaitable[list[Figure]]]
QUICK = "--quick" in sys.argv


def few(number: int) -> int:
    """`number`, or a tenth of it."""
    return max(1, number // 10) if QUICK else number


def tell(figure: Figure) -> None:
    what, value, unit, budget = figure
    print(f"{what:64} {value:12,.1f} {unit:4} budget {budget}" if budget != "-" else f"{what:64} {value:12,.1f} {unit}")


def run(measure: Measure) -> None:
    """The main of one benchmark."""

    async def main() -> None:
        for figure in await measure():
            tell(figure)

    try:
        import uvloop  # as the commands run

        uvloop.run(main())
    except ImportError:
        asyncio.run(main())

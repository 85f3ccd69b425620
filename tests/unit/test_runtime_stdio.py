"""What a terminal of the runtime's does to the ends of lines."""

from __future__ import annotations

import asyncio
import re

from hypothesis import given
from hypothesis import strategies as st

from sampan.runtime.stdio import EndsOfLines


class Kept:
    def __init__(self) -> None:
        self.data = b""

    async def write(self, data: bytes) -> None:
        self.data += data

    def end(self) -> None:
        self.data += b"."


@given(st.lists(st.binary().map(lambda data: bytes(b"a\r\n"[each % 3] for each in data))))
def test_every_line_ends_once_however_it_comes(pieces: list[bytes]) -> None:
    kept = Kept()
    sink = EndsOfLines(kept)

    async def write() -> None:
        for piece in pieces:
            await sink.write(piece)

    asyncio.run(write())
    sink.end()
    assert kept.data == re.sub(rb"(?<!\r)\n", b"\r\n", b"".join(pieces)) + b"."

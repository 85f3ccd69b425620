"""A laboratory for each test, and a look at the machine's own network afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.network.lab import Lab, missing, traces


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    if why := missing():
        pytest.skip(why)
    made = Lab()
    try:
        yield made
    finally:
        made.close()
    assert traces(made.name) == []

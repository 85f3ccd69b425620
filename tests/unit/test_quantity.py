"""Quantities, against what Go prints."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api import quantity


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("100m", "100m"), ("1024Ki", "1Mi"), ("0.5", "500m"), ("1.5Gi", "1536Mi"), ("1000000", "1M"), ("1e3", "1e3"),
        ("0", "0"), ("0.1n", "1n"), ("1500m", "1500m"), (".5", "500m"), ("5.", "5"), ("1024", "1024"), ("0Ki", "0"),
    ],
)  # fmt: skip
def test_canonical(text: str, shown: str) -> None:
    assert quantity.canonical(text) == shown


@pytest.mark.parametrize("text", ["", "a", "1.2.3", "1Kii", "--1", "1 Gi", "1e", "e3"])
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"quantit|suffix"):
        quantity.parse(text)


@given(st.integers(-(10**12), 10**12), st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "Gi"]))
def test_canonical_is_stable_and_keeps_the_value(number: int, suffix: str) -> None:
    text = f"{number}{suffix}"
    once = quantity.canonical(text)
    assert quantity.canonical(once) == once
    assert quantity.parse(once) == quantity.parse(text)

"""Which image of an index is ours, and that nonsense is refused as such."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.runtime import manifests
from sampan.runtime.errors import Invalid, NotFound


def entry(digit: str, **platform: str) -> dict[str, Any]:
    return {"digest": "sha256:" + digit * 64, "size": 1, "platform": {"os": "linux", **platform}}


@pytest.fixture(autouse=True)
def arm64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "architecture", lambda: "arm64")


def test_platform() -> None:
    others = [entry("1", architecture="amd64"), entry("2", architecture="arm64", os="windows"), {"platform": 7}, 5]
    ours = [entry("3", architecture="arm64"), entry("4", architecture="arm64", variant="v8")]
    assert manifests.choose({"manifests": [*others, *ours]}, "d").digest == "sha256:" + "4" * 64
    assert manifests.choose({"manifests": ours[:1]}, "d").digest == "sha256:" + "3" * 64
    with pytest.raises(NotFound, match="no match for platform in manifest d: not found"):
        manifests.choose({"manifests": [*others, entry("5", architecture="arm64", variant="v9")]}, "d")


def test_media_type_by_itself_by_header_and_by_shape() -> None:
    assert manifests.media_type({"mediaType": "x"}, "y") == "x"
    assert manifests.media_type({}, "application/y; charset=utf-8") == "application/y"
    assert manifests.media_type({"schemaVersion": 2, "manifests": []}, "text/plain") == manifests.INDEXES[0]


def test_diff_ids_must_fit() -> None:
    config = {"rootfs": {"diff_ids": ["sha256:" + "1" * 64]}}
    assert len(manifests.diff_ids(config, 1, "d")) == 1
    with pytest.raises(Invalid, match="mismatched image rootfs and manifest layers"):
        manifests.diff_ids(config, 2, "d")
    with pytest.raises(Invalid, match="no valid"):
        manifests.diff_ids({"rootfs": {"diff_ids": ["sha256:../../etc"]}}, 1, "d")


KEYS = ["config", "layers", "digest", "size", "mediaType", "platform", "manifests", "rootfs", "diff_ids", "Env", "User"]
JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@settings(max_examples=60)
@given(JSON)
def test_whatever_comes_is_understood_or_refused(found: Any) -> None:
    given_object = found if isinstance(found, dict) else {"manifests": found, "layers": found, "config": found}
    for use in (
        manifests.manifest,
        lambda each: manifests.choose(each, "d"),
        lambda each: manifests.diff_ids(each, 1, "d"),
        manifests.settings,
        manifests.media_type,
    ):
        try:
            use(given_object)
        except (Invalid, NotFound):
            continue

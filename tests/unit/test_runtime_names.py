"""Image names as Docker reads them."""

from __future__ import annotations

import pytest

from sampan.runtime import names
from sampan.runtime.errors import Invalid

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("student-app:v4", "docker.io/library/student-app:v4"),
        ("busybox", "docker.io/library/busybox:latest"),
        ("team/app", "docker.io/team/app:latest"),
        ("index.docker.io/library/x:1", "docker.io/library/x:1"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/x:y", "localhost:5000/x:y"),
        ("ghcr.io/a/b/c__d:v1.2-3_4", "ghcr.io/a/b/c__d:v1.2-3_4"),
        ("[::1]:5000/x", "[::1]:5000/x:latest"),
        ("Registry/x", "Registry/x:latest"),
        (f"x:1@{DIGEST}", f"docker.io/library/x@{DIGEST}"),
    ],
)
def test_normalised(text: str, whole: str) -> None:
    assert str(names.parse(text)) == whole


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("-x", "invalid reference format"),
        ("x:", "invalid reference format"),
        ("x@sha256:1", "invalid reference format"),
        ("a.io/../x", "invalid reference format"),
        ("My-App", "invalid reference format: repository name (library/My-App) must be lowercase"),
        ("a" * 64, f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings"),
        ("a.io/" + "x" * 251, "repository name must not be more than 255 characters"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        names.parse(text)
    assert str(caught.value) == message

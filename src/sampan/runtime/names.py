"""Image names, made whole as Docker does: `busybox` is `docker.io/library/busybox:latest`.

Source: github.com/distribution/reference normalize.go, regexp.go (rules and messages)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sampan.runtime.errors import Invalid

_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEX = re.compile(r"[0-9a-f]{64}")
_LONGEST = 255


@dataclass(frozen=True, slots=True)
class Reference:
    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        return f"{self.domain}/{self.path}"

    def __str__(self) -> str:
        # a digest says all: the tag beside it is dropped, as containerd does
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"


def parse(text: str) -> Reference:
    """Raises Invalid."""
    if _HEX.fullmatch(text):
        raise Invalid(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    named, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise Invalid("invalid reference format")
    first, slash, rest = named.partition("/")
    if not slash or (not set(first) & set(".:") and first != "localhost" and first.lower() == first):
        first, rest = "docker.io", named
    domain = "docker.io" if first == "index.docker.io" else first
    path, colon, tag = rest.rpartition(":")
    if not colon:
        path, tag = rest, ""
    if domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    if path.lower() != path:
        raise Invalid(f"invalid reference format: repository name ({path}) must be lowercase")
    if not _PATH.fullmatch(path) or not _DOMAIN.fullmatch(domain) or (colon and not _TAG.fullmatch(tag)):
        raise Invalid("invalid reference format")
    if len(domain) + 1 + len(path) > _LONGEST:
        raise Invalid(f"repository name must not be more than {_LONGEST} characters")
    return Reference(domain, path, tag if tag or digest else "latest", digest)


def is_digest(text: object) -> bool:
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None

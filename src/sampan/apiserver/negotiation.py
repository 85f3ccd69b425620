"""What the client wants to be sent: JSON, YAML or protobuf, and the object itself, a Table of it, or its metadata alone.

Source: k8s.io/apiserver/pkg/endpoints/handlers/negotiation/negotiate.go, handlers/rest.go (AllowsMediaTypeTransform)
"""

from __future__ import annotations

import functools

from sampan.api import errors
from sampan.api.frozen import frozen

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
ACCEPTED = (JSON, YAML, PROTOBUF)
STREAMS = (f"{JSON};stream=watch", f"{PROTOBUF};stream=watch")


@frozen
class Accept:
    """`media` is JSON, YAML or protobuf; `view` empty, Table, PartialObjectMetadata or PartialObjectMetadataList."""

    media: str = JSON
    view: str = ""
    version: str = "v1"

    @property
    def errors(self) -> str:
        """The media type of errors, which have but one view."""
        return JSON if self.view else self.media


_VIEWS = {
    "Table": ("v1", "v1beta1"),
    "PartialObjectMetadata": ("v1", "v1beta1"),
    "PartialObjectMetadataList": ("v1", "v1beta1"),
}


@functools.lru_cache(maxsize=512)
def negotiate(header: str, custom: bool = False, tables: bool = True) -> Accept:
    """Raises 406 when nothing we can send is accepted. Neither custom resources nor Tables have protobuf; the metadata of
    custom resources has. `tables` False: there are none of it."""
    if not header:
        return Accept()
    clauses = sorted(
        (_clause(part) for part in header.split(",")), key=lambda clause: (-clause[2], clause[0].count("*"))
    )
    for media, parameters, quality in clauses:
        if quality <= 0:
            continue
        if media in ("*/*", "application/*", "*"):
            return Accept()
        if media == "application/yml":
            media = YAML
        if media not in (JSON, YAML, "text/yaml", PROTOBUF):
            continue
        media = YAML if media == "text/yaml" else media
        view = parameters.get("as", "")
        if media == PROTOBUF and (view == "Table" or (custom and not view)):
            continue
        if view == "Table" and not tables:
            continue
        if not view:
            return Accept(media)
        version = parameters.get("v", "")
        if parameters.get("g") == "meta.k8s.io" and version in _VIEWS.get(view, ()):
            return Accept(media, view, version)
    raise errors.not_acceptable(ACCEPTED)


def _clause(text: str) -> tuple[str, dict[str, str], float]:
    media, *rest = (piece.strip() for piece in text.split(";"))
    parameters = {}
    for piece in rest:
        key, _, value = piece.partition("=")
        parameters[key.strip()] = value.strip().strip('"')
    try:
        quality = float(parameters.get("q", "1"))
    except ValueError:
        quality = 0.0
    return media.lower(), parameters, quality

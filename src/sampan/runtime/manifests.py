"""Manifests and indexes, OCI's and Docker's: what an image consists of, and which one of an index is for this machine.

Everything here came from somebody else: a wrong type or a missing field is `Invalid`, never a KeyError.

Source: https://github.com/opencontainers/image-spec (manifest.md, image-index.md), containerd images/image.go (messages)
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from sampan.runtime import names
from sampan.runtime.errors import Invalid, NotFound

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
#: more is not a manifest but an attack
MAX_DOCUMENT = 4 << 20
MAX_LAYERS = 500
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


@dataclass(frozen=True, slots=True)
class Descriptor:
    digest: str
    size: int
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """What an image says of how it is to be run."""

    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    env: tuple[str, ...]
    working_dir: str
    user: str
    stop_signal: str
    #: directories that it writes to, whatever else is read-only
    volumes: tuple[str, ...] = ()


def settings(config: dict[str, Any]) -> Settings:
    """Of an image's config. Raises Invalid."""
    found = config.get("config")
    given = found if isinstance(found, dict) else {}
    texts = [given.get(key) or "" for key in ("WorkingDir", "User", "StopSignal")]
    lists = [given.get(key) or [] for key in ("Entrypoint", "Cmd", "Env")]
    if not all(isinstance(text, str) for text in texts):
        raise Invalid("image config has a working directory, user or stop signal that is not a string")
    if not all(isinstance(words, list) and all(isinstance(word, str) for word in words) for words in lists):
        raise Invalid("image config has an entrypoint, command or environment that is not a list of strings")
    entrypoint, command, env = (tuple(words) for words in lists)
    volumes = given.get("Volumes") or {}
    if not isinstance(volumes, dict):
        raise Invalid("image config has volumes that are not an object")
    return Settings(entrypoint, command, env, texts[0], texts[1], texts[2], tuple(volumes))


def architecture() -> str:
    machine = os.uname().machine
    return _ARCHITECTURES.get(machine, machine)


def document(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_DOCUMENT:
        raise Invalid(f"document of {len(data)} bytes is larger than {MAX_DOCUMENT}")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Invalid("not a JSON object")
    return found


def media_type(found: dict[str, Any], said: str = "") -> str:
    """What it says of itself, else what whoever sent it says, else by its shape."""
    own = found.get("mediaType")
    kind = own if isinstance(own, str) and own else said.partition(";")[0].strip()
    if kind not in INDEXES and kind not in MANIFESTS and not own and found.get("schemaVersion") == 2:
        kind = INDEXES[0] if "manifests" in found else MANIFESTS[0]
    return kind


def descriptor(found: object) -> Descriptor:
    if not isinstance(found, dict):
        raise Invalid("descriptor is not an object")
    digest, size, kind = found.get("digest"), found.get("size"), found.get("mediaType", "")
    if not names.is_digest(digest):
        raise Invalid(f"unsupported digest {digest!r}")
    if not isinstance(size, int) or size < 0 or not isinstance(kind, str):
        raise Invalid(f"descriptor of {digest} has no valid size or type")
    return Descriptor(str(digest), size, kind)


def manifest(found: dict[str, Any]) -> Manifest:
    layers = found.get("layers")
    if not isinstance(layers, list) or len(layers) > MAX_LAYERS:
        raise Invalid("manifest has no valid list of layers")
    return Manifest(descriptor(found.get("config")), tuple(descriptor(layer) for layer in layers))


def choose(index: dict[str, Any], digest: str) -> Descriptor:
    """The best one for this machine. Raises NotFound."""
    best: tuple[int, Descriptor] | None = None
    entries = index.get("manifests")
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        fit = _fit(entry.get("platform"))
        if fit and (best is None or fit > best[0]):
            best = fit, descriptor(entry)
    if best is None:
        raise NotFound(f"no match for platform in manifest {digest}: not found")
    return best[1]


def _fit(platform: object) -> int:
    """0 does not run here; more is better."""
    if platform is None:
        return 1  # an index of one image need not say
    if (
        not isinstance(platform, dict)
        or platform.get("os") != "linux"
        or platform.get("architecture") != architecture()
    ):
        return 0
    variant = platform.get("variant") or ""
    wanted = {"arm64": ("v8",), "amd64": ("v1",), "arm": ("v5", "v6", "v7")}.get(architecture(), ())
    if not variant:
        return 2
    return 3 + wanted.index(variant) if variant in wanted else 0


def diff_ids(config: dict[str, Any], layers: int, digest: str) -> tuple[str, ...]:
    """The layers' uncompressed digests, one for each. Raises Invalid; NotFound for another platform."""
    if config.get("architecture", architecture()) != architecture() or config.get("os", "linux") != "linux":
        raise NotFound(f"no match for platform in manifest {digest}: not found")
    rootfs = config.get("rootfs")
    ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(ids, list) or not all(names.is_digest(each) for each in ids):
        raise Invalid("image config has no valid rootfs.diff_ids")
    if len(ids) != layers:
        raise Invalid(f"mismatched image rootfs and manifest layers: {len(ids)} and {layers}")
    return tuple(ids)

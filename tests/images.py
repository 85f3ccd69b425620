"""Images built in memory for tests, with the standard library alone."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def entry(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, mode: int = 0o644, **more: Any
) -> tuple[Any, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size = kind, mode, len(data)
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def directory(name: str, mode: int = 0o755, **more: Any) -> tuple[Any, bytes]:
    return entry(name, kind=tarfile.DIRTYPE, mode=mode, **more)


def symlink(name: str, target: str) -> tuple[Any, bytes]:
    return entry(name, kind=tarfile.SYMTYPE, mode=0o777, linkname=target)


def hardlink(name: str, target: str) -> tuple[Any, bytes]:
    return entry(name, kind=tarfile.LNKTYPE, linkname=target)


def tar(*entries: tuple[Any, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as file:
        for info, data in entries:
            file.addfile(info, io.BytesIO(data))
    return out.getvalue()


@dataclass
class Built:
    """One image. `compress` may be any function of bytes; change `config` or the blobs to break it."""

    layers: list[bytes]
    config: dict[str, Any] = field(default_factory=dict)
    compress: Any = gzip.compress
    kind: str = OCI_MANIFEST
    architecture: str = ARCHITECTURE

    def __post_init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        packed = [self.compress(layer) for layer in self.layers]
        self.config_data = json.dumps(
            {
                "architecture": self.architecture,
                "os": "linux",
                "config": self.config,
                "rootfs": {"type": "layers", "diff_ids": [sha(layer) for layer in self.layers]},
            }
        ).encode()
        self.manifest = {
            "schemaVersion": 2,
            "mediaType": self.kind,
            "config": self._blob(self.config_data, "application/vnd.oci.image.config.v1+json"),
            "layers": [self._blob(data, OCI_LAYER) for data in packed],
        }
        self.manifest_data = json.dumps(self.manifest).encode()

    def _blob(self, data: bytes, kind: str) -> dict[str, Any]:
        self.blobs[sha(data)] = data
        return {"mediaType": kind, "digest": sha(data), "size": len(data)}

    @property
    def id(self) -> str:
        return sha(self.config_data)

    @property
    def descriptor(self) -> dict[str, Any]:
        platform = {"os": "linux", "architecture": self.architecture}
        data = self.manifest_data
        return {"mediaType": self.kind, "digest": sha(data), "size": len(data), "platform": platform}

    def docker_save(self, path: Path, *tags: str) -> Path:
        names = [f"{number}/layer.tar" for number in range(len(self.layers))]
        manifest = [{"Config": "config.json", "Layers": names, "RepoTags": list(tags)}]
        files = [("manifest.json", json.dumps(manifest).encode()), ("config.json", self.config_data)]
        path.write_bytes(tar(*(entry(*each) for each in (*files, *zip(names, self.layers, strict=True)))))
        return path

    def oci_archive(self, path: Path, name: str) -> Path:
        described = {**self.descriptor, "annotations": {"io.containerd.image.name": name}}
        index = json.dumps({"schemaVersion": 2, "manifests": [described]}).encode()
        blobs = {**self.blobs, sha(self.manifest_data): self.manifest_data}
        files = [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", index)]
        files += [(f"blobs/sha256/{digest[7:]}", data) for digest, data in blobs.items()]
        path.write_bytes(tar(*(entry(*each) for each in files)))
        return path


def index(*images: Built) -> bytes:
    found = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [image.descriptor for image in images]}
    return json.dumps(found).encode()


def busybox(**config: Any) -> Built:
    """A shell with its tools, from Debian's busybox-static."""
    binary = Path("/bin/busybox").resolve().read_bytes()
    tools = "sh cat sleep id ls echo env ps mount touch mkdir httpd wget ping head tr dd kill hostname stat grep yes true false nc df"
    files = [directory(name) for name in ("bin", "etc", "tmp", "root", "www")]
    files += [
        entry("bin/busybox", binary, mode=0o755),
        entry("etc/passwd", b"root:x:0:0::/root:/bin/sh\napp:x:1234:2345::/home/app:/bin/sh\n"),
        entry("etc/group", b"root:x:0:\napp:x:2345:\nextra:x:3456:app\n"),
        entry("www/index.html", b"hello\n"),
    ]
    files += [symlink(f"bin/{tool}", "busybox") for tool in tools.split()]
    return Built([tar(*files)], {"Cmd": ["sh"], "Env": ["PATH=/bin", "FROM_IMAGE=1"], **config})

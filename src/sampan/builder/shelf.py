"""What builds have made, on disk: layers as directories and as tars, images by name, and which step made what.

    layers/HEX/fs, size.json    tars/HEX.tar    images.json    steps.json    work/

A layer comes in by a rename, whole. One build at a time has the shelf.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.builder import layer
from sampan.runtime import kernel


@dataclass(frozen=True, slots=True)
class Image:
    """`config`: the image's document, its layers by digest in `rootfs`."""

    config: dict[str, Any]

    @property
    def layers(self) -> list[str]:
        found: list[str] = self.config["rootfs"]["diff_ids"]
        return found


class Shelf:
    def __init__(self, root: Path) -> None:
        self.root = root
        self._images: dict[str, dict[str, Any]] = {}
        self._steps: dict[str, list[str]] = {}

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Raises OSError; BlockingIOError while another build has it."""
        for name in ("layers", "tars", "work"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        with open(self.root / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._clear()
            self._images, self._steps = self._read("images.json"), self._read("steps.json")
            try:
                yield
            finally:
                self._clear()

    def _clear(self) -> None:
        """Whatever was under way."""
        for work in (self.root / "work").iterdir():
            kernel.unmount(work / "rootfs")
            shutil.rmtree(work, ignore_errors=True)

    def _read(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads((self.root / name).read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, name: str, data: Any) -> None:
        scratch = self.root / f"{name}.part"
        scratch.write_text(json.dumps(data))
        os.replace(scratch, self.root / name)

    def work(self) -> Path:
        """A directory that is gone after the build."""
        made = self.root / "work" / uuid.uuid4().hex[:12]
        made.mkdir()
        return made

    # -- layers --------------------------------------------------------------------------------------------------------

    def fs(self, digest: str) -> Path:
        return self.root / "layers" / digest.removeprefix("sha256:") / "fs"

    def tar(self, digest: str) -> Path:
        return self.root / "tars" / f"{digest.removeprefix('sha256:')}.tar"

    def has(self, digest: str) -> bool:
        return self.fs(digest).is_dir() and self.tar(digest).is_file()

    def add(self, directory: Path) -> str:
        """The directory becomes a layer; its digest. Raises OSError."""
        scratch = self.root / "tars" / f"{uuid.uuid4().hex}.part"
        digest = layer.pack(directory, scratch)
        if self.has(digest):
            scratch.unlink()
            return digest
        os.replace(scratch, self.tar(digest))
        made = self.root / "work" / uuid.uuid4().hex[:12]
        made.mkdir()
        directory.rename(made / "fs")
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.fs(digest).parent)
        made.rename(self.fs(digest).parent)
        return digest

    def copied(self, directory: Path) -> str:
        """As `add`, of a directory that stays where it is."""
        work = self.work()
        subprocess.run(["cp", "-a", "--reflink=auto", str(directory), str(work / "fs")], check=True)
        return self.add(work / "fs")

    def size(self, image: Image) -> int:
        return sum(self.tar(digest).stat().st_size for digest in image.layers)

    # -- steps ---------------------------------------------------------------------------------------------------------

    def step(self, key: str) -> tuple[str, str] | None:
        """The layer that it made, empty if it made none, and when; None if it is not known."""
        digest, when = self._steps.get(key, ("-", ""))
        return None if digest == "-" or (digest and not self.has(digest)) else (digest, when)

    def remember(self, key: str, digest: str, when: str) -> None:
        self._steps[key] = [digest, when]
        self._write("steps.json", self._steps)

    # -- images --------------------------------------------------------------------------------------------------------

    def image(self, name: str) -> Image | None:
        found = self._images.get(name)
        image = Image(found) if found is not None else None
        return image if image is not None and all(self.has(digest) for digest in image.layers) else None

    def name(self, name: str, image: Image) -> None:
        self._images[name] = image.config
        self._write("images.json", self._images)

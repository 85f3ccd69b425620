"""The built-in image: the Python that runs us, and this package, for containers. Never pulled, never collected.

Its one layer is a skeleton: a few directories, links and files of /etc. What makes it run, the interpreter with its libraries and
packages, is mounted over that read-only, each directory at the path where the host has it, so that a virtual environment,
an editable install or a Python in somebody's home works in the container as outside, and nothing is copied.

The mounts belong to the image whose ID we compute here, and to no other: a pulled image cannot ask for them.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import site
import sys
import sysconfig
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.runtime.manifests import architecture
from sampan.runtime.store import Image, LayerInfo, Store

REPOSITORY = "sampan.io/sampan"
#: where libraries and programs of the whole system are; a Python that lives there brings only what is its own
_SYSTEM = ("/", "/usr", "/usr/local")
_LIBRARIES = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64")
_SETTINGS = (
    "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/pki/ca-trust", "/usr/share/ca-certificates",
    "/etc/ld.so.cache",
)  # fmt: skip
DIRECTORIES = ("dev", "etc", "proc", "run", "sys", "tmp", "var/run", "var/tmp")
FILES = {
    "etc/passwd": "root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n",
    "etc/group": "root:x:0:\nnobody:x:65534:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}


def name() -> str:
    """Of the image that belongs to the installed version."""
    return f"{REPOSITORY}:v{importlib.metadata.version('sampan')}"


@dataclass(frozen=True, slots=True)
class Python:
    """An interpreter as it was started, and where what it imports comes from."""

    executable: str
    prefixes: tuple[str, ...]
    path: tuple[str, ...]

    @staticmethod
    def running() -> Python:
        """Not by `sys.path`: that begins with whatever directory we were started in."""
        places = [sysconfig.get_path(each) for each in ("stdlib", "platstdlib", "purelib", "platlib")]
        places += site.getsitepackages()
        if site.ENABLE_USER_SITE:
            places.append(site.getusersitepackages())
        # of an editable install the package alone, not the checkout around it
        package = str(Path(__file__).resolve().parent.parent)
        return Python(sys.executable, (sys.prefix, sys.base_prefix), (*places, package))


@dataclass(frozen=True, slots=True)
class Root:
    """A root file system: symlinks to make, and what is mounted: source by where it goes."""

    links: dict[str, str]
    mounts: dict[str, str]


def root(python: Python) -> Root:
    """What the interpreter needs, with nothing named twice."""
    links: dict[str, str] = {}
    wanted: dict[str, str] = {}
    libraries = [each for each in _LIBRARIES if os.path.isdir(each)]
    for each in libraries:
        if os.path.islink(each):
            links[each] = os.readlink(each)
        else:
            wanted[each] = each
    prefixes = [each for each in python.prefixes if os.path.normpath(each) not in _SYSTEM]
    if os.path.realpath(python.executable).startswith("/nix/store/"):
        prefixes.append("/nix/store")
    for each in (*prefixes, *python.path, *_SETTINGS):
        real = os.path.realpath(each)
        if os.path.exists(real):
            wanted[os.path.normpath(each)] = wanted[real] = real
    mounts = _outermost(wanted, links)
    # the interpreter is often a link to a link: each step must be there
    step = os.path.normpath(python.executable)
    while os.path.lexists(step):
        covered = any(_within(step, each) for each in mounts)
        if os.path.islink(step):
            if not covered:
                links[step] = os.readlink(step)
            step = os.path.normpath(os.path.join(os.path.dirname(step), os.readlink(step)))
            continue
        if not covered:
            mounts[step] = os.path.realpath(step)
        break
    return Root(links, mounts)


def _within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _outermost(wanted: dict[str, str], links: Iterable[str]) -> dict[str, str]:
    """Without what comes with something else, or is reached through a link."""
    out: dict[str, str] = {}
    for target in sorted(wanted):
        covers = next((each for each in out if _within(target, each)), None)
        if covers is not None and wanted[target] == os.path.join(out[covers], os.path.relpath(target, covers)):
            continue
        if not any(_within(target, link) for link in links):
            out[target] = wanted[target]
    return out


def config(python: Python, layer: str) -> dict[str, Any]:
    """Of an image that runs us."""
    return {
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": [python.executable, "-m", "sampan.cli"],
            "Cmd": ["--help"],
            "Env": [
                f"PATH={os.path.dirname(python.executable)}:/usr/local/bin:/usr/bin:/bin",
                "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1", "LANG=C.UTF-8", "HOME=/",
            ],
            "WorkingDir": "/",
            "Labels": {"org.opencontainers.image.version": importlib.metadata.version("sampan")},
        },
        "rootfs": {"type": "layers", "diff_ids": [layer]},
    }  # fmt: skip


class Builtin:
    """Made once for a store: `install` it after the store is open."""

    def __init__(self, python: Python | None = None) -> None:
        self._python = python or Python.running()
        self._root = root(self._python)
        skeleton = {"directories": DIRECTORIES, "files": FILES, "links": self._root.links}
        self.layer = "sha256:" + hashlib.sha256(json.dumps(skeleton, sort_keys=True).encode()).hexdigest()
        about = {**config(self._python, self.layer), "mounts": self._root.mounts}
        self._config = json.dumps(about, sort_keys=True).encode()
        self.id = "sha256:" + hashlib.sha256(self._config).hexdigest()

    def mounts(self, image: str) -> dict[str, str]:
        """Sources by where they go, read-only, for containers of an image by its ID."""
        return self._root.mounts if image == self.id else {}

    def install(self, store: Store) -> Image:
        """It is in the store, and stays; one of an earlier version or another Python goes."""
        if not store.has_layer(self.layer):
            made = store.ingest / uuid.uuid4().hex
            store.put_layer(self.layer, made, self._make(made / "fs"))
        store.put_blob(self._config)
        for image in store.images():
            if image.id != self.id and any(tag.startswith(f"{REPOSITORY}:") for tag in image.tags):
                store.remove(image)
        store.permanent.add(self.id)
        return store.add(Image(self.id, (self.layer,), store.info(self.layer).size, (name(),), pinned=True))

    def _make(self, target: Path) -> LayerInfo:
        target.mkdir(parents=True)
        target.chmod(0o755)
        for each in DIRECTORIES:
            (target / each).mkdir(parents=True, exist_ok=True)
        for each in ("tmp", "var/tmp"):
            (target / each).chmod(0o1777)
        for path, text in FILES.items():
            (target / path).write_text(text)
        for link, to in self._root.links.items():
            place = target / link.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(to)
        found = list(target.rglob("*"))
        return LayerInfo(sum(each.lstat().st_size for each in found if not each.is_dir()), len(found))

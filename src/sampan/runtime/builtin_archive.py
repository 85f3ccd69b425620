"""The built-in image as a file, for other runtimes: `python -m sampan.runtime.builtin_archive FILE`.

Ours mounts the installed Python; containerd and CRI-O know only layers, so here its files are copied: the interpreter, the
standard library, this package and what its DNS server imports, and the shared libraries that all of that is linked with.
Each is where the host has it, and the name is that of the built-in image: `ctr -n k8s.io images import FILE`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from sampan.runtime.builtin import DIRECTORIES, FILES, Python, config, name, root

#: what it must be able to import
_ROOTS = ("sampan.cli.dns", "sampan.client", "re2", "yaml", "encodings.idna")
_LEFT_OUT = ("test", "tests", "idlelib", "turtledemo", "tkinter", "ensurepip", "lib2to3", "pydoc_data")
_LIBRARY = re.compile(r"(?:=>\s+)?(/\S+)\s+\(0x")


def write(path: Path) -> None:
    """As `docker save` writes. Raises OSError."""
    python = Python.running()
    with tempfile.TemporaryFile() as layer:
        _layer(layer, python)
        save(path, name(), layer, lambda digest: config(python, digest))


def save(path: Path, named: str, layer: io.BufferedRandom | io.BytesIO, about: Callable[[str], dict[str, Any]]) -> None:
    """An image of one layer, as `docker save` writes. `about`: its configuration, given the layer's digest. Raises OSError."""
    layer.seek(0)
    digest = hashlib.file_digest(layer, "sha256").hexdigest()
    document = json.dumps(about(f"sha256:{digest}"), sort_keys=True).encode()
    kept = f"{hashlib.sha256(document).hexdigest()}.json"
    manifest = json.dumps([{"Config": kept, "RepoTags": [named], "Layers": [f"{digest}.tar"]}]).encode()
    with tarfile.open(path, "w") as out:
        for each, data in (("manifest.json", manifest), (kept, document)):
            add(out, each, data)
        info = tarfile.TarInfo(f"{digest}.tar")
        info.size = layer.seek(0, os.SEEK_END)
        layer.seek(0)
        out.addfile(info, layer)


def add(out: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644, when: float = 0) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), mode, int(when)
    out.addfile(info, io.BytesIO(data))


def _layer(file: IO[bytes], python: Python) -> None:
    """Owned by root. Times are kept: by them Python knows that what it has compiled is still good."""
    links = root(python).links
    seen: set[str] = set()
    with tarfile.open(fileobj=file, mode="w") as out:
        for each in DIRECTORIES:
            _directory(out, each, 0o1777 if each.endswith("tmp") else 0o755)
        for each, text in FILES.items():
            add(out, each, text.encode())
        for link, to in links.items():
            _link(out, link, to, seen)
        for path in _files(python):
            _put(out, path, links, seen)
    file.seek(0)


def _directory(out: tarfile.TarFile, name: str, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, mode
    out.addfile(info)


def _link(out: tarfile.TarFile, link: str, to: str, seen: set[str]) -> None:
    info = tarfile.TarInfo(link.lstrip("/"))
    info.type, info.linkname, info.mode = tarfile.SYMTYPE, to, 0o777
    seen.add(link)
    out.addfile(info)


def _put(out: tarfile.TarFile, path: str, links: dict[str, str], seen: set[str]) -> None:
    """A file, or a link and what it leads to, under a name that goes through no link of the skeleton."""
    for link, to in links.items():
        if path.startswith(link + "/"):
            path = os.path.normpath(os.path.join(os.path.dirname(link), to)) + path[len(link) :]
    if path in seen:
        return
    if os.path.islink(path):
        to = os.readlink(path)
        _link(out, path, to, seen)
        _put(out, os.path.normpath(os.path.join(os.path.dirname(path), to)), links, seen)
        return
    seen.add(path)
    mode = 0o755 if os.access(path, os.X_OK) else 0o644
    add(out, path.lstrip("/"), Path(path).read_bytes(), mode, os.stat(path).st_mtime)


def _files(python: Python) -> Iterator[str]:
    code = _code()
    yield from code
    yield python.executable
    if os.path.exists(venv := os.path.join(sys.prefix, "pyvenv.cfg")):
        yield venv
    binaries = [each for each in code if each.endswith(".so")]
    yield from sorted(_libraries([os.path.realpath(python.executable), *binaries]))
    for each in ("/etc/ssl/openssl.cnf", "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"):
        if os.path.isfile(each):
            yield each


def _code() -> list[str]:
    """The standard library, this package, and the packages that come along when it is imported."""
    standard = Path(sysconfig.get_path("stdlib"))
    trees = [standard, Path(__file__).resolve().parent.parent]
    if (extra := Path(sysconfig.get_path("platstdlib")) / "lib-dynload").is_dir():
        trees.append(extra)
    script = f"import {', '.join(_ROOTS)}, sys; print(*(m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)), sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    out: dict[str, None] = {}
    for tree in trees:
        out.update(dict.fromkeys(_tree(tree)))
    for file in loaded.split("\n"):
        if file.endswith(".py") and os.path.exists(compiled := importlib.util.cache_from_source(file)):
            out[compiled] = None
        for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
            if file.startswith(place + "/"):
                top = Path(place, Path(file).relative_to(place).parts[0])
                out.update(dict.fromkeys(_tree(top) if top.is_dir() else [file]))
                if (brought := top.with_name(f"{top.name}.libs")).is_dir():
                    out.update(dict.fromkeys(_tree(brought)))
    for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        # how the package says its version, and where it is if it is elsewhere
        for each in sorted(Path(place).glob("*sampan*")):
            out.update(dict.fromkeys(_tree(each) if each.is_dir() else [str(each)]))
    return list(out)


def _tree(top: Path) -> Iterator[str]:
    for here, directories, files in os.walk(top):
        directories[:] = sorted(
            each for each in directories if each not in (*_LEFT_OUT, "__pycache__", "site-packages", "dist-packages")
        )
        for each in sorted(files):
            if not each.endswith((".a", ".pyc", ".o")) and not each.startswith("_tkinter"):
                yield os.path.join(here, each)


def _libraries(binaries: Iterable[str]) -> set[str]:
    """All that they are linked with, the loader too. Raises OSError."""
    out: set[str] = set()
    done = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("\t") and (found := _LIBRARY.search(line)):
            out.add(os.path.normpath(found[1]))
    return out


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m sampan.runtime.builtin_archive FILE", file=sys.stderr)
        return 2
    write(Path(arguments[0]))
    print(name())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Images that stand in for those of a registry: made of what is installed here, small enough to make anew each time.

`python()` is this interpreter with its library and a shell, `redis()` Debian's redis-server; both with every shared library
that they need, where the loader looks for it.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.images import Built, busybox

#: parts of the library that no test needs
LEFT_OUT = {
    "test",
    "site-packages",
    "__pycache__",
    "idlelib",
    "tkinter",
    "ensurepip",
    "lib2to3",
    "turtledemo",
    "pydoc_data",
    "distutils",
}
#: and what the names of such extension modules begin with
NO_MODULES = (
    "_test",
    "_tkinter",
    "_xx",
    "xx",
    "_sqlite3",
    "_curses",
    "_codecs_",
    "_gdbm",
    "_dbm",
    "_ctypes_test",
    "readline",
)
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")


def libraries(programs: Iterable[Path]) -> dict[str, Path]:
    """By the place where they are looked for, the loader itself too."""
    out: dict[str, Path] = {}
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True).stdout
    for found in _LIBRARY.findall(said):
        out[found] = Path(found).resolve()
    return out


def packed(files: dict[str, Path], config: dict[str, Any], links: dict[str, str] | None = None) -> Built:
    """On top of busybox's tools. `files`: by their place in the image."""
    below = busybox()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        made: set[str] = set()
        for name, source in sorted(files.items()):
            for above in reversed(list(Path(name).parents)[:-1]):
                if str(above) not in made:
                    made.add(str(above))
                    info = tarfile.TarInfo(str(above).lstrip("/"))
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(info)
            info = tarfile.TarInfo(name.lstrip("/"))
            info.size, info.mode = source.stat().st_size, 0o755 if os.access(source, os.X_OK) else 0o644
            with source.open("rb") as file:
                tar.addfile(info, file)
        for name, target in {"/bin/tar": "busybox", **(links or {})}.items():
            info = tarfile.TarInfo(name.lstrip("/"))
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
            tar.addfile(info)
    env = ["PATH=/usr/local/bin:/usr/bin:/bin", "LD_LIBRARY_PATH=/usr/local/lib"]
    # they are loaded as archives, where layers are as they are
    return Built([*below.layers, out.getvalue()], {"Env": env, **config}, compress=bytes)


def python() -> Built:
    """`python` and `python3`, without packages."""
    prefix = Path(sys.base_prefix)
    binary = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]  # the one behind a virtual environment
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = Path(sysconfig.get_path("stdlib"))
    files = {f"/usr/local/bin/{version}": binary}
    programs = [binary]
    for above, directories, names in os.walk(library):
        directories[:] = [name for name in directories if name not in LEFT_OUT and not name.startswith("config-")]
        for name in names:
            path = Path(above, name)
            if path.suffix in (".a", ".pyc", ".exe") or (path.suffix == ".so" and name.startswith(NO_MODULES)):
                continue
            files[f"/usr/local/lib/{version}/{path.relative_to(library)}"] = path
            if path.suffix == ".so":
                programs.append(path)
    for place, source in libraries(programs).items():
        files[f"/usr/local/lib/{Path(place).name}" if Path(place).is_relative_to(prefix) else place] = source
    links = {f"/usr/local/bin/{name}": version for name in ("python", "python3")}
    return packed(files, {"Cmd": ["python3"]}, links)


def redis() -> Built:
    server, client = (Path("/usr/bin", name).resolve() for name in ("redis-server", "redis-cli"))
    files = {"/usr/bin/redis-server": server, "/usr/bin/redis-cli": client}
    files.update(libraries([server, client]))
    return packed(files, {"Cmd": ["redis-server"], "ExposedPorts": {"6379/tcp": {}}})

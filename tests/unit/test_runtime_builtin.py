"""What the built-in image mounts: for a Python of the system, in a home, in a virtual environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sampan.runtime.builtin import REPOSITORY, Builtin, Python, name, root
from sampan.runtime.store import Image, Store


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o755)
    return path


def test_a_virtual_environment_of_a_python_in_a_home(tmp_path: Path) -> None:
    base, venv = tmp_path / "pyenv" / "3.11", tmp_path / "app" / ".venv"
    executable(base / "bin" / "python3.11")
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(base / "bin" / "python3.11")
    package = tmp_path / "checkout" / "src" / "sampan"
    package.mkdir(parents=True)
    site = venv / "lib" / "site-packages"
    site.mkdir(parents=True)
    found = root(Python(str(venv / "bin" / "python"), (str(venv), str(base)), (str(site), str(package))))
    ours = {target: source for target, source in found.mounts.items() if target.startswith(str(tmp_path))}
    # what lies within another is not mounted twice; of the checkout only the package
    assert ours == {str(each): str(each) for each in (venv, base, package)}
    assert not any(link.startswith(str(tmp_path)) for link in found.links)


def test_a_python_of_the_system_brings_only_what_is_its_own(tmp_path: Path) -> None:
    real = executable(tmp_path / "bin" / "python3.11")
    link = tmp_path / "bin" / "python3"
    link.symlink_to("python3.11")
    found = root(Python(str(link), ("/usr", "/usr"), ()))
    assert found.links[str(link)] == "python3.11" and found.mounts[str(real)] == str(real)
    assert not {"/", "/usr", "/etc", "/etc/ssl", "/home", "/root"} & set(found.mounts)


def test_directories_under_another_name(tmp_path: Path) -> None:
    real = tmp_path / "var" / "home" / "python"
    executable(real / "bin" / "python")
    (tmp_path / "home").symlink_to(tmp_path / "var" / "home")
    named = tmp_path / "home" / "python"
    found = root(Python(str(named / "bin" / "python"), (str(named), str(named)), ()))
    assert found.mounts[str(named)] == found.mounts[str(real)] == str(real)


def test_it_replaces_that_of_another_version_and_cannot_be_removed(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.open()
    old = store.add(Image(store.put_blob(b"{}"), (), 0, (f"{REPOSITORY}:v0.0.1",), pinned=True))
    built = Builtin()
    image = built.install(store)
    assert store.images() == [image] and old not in store.images() and image.pinned
    assert store.find(name()) == image
    store.remove(image)
    assert store.find(name()) == image
    assert built.mounts(image.id) and not built.mounts(old.id)
    skeleton = store.fs(built.layer)
    assert (skeleton / "etc" / "passwd").read_text().startswith("root:") and os.stat(skeleton / "tmp").st_mode & 0o1000
    again = Store(tmp_path / "store")
    again.open()
    assert Builtin().install(again) == image


@pytest.mark.slow
def test_where_we_were_started_is_not_in_it(tmp_path: Path) -> None:
    """`python -m` puts the working directory first on the path: it is nobody's business in a container."""
    code = "from sampan.runtime.builtin import Builtin; b = Builtin(); print(b.id, *b.mounts(b.id))"
    said = []
    for where in (tmp_path, Path("/")):
        command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(where)!r})\n{code}"]
        said.append(subprocess.run(command, cwd=where, capture_output=True, text=True, check=True).stdout)
    assert said[0] == said[1] and str(tmp_path) not in said[0] and " / " not in said[0]

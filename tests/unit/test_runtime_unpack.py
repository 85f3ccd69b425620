"""Layers: what they lay out, and what malicious ones do not."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.runtime.unpack import BadLayer, unpack
from tests.images import directory, entry, hardlink, sha, symlink, tar

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Room:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.fs = path / "layer" / "fs"
        self.fs.mkdir(parents=True)

    def __call__(self, data: bytes, limit: int = 1 << 20, entries: int = 1000) -> dict[str, Any]:
        blob = self.path / "blob"
        blob.write_bytes(data)
        return unpack(str(blob), str(self.fs), limit=limit, entries=entries, owner=False)

    def names(self) -> list[str]:
        return sorted(str(each.relative_to(self.fs)) for each in self.fs.rglob("*"))


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress], ids=["tar", "gzip", "zstd"])
def test_files_and_their_digest(room: Room, pack: Any) -> None:
    data = tar(
        directory("./d", 0o500, mtime=7), entry("d/f", b"text", mode=0o4755, mtime=5), symlink("l", "/d/f"),
        hardlink("d/h", "./d/f"), entry("x/made/up", b""),
    )  # fmt: skip
    assert room(pack(data)) == {"diff_id": sha(data), "size": 4, "inodes": 5}
    assert room.names() == ["d", "d/f", "d/h", "l", "x", "x/made", "x/made/up"]
    found = (room.fs / "d/f").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_mtime, found.st_nlink) == (0o4755, 5, 2)
    assert (stat.S_IMODE((room.fs / "d").stat().st_mode), (room.fs / "d").stat().st_mtime) == (0o500, 7)
    assert os.readlink(room.fs / "l") == "/d/f"


def opaque(path: Path) -> bool:
    return "user.overlay.opaque" in os.listxattr(path)


def whiteout(path: Path) -> bool:
    found = path.lstat()
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def test_whiteouts(room: Room) -> None:
    room(
        tar(
            entry("a/.wh.gone"), directory("o"), entry("o/.wh..wh..opq"), entry("o/new"), entry(".wh..wh.plnk"),
            directory("again"), entry(".wh.again"), entry(".wh.under"), entry("under/f"), entry("kept"), entry(".wh.kept"),
        )
    )  # fmt: skip
    assert whiteout(room.fs / "a/gone") and opaque(room.fs / "o") and not opaque(room.fs / "a")
    assert (room.fs / "kept").is_file() and not (room.fs / ".wh..wh.plnk").exists()
    # deleted and made anew in one layer: nothing of the layers below shows through
    assert opaque(room.fs / "again") and opaque(room.fs / "under") and (room.fs / "under/f").is_file()


def test_only_harmless_attributes_are_kept(room: Room) -> None:
    pax = {f"SCHILY.xattr.{name}": "y" for name in ("user.mine", "trusted.overlay.opaque", "user.overlay.opaque")}
    room(tar(entry("f", b"", pax_headers=pax), directory("d", pax_headers=pax)))
    assert [os.listxattr(room.fs / name) for name in ("f", "d")] == [["user.mine"], ["user.mine"]]


def test_devices_are_left_out(room: Room) -> None:
    devices = [
        entry(name, kind=kind, devmajor=8, devminor=0)
        for name, kind in (("c", tarfile.CHRTYPE), ("b", tarfile.BLKTYPE))
    ]
    room(tar(*devices, entry("fifo", kind=tarfile.FIFOTYPE)))
    assert room.names() == ["fifo"]


ESCAPES: dict[str, list[Any]] = {
    "dots": [entry("../out", b"x")],
    "dots inside": [entry("a/../../out", b"x")],
    "hard link out": [hardlink("h", "../../secret")],
    "hard link through a link": [symlink("l", "../.."), hardlink("h", "l/secret")],
    "no such target": [hardlink("h", "missing")],
    "link loop": [symlink("a", "b"), symlink("b", "a"), entry("a/f", b"x")],
    "file as directory": [entry("f", b""), entry("f/g", b"x")],
    "directory as hard link": [directory("d"), hardlink("h", "d")],
    "whiteout of nothing": [entry("d/.wh.", b"")],
    "whiteout of the parent": [entry("d/.wh...", b"")],
}


@pytest.mark.parametrize("which", ESCAPES)
def test_refused_and_nothing_outside_touched(room: Room, which: str) -> None:
    (room.path / "secret").write_text("secret")
    with pytest.raises(BadLayer):
        room(tar(*ESCAPES[which]))
    assert sorted(each.name for each in room.path.iterdir()) == ["blob", "layer", "secret"]
    assert [each.name for each in (room.path / "layer").iterdir()] == ["fs"]
    assert (room.path / "secret").stat().st_nlink == 1


def test_links_lead_inside_the_layer_only(room: Room) -> None:
    room(tar(symlink("abs", "/etc"), entry("abs/x", b"1"), symlink("up", "../../.."), entry("up/y", b"2")))
    assert (room.fs / "etc/x").read_text() == "1" and (room.fs / "y").read_text() == "2"


def test_a_file_does_not_follow_the_link_it_replaces(room: Room) -> None:
    (room.path / "secret").write_text("secret")
    room(
        tar(symlink("f", "../../secret"), entry("f", b"new"), symlink("d", "../.."), directory("d"), entry("d/x", b"x"))
    )
    assert (room.path / "secret").read_text() == "secret"
    assert (room.fs / "f").read_text() == "new" and (room.fs / "d/x").is_file() and not (room.path / "x").exists()


def test_limits(room: Room) -> None:
    with pytest.raises(BadLayer, match="larger than allowed"):
        room(gzip.compress(tar(entry("f", bytes(3000)))), limit=2999)
    with pytest.raises(BadLayer, match="more entries"):
        room(tar(*(entry(f"f{number}") for number in range(4))), entries=3)
    claims = tarfile.TarInfo("f")
    claims.size = 1 << 50
    with pytest.raises(BadLayer, match="larger than allowed"):
        room(claims.tobuf())


@pytest.mark.slow
def test_bombs_end_the_child_not_us(room: Room) -> None:
    """Zeros after the archive, and a header that wants two gigabytes of memory."""
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 2 << 30
    packer = io.BytesIO()
    with gzip.GzipFile(fileobj=packer, mode="wb", compresslevel=1) as file:
        file.write(tar())
        file.write(bytes(64 << 20))
    with pytest.raises(BadLayer, match="larger than allowed"):
        room(packer.getvalue(), limit=1 << 20, entries=10)
    room.path.joinpath("blob").write_bytes(info.tobuf())
    command = [sys.executable, "-m", "sampan.runtime.unpack", str(room.path / "blob"), str(room.fs), "1000", "10"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "error" in done.stdout and not done.stderr


@pytest.mark.parametrize(
    "data",
    [b"", b"junk" * 200, gzip.compress(tar(entry("f", b"x" * 5000)), mtime=0)[:60], b"\x28\xb5\x2f\xfdjunk"],
    ids=["empty", "junk", "gzip", "zstd"],
)
def test_corrupt(room: Room, data: bytes) -> None:
    with pytest.raises(BadLayer):
        room(data)


NAMES = st.lists(st.sampled_from(["a", "b", "..", ".", "", ".wh.a", ".wh..wh..opq"]), min_size=1, max_size=4).map(
    "/".join
)
ENTRIES = st.one_of(
    NAMES.map(lambda name: entry(name, b"x")), NAMES.map(directory), st.tuples(NAMES, NAMES).map(lambda pair: symlink(*pair)),
    st.tuples(NAMES, NAMES.map(lambda name: "/" + name)).map(lambda pair: symlink(*pair)),
    st.tuples(NAMES, NAMES).map(lambda pair: hardlink(*pair)),
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(entries=st.lists(ENTRIES, max_size=7))
def test_no_archive_leaves_its_room(tmp_path_factory: pytest.TempPathFactory, entries: list[Any]) -> None:
    room = Room(tmp_path_factory.mktemp("room"))
    with contextlib.suppress(BadLayer):
        room(tar(*entries))
    assert sorted(each.name for each in room.path.iterdir()) == ["blob", "layer"]
    assert [each.name for each in (room.path / "layer").iterdir()] == ["fs"]

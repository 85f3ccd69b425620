"""Logs from files as runtimes write them: what is shown of them, the end of them, and following them through rotation."""
# ruff: noqa: ASYNC240 - small files on the local disk

from __future__ import annotations

import asyncio
import gzip
import os
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.kubelet import logs
from sampan.kubelet.log_lines import LogOptions
from sampan.kubelet.logs import LogError

START = 1_700_000_000


def line(number: int, text: str = "", stream: str = "stdout", tag: str = "F", zone: str = "Z") -> bytes:
    """Number `number` is of that second after 22:13:20."""
    minute, second = divmod(13 * 60 + 20 + number, 60)
    return f"2023-11-14T22:{minute:02}:{second:02}.5{zone} {stream} {tag} {text or f'line {number}'}\n".encode()


async def shown(path: Path, **options: object) -> bytes:
    out: list[bytes] = []

    async def write(data: bytes) -> None:
        out.append(data)

    await logs.read(path, LogOptions(**options), write)  # type: ignore[arg-type]
    return b"".join(out)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_bytes(
        line(0)
        + line(1, "a pie", tag="P")
        + line(1, "ce", tag="F")
        + line(2, "bad", stream="stderr")
        + b"no log line\n"
        + line(3, "")
        + line(4, "tab\tand\rreturn", zone="+00:00")
    )
    return path


async def test_all_of_it(log: Path) -> None:
    assert await shown(log) == b"line 0\na piece\nbad\nline 3\ntab\tand\rreturn\n"


async def test_times_have_nine_digits_and_stand_before_whole_lines(log: Path) -> None:
    stamp = "2023-11-14T22:13:{:02}.500000000Z "
    expected = [(20, "line 0"), (21, "a piece"), (22, "bad"), (23, "line 3"), (24, "tab\tand\rreturn")]
    assert await shown(log, timestamps=True) == "".join(f"{stamp.format(s)}{t}\n" for s, t in expected).encode()


@pytest.mark.parametrize("zone", ["Z", "+00:00", "+02:00"])
@pytest.mark.parametrize("times", [False, True])
async def test_uniform_lines_are_shown_as_any(tmp_path: Path, zone: str, times: bool) -> None:
    """What is cut at once is what is looked at line by line."""
    path = tmp_path / "0.log"
    same = [
        f"2023-11-14T22:13:2{n}.123456789{zone} {stream} F a b {n}\n"
        for n in range(3)
        for stream in ("stdout", "stderr")
    ]
    path.write_text("".join(same))
    at_once = await shown(path, timestamps=times)
    path.write_text("".join(same) + f"2023-11-14T22:13:29.1{zone} stdout F odd\n")
    assert (await shown(path, timestamps=times)).startswith(at_once)
    shows = zone.replace("+00:00", "Z")
    assert at_once.decode().splitlines()[-1] == (f"2023-11-14T22:13:22.123456789{shows} " if times else "") + "a b 2"
    assert at_once.count(b"\n") == 6


async def test_streams(log: Path) -> None:
    assert await shown(log, stream="Stderr") == b"bad\n"
    assert await shown(log, stream="Stdout") == b"line 0\na piece\nline 3\ntab\tand\rreturn\n"


async def test_since_compares_times_of_all_zones(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    there = b"2023-11-15T00:13:%d.25+02:00 stdout F far %d\n"
    path.write_bytes(line(0) + there % (21, 1) + line(2) + there % (19, 3))
    assert await shown(path, since=START + 1.25) == b"far 1\nline 2\n"
    assert await shown(path, since=START + 1.3, timestamps=True) == b"2023-11-14T22:13:22.500000000Z line 2\n"
    assert (
        (await shown(path, since=float(START), timestamps=True))
        .splitlines()[1]
        .startswith(b"2023-11-15T00:13:21.250000000+02:00 ")
    )


async def test_limit_cuts_in_the_middle(log: Path) -> None:
    assert await shown(log, limit=9) == b"line 0\na "
    assert await shown(log, limit=9, timestamps=True) == b"2023-11-1"


@settings(max_examples=30)
@given(lines=st.lists(st.integers(0, 90_000), max_size=12), count=st.integers(0, 14), ended=st.booleans())
async def test_tail_is_the_end_of_all(
    lines: list[int], count: int, ended: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Lines of all sizes, so that blocks of reading end anywhere in them."""
    path = tmp_path_factory.mktemp("tail") / "0.log"
    data = b"".join(line(1, f"{number}-" + "x" * length) for number, length in enumerate(lines))
    path.write_bytes(data if ended else data[:-1])
    wanted = [f"{number}-".encode() for number in range(len(lines))][max(0, len(lines) - count) :]
    assert [each.partition(b"-")[0] + b"-" for each in (await shown(path, tail=count)).splitlines()] == wanted


@settings(max_examples=50)
@given(
    lines=st.lists(st.tuples(st.integers(1, 4), st.sampled_from([0, 5, 70_000])), max_size=8),
    count=st.integers(0, 10),
    ended=st.booleans(),
    packed=st.booleans(),
)
async def test_tail_counts_lines_not_their_pieces(
    lines: list[tuple[int, int]], count: int, ended: bool, packed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What a program writes without its line feed is written so by conmon, and goes on after that."""
    path = tmp_path_factory.mktemp("pieces") / "0.log"
    data = b"".join(
        line(1, f"{number}-{piece}-" + "x" * length, tag="F" if piece == pieces - 1 else "P")
        for number, (pieces, length) in enumerate(lines)
        for piece in range(pieces)
    )
    if not ended:
        data += line(1, "last-", tag="P")
    path.write_bytes(b"" if packed else data)
    if packed:
        Path(f"{path}.20231114-221320.gz").write_bytes(gzip.compress(data))
    wanted = [*map(str, range(len(lines))), *([] if ended else ["last"])]
    found = (await shown(path, tail=count)).decode().splitlines()
    assert [each.partition("-")[0] for each in found] == wanted[max(0, len(wanted) - count) :]


async def test_tail_reads_no_more_than_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    with path.open("wb") as file:
        file.truncate(8 << 30)  # a hole: reading it all would take seconds
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + line(1) + line(2))
    assert await shown(path, tail=2) == b"line 1\nline 2\n"


@pytest.mark.parametrize("tail", [None, *range(9)])
async def test_rotated_files_go_before(tmp_path: Path, tail: int | None) -> None:
    path = tmp_path / "0.log"
    Path(f"{path}.20231114-221320.gz").write_bytes(gzip.compress(line(1) + line(2) + line(3)))
    Path(f"{path}.20231114-221330").write_bytes(line(4) + line(5))
    Path(f"{path}.20231114-221340.gz.tmp").write_bytes(b"half")
    path.write_bytes(line(6) + line(7))
    all_lines = [f"line {number}\n".encode() for number in range(1, 8)]
    expected = all_lines if tail is None else all_lines[max(0, 7 - tail) :]
    assert await shown(path, tail=tail) == b"".join(expected)


async def test_what_is_being_compressed_is_there_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(line(2))
    old = Path(f"{path}.20231114-221320")
    old.write_bytes(line(1))
    Path(f"{old}.gz").write_bytes(gzip.compress(line(1)))
    assert await shown(path) == b"line 1\nline 2\n"
    seen = logs.rotated(path)
    old.unlink()
    monkeypatch.setattr(logs, "rotated", lambda _: seen)  # between the look and the opening
    assert await shown(path) == b"line 1\nline 2\n"


async def test_no_log(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"failed to try resolving symlinks in path .*0\.log.*no such file or directory"):
        await shown(tmp_path / "0.log")


class Follower:
    """Follows a log in the background; `until` waits for what it shows."""

    def __init__(self, path: Path, **options: object) -> None:
        self.out = b""
        self.running = True
        self.asked = 0
        self.grown = asyncio.Event()
        self.may_write = asyncio.Event()
        self.may_write.set()
        options = {"follow": True, **options}
        self.task = asyncio.ensure_future(logs.read(path, LogOptions(**options), self.write, self.is_running))  # type: ignore[arg-type]

    async def write(self, data: bytes) -> None:
        await self.may_write.wait()
        self.out += data
        self.grown.set()

    async def is_running(self) -> bool:
        self.asked += 1
        self.grown.set()
        return self.running

    async def until(self, expected: bytes) -> None:
        async with asyncio.timeout(5):
            while self.out != expected:
                assert expected.startswith(self.out)
                self.grown.clear()
                await self.grown.wait()

    async def until_asked(self, times: int) -> None:
        async with asyncio.timeout(5):
            while self.asked < times:
                self.grown.clear()
                await self.grown.wait()


async def following(path: Path, file: BinaryIO) -> Follower:
    """Of a log whose first line is written and shown."""
    file.write(line(1))
    follower = Follower(path)
    await follower.until(b"line 1\n")
    return follower


async def test_following_to_the_containers_end(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    with path.open("wb", buffering=0) as file:
        file.write(line(1) + line(2)[:20])
        follower = Follower(path)
        await follower.until(b"line 1\n")
        file.write(line(2)[20:])
        await follower.until(b"line 1\nline 2\n")
        asked = follower.asked
        file.write(line(3))
        await follower.until(b"line 1\nline 2\nline 3\n")
        assert follower.asked == asked  # lines alone are no reason to ask for the container
        file.write(line(4)[:-1])
        follower.running = False
    await asyncio.wait_for(follower.task, 5)
    assert follower.out.splitlines()[-1] == b"line 4"


async def test_the_runtime_may_hear_of_the_end_later_than_we(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    with path.open("wb", buffering=0) as file:
        follower = await following(path, file)
    await follower.until_asked(4)
    follower.running = False
    await asyncio.wait_for(follower.task, 5)


async def test_following_what_has_ended(log: Path) -> None:
    follower = Follower(log, tail=1)
    follower.running = False
    await asyncio.wait_for(follower.task, 5)
    assert follower.out == b"tab\tand\rreturn\n"


async def test_following_new_lines_only(log: Path) -> None:
    follower = Follower(log, tail=0)
    await follower.until_asked(1)
    with log.open("ab") as file:
        file.write(line(8))
    await follower.until(b"line 8\n")
    follower.running = False
    await asyncio.wait_for(follower.task, 5)


async def test_rotation_while_following_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    file = path.open("wb", buffering=0)
    follower = await following(path, file)
    expected = b"line 1\n"
    for turn in range(2, 40, 3):
        # between two looks of the follower: written, renamed, written to the old file, opened anew; now and then twice
        for _ in range(turn % 2 + 1):
            file.write(line(turn))
            path.rename(f"{path}.20231114-22{turn:02}{turn % 2}{_}")
            file.write(line(turn + 1))
            file.close()
            file = path.open("wb", buffering=0)
            file.write(line(turn + 2))
            expected += b"line %d\nline %d\nline %d\n" % (turn, turn + 1, turn + 2)
        await follower.until(expected)
    follower.running = False
    file.close()
    await asyncio.wait_for(follower.task, 5)
    assert follower.out == expected


async def test_a_runtime_that_ends_with_the_old_file_late(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    with path.open("wb", buffering=0) as old:
        follower = await following(path, old)
        path.rename(f"{path}.20231114-221320")
        path.write_bytes(line(4))
        old.write(line(2))
        await follower.until(b"line 1\nline 2\n")
        for _ in range(20):  # now it would have gone on
            await asyncio.sleep(0)
        old.write(line(3))
    await follower.until(b"line 1\nline 2\nline 3\nline 4\n")
    follower.running = False
    with path.open("ab"):
        pass
    await asyncio.wait_for(follower.task, 5)


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_follower_that_sleeps_through_rotations_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compressed: bool
) -> None:
    """As of somebody who reads page by page; files that are gone give their numbers to new ones meanwhile."""
    monkeypatch.setattr(logs, "CLOSED_SECONDS", 0.01)
    path = tmp_path / "0.log"
    path.write_bytes(line(1))
    follower = Follower(path)
    await follower.until(b"line 1\n")
    follower.may_write.clear()
    expected = b"line 1\n"
    for turn in range(2, 8):
        older = logs.rotated(path)
        with path.open("ab") as file:
            file.write(line(turn))
        path.rename(f"{path}.20231114-22132{turn}")
        path.write_bytes(line(turn, "more"))
        expected += b"line %d\nmore\n" % turn
        for each in older if compressed else ():
            if each.suffix != ".gz":
                Path(f"{each}.gz").write_bytes(gzip.compress(each.read_bytes()))
                each.unlink()
        await asyncio.sleep(0.001)
    follower.may_write.set()
    await follower.until(expected)
    follower.running = False
    with path.open("ab"):
        pass
    await asyncio.wait_for(follower.task, 5)
    assert follower.out == expected


async def test_a_follower_stops_at_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(line(1))
    follower = Follower(path, limit=10)
    await follower.until(b"line 1\n")
    with path.open("ab") as file:
        file.write(line(2))
    await asyncio.wait_for(follower.task, 5)
    assert follower.out == b"line 1\nlin"

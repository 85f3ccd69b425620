"""Dockerfiles as text, .dockerignore, and what COPY may and may not reach."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from sampan.builder import copying, layer
from sampan.builder.copying import Owner, Source
from sampan.builder.dockerfile import Mistake, pairs, parse, replaced
from sampan.builder.ignore import Ignore


def test_stages_flags_and_continuations() -> None:
    before, stages = parse(
        "# syntax=docker/dockerfile:1\nARG V=3\nFROM python:$V AS Build\n\nRUN a && \\\n  # a comment\n\n  b\n"
        'copy --from=x --chown=1:2 a b /c/\nFROM scratch\nCMD ["a", "b c"]\n'
    )
    assert [each.rest for each in before] == ["V=3"]
    assert [(stage.base, stage.name) for stage in stages] == [("python:$V", "build"), ("scratch", "")]
    run, copy = stages[0].instructions
    assert (run.name, run.rest, run.line) == ("RUN", "a && b", 5)
    assert (copy.name, dict(copy.flags), copy.words()) == ("COPY", {"from": "x", "chown": "1:2"}, ["a", "b", "/c/"])
    assert stages[1].instructions[0].array() == ["a", "b c"]


def test_here_documents_and_another_escape() -> None:
    _, (stage,) = parse(
        "# escape=`\nFROM scratch\nRUN <<EOF\none\n  two $X\nEOF\nRUN a `\nb\nCOPY <<-'E' /x\n\tl\n\tE\n"
    )
    assert stage.instructions[0].documents == {"EOF": "one\n  two $X\n"}
    assert stage.instructions[1].rest == "a b"
    assert stage.instructions[2].documents == {"E": "l\n"}


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "no instructions"),
        ("RUN x", "no build stage"),
        ("FROM a b", "one or three arguments"),
        ("FROM a\nRUNN x", "line 2: unknown instruction: RUNN"),
        ("FROM a\nRUN", "requires at least one argument"),
        ("FROM a\nRUN <<E\nx", "has no end"),
    ],
)
def test_mistakes(text: str, said: str) -> None:
    with pytest.raises(Mistake, match=said):
        parse(text)


@pytest.mark.parametrize(
    "text, value",
    [
        ("$A-${A}", "1-1"), ("${B:-x}${A:-x}", "x1"), ("${E:-x}${E-x}", "x"), ("${A:+y}${B:+y}", "y"), (r"\$A $$", "$A $$"),
        ("$B.", "."), ("${B:-$A}", "1"),
    ],
)  # fmt: skip
def test_variables(text: str, value: str) -> None:
    assert replaced(text, {"A": "1", "E": ""}) == value


def test_pairs() -> None:
    assert pairs('a=1 b="two words" c=x\\ y', 1) == {"a": "1", "b": "two words", "c": "x y"}
    assert pairs("path /a b", 1) == {"path": "/a b"}
    with pytest.raises(Mistake, match="can't find ="):
        pairs("a=1 b", 1)


def test_what_is_ignored() -> None:
    ignore = Ignore("# no\n*.pyc\n**/node_modules\n/docs\n!docs/keep.md\ntmp?\n")
    names = ["a.pyc", "sub/a.pyc", "x/node_modules/y", "docs/a.md", "docs/keep.md", "tmp1", "tmp", "app.py"]
    assert [name for name in names if ignore(name)] == ["a.pyc", "x/node_modules/y", "docs/a.md", "tmp1"]


def everything(name: str) -> bool:
    return False


def test_the_context_is_not_left(tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (tmp_path / "secret").write_text("s")
    (context / "up").symlink_to("..")
    for name in ("../secret", "/../secret", "up/secret"):
        with pytest.raises(Mistake, match="not found"):
            copying.sources(context, [name], everything, 1)


def test_links_of_an_image_stay_in_it(tmp_path: Path) -> None:
    root, context, outside = tmp_path / "root", tmp_path / "context", tmp_path / "outside"
    for each in (root, context, outside):
        each.mkdir()
    (context / "file").write_text("x")
    (root / "app").symlink_to(outside)
    (root / "etc").symlink_to("../../../conf")
    (root / "loop").symlink_to("loop")
    owner = Owner(os.getuid(), os.getgid())
    found = [Source(context, "file")]
    copying.put(root, found, "/app/", owner, everything, 1)
    copying.put(root, found, "/etc/name", owner, everything, 1)
    assert (root / "conf" / "name").read_text() == "x"
    assert list(outside.iterdir()) == []
    assert (root / str(outside).lstrip("/") / "file").read_text() == "x"
    with pytest.raises(Mistake, match="symbolic links"):
        copying.put(root, found, "/loop/x", owner, everything, 1)


def test_what_a_change_of_content_changes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    source = [Source(tmp_path, "")]
    first = copying.digest(source, everything)
    os.utime(tmp_path / "a", (1, 1))
    assert copying.digest(source, everything) == first
    (tmp_path / "a").write_text("2")
    assert copying.digest(source, everything) != first


def test_a_layer_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "d").mkdir(parents=True)
    (top / "d" / "f").write_text("x")
    os.link(top / "d" / "f", top / "d" / "g")
    (top / "l").symlink_to("d/f")
    first, second = (layer.pack(top, tmp_path / name) for name in ("1.tar", "2.tar"))
    assert first == second
    with tarfile.open(tmp_path / "1.tar") as tar:
        kinds = {member.name: (member.type, member.linkname) for member in tar}
    assert kinds == {"d": (tarfile.DIRTYPE, ""), "d/f": (tarfile.REGTYPE, ""), "d/g": (tarfile.LNKTYPE, "d/f"),
                     "l": (tarfile.SYMTYPE, "d/f")}  # fmt: skip

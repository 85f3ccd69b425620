"""`make picture`: the README's commands, typed into a terminal and drawn as docs/picture.svg.

Everything is real: a cluster of two nodes on this machine, kubectl, and what both print on a terminal, colours included. It runs
in a network of its own, so that ports and addresses are those of a machine that has no other cluster. Nothing of this machine
is in the picture, and the picture asks nobody for fonts.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from tests import stand_ins
from tests.cluster.conftest import Typed

PAGES = Path(__file__).parent.parent
TARGET = PAGES / "docs" / "picture.svg"
COLUMNS, ROWS, SECONDS = 100, 60, 180
_NEW_NETWORK = 0x40000000
_SVG = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" xml:space="preserve" role="img" aria-label="A terminal">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px;
line-height: {line_height}px; white-space: pre; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
"""


def commands() -> list[str]:
    """What stands behind `$`, without what is said about it."""
    found = re.findall(r"^\$ (.*)$", (PAGES / "README.md").read_text(), re.MULTILINE)
    return [re.sub(r"\s+#.*", "", line) for line in found]


def printed(command: str, typed: Typed) -> str:
    """On a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    env = {**typed.env, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    with subprocess.Popen(
        ["bash", "-c", command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=PAGES / "docs" / "tutorial" / "web",
        env=env,
    ) as process:
        os.close(theirs)
        said = b""
        try:
            while chunk := os.read(ours, 65536):
                said += chunk
        except OSError:  # the other end is closed
            os.close(ours)
        if process.wait(SECONDS):
            sys.exit(f"{command}\n{said.decode()}")
    return said.decode().replace("\r\n", "\n")


def drawn(screens: list[tuple[str, str]]) -> str:
    with open(os.devnull, "w") as nowhere:
        console = Console(width=COLUMNS, record=True, file=nowhere, color_system="truecolor", force_terminal=True,
                          legacy_windows=False, highlight=False)  # fmt: skip
        for command, said in screens:
            console.print(Text.assemble(("$ ", "bold green"), (command, "bold")), soft_wrap=True)
            for line in said.rstrip("\n").split("\n"):
                console.print(Text.from_ansi(line.rpartition("\r")[2]), no_wrap=True, crop=True)
            console.print()
        return console.export_svg(
            title="sampan", theme=MONOKAI, code_format=_SVG, unique_id="t", font_aspect_ratio=0.602
        )


def main() -> None:
    first, *rest = commands()
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_NETWORK) != 0:
        sys.exit("a network of its own needs root: sudo make picture")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as directory:
        typed = Typed(Path(directory))
        base = stand_ins.python().docker_save(typed.home / "python.tar", "python:3.12-slim")
        try:
            screens = [(first, printed(first, typed))]
            typed.sampan("load", "image-archive", str(base))
            typed.kubectl("rollout", "status", "deployment/coredns", "-n", "kube-system", "--timeout=60s")
            screens += [(command, printed(command, typed)) for command in rest]
        finally:
            typed.sampan("delete", "cluster")
        picture = drawn(screens)
        if directory in picture or "://fonts" in picture or str(PAGES) in picture:
            sys.exit("the picture shows something of this machine")
    TARGET.write_text(picture)


if __name__ == "__main__":
    main()

"""A program of the test: its log is kept, and can be waited for, line by line."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Logged(subprocess.Popen[bytes]):
    """`log`: what it says on stdout and stderr is added to it."""

    def __init__(self, command: Sequence[str | Path], log: Path, **options: Any) -> None:
        super().__init__(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._over = False
        threading.Thread(target=self._read, args=(log,), daemon=True).start()

    def _read(self, path: Path) -> None:
        assert self.stdout is not None
        with path.open("ab") as log, self.stdout as said:
            for line in said:
                log.write(line)
                log.flush()
                self._hear(line.decode(errors="replace"))
        self._hear("", over=True)

    def _hear(self, line: str, *, over: bool = False) -> None:
        with self._news:
            self._over = over
            self._lines.append(line)
            self._news.notify_all()

    def wait_for(self, words: str, seconds: float = 20) -> None:
        """A line with these words, said already or yet to come."""

        def said() -> bool:
            return any(words in line for line in self._lines)

        with self._news:
            self._news.wait_for(lambda: self._over or said(), seconds)
            if not said():
                raise AssertionError(f"{words!r} was not said:\n{''.join(self._lines)}")

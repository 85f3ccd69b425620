"""What goes wrong on the command line: one line of what happened, one of what to do."""

from __future__ import annotations


class ClusterError(Exception):
    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

"""nftables: a text of commands, done as one transaction.

By libnftables where it is (0.1 ms for an element), else by the `nft` program (3 ms and more).

Source: nftables/libnftables.h; knftables (batches)
"""

from __future__ import annotations

import ctypes
import functools
import json
import shutil
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sampan.network.namespaces import inside

_JSON = 1 << 4
#: elements for each command: libnftables takes longer than linear time for one very long list
CHUNK = 2000


class NftError(Exception):
    """The transaction was refused as a whole; the text is nft's."""


class Nft:
    """The ruleset of `namespace` (None: where we are). May be used by several threads."""

    def __init__(self, namespace: Path | None = None) -> None:
        self._namespace = namespace
        self._lock = threading.Lock()
        self._context: int | None = None
        with inside(namespace):
            self._library = _library()
            if self._library is not None:
                self._context = self._library.nft_ctx_new(0)
                self._library.nft_ctx_buffer_output(self._context)
                self._library.nft_ctx_buffer_error(self._context)

    def close(self) -> None:
        if self._context is not None and self._library is not None:
            self._library.nft_ctx_free(self._context)
            self._context = None

    def run(self, text: str) -> None:
        """Raises NftError, OSError."""
        if text:
            self._run(text, as_json=False)

    def list(self, what: str) -> list[dict[str, Any]]:
        """`what` as after `nft list`: objects as nft's JSON has them. Raises NftError, OSError."""
        found: list[dict[str, Any]] = json.loads(self._run(f"list {what}", as_json=True) or "{}").get("nftables", [])
        return found

    def _run(self, text: str, *, as_json: bool) -> str:
        with self._lock, inside(self._namespace):
            if self._library is None:
                return _by_program(text, as_json=as_json)
            self._library.nft_ctx_output_set_flags(self._context, _JSON if as_json else 0)
            code = self._library.nft_run_cmd_from_buffer(self._context, text.encode())
            out: bytes = self._library.nft_ctx_get_output_buffer(self._context)
            said: bytes = self._library.nft_ctx_get_error_buffer(self._context)
        if code:
            raise NftError(said.decode(errors="replace").strip()[:2000])
        return out.decode()


def _by_program(text: str, *, as_json: bool) -> str:
    program = shutil.which("nft") or shutil.which("nft", path="/usr/sbin:/sbin")
    if program is None:
        raise NftError("nftables is not installed: there is neither libnftables nor nft")
    # from stdin, `-j` is about what comes in as well
    command = [program, "-j", text] if as_json else [program, "-f", "-"]
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    if done.returncode:
        raise NftError(done.stderr.strip()[:2000])
    return done.stdout


@functools.cache
def _library() -> Any:
    try:
        library = ctypes.CDLL("libnftables.so.1")
    except OSError:
        return None
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    for function in ("free", "buffer_output", "buffer_error"):
        getattr(library, f"nft_ctx_{function}").argtypes = [ctypes.c_void_p]
    for function in ("output", "error"):
        getter = getattr(library, f"nft_ctx_get_{function}_buffer")
        getter.argtypes, getter.restype = [ctypes.c_void_p], ctypes.c_char_p
    library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library


def elements(verb: str, table: str, name: str, items: Iterable[str]) -> str:
    """`add element ip TABLE NAME { ... }`, in as many commands as it takes."""
    every = list(items)
    lists = (every[at : at + CHUNK] for at in range(0, len(every), CHUNK))
    return "".join(f"{verb} element ip {table} {name} {{ {', '.join(each)} }}\n" for each in lists)


def replaced(table: str, text: str) -> str:
    """A program for whatever was there before: `text` declares the table anew."""
    return f"table ip {table}\ndelete table ip {table}\n{text}"

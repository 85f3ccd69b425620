"""The first process of a shared process namespace: it waits, buries orphans by ignoring them, and is two hundred bytes."""

from __future__ import annotations

import shutil
import signal
import struct
import subprocess
from pathlib import Path

import pytest

from sampan.runtime import pause
from sampan.runtime.errors import CriError
from sampan.runtime.manifests import architecture


def test_it_waits_and_ignores_its_children(tmp_path: Path) -> None:
    program = pause.root(tmp_path) / "pause"
    assert program.stat().st_size < 300 and pause.root(tmp_path) / "pause" == program
    process = subprocess.Popen([program])
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
        assert int(status["SigIgn"], 16) >> (signal.SIGCHLD - 1) & 1 and status["State"].startswith("S")
        process.send_signal(signal.SIGCONT)  # an interrupted wait is begun anew
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.02)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(("name", "machine"), [("amd64", 62), ("arm64", 183)])
def test_for_each_machine(name: str, machine: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pause, "architecture", lambda: name)
    made = pause.program()
    kind, found = struct.unpack_from("<HH", made, 16)
    entry, headers = struct.unpack_from("<QQ", made, 24)
    assert (kind, found, headers) == (2, machine, 64) and entry == 0x400000 + 64 + 56 + 32
    (tmp_path / "p").write_bytes(made)
    if shutil.which("readelf"):
        said = subprocess.run(["readelf", "-lW", tmp_path / "p"], capture_output=True, text=True)
        assert said.stderr == "" and "LOAD" in said.stdout


def test_on_other_machines_pods_cannot_share(monkeypatch: pytest.MonkeyPatch) -> None:
    assert architecture() in ("amd64", "arm64")
    monkeypatch.setattr(pause, "architecture", lambda: "s390x")
    with pytest.raises(CriError, match="no shared process namespaces on s390x"):
        pause.program()

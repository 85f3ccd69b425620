"""A cluster of two real nodes, as `sampan up --nodes 2` leaves it, for all tests here."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sampan.cluster.state import Cluster
from tests import kubectls
from tests.images import busybox

#: commands are typed, not waited for forever
SECONDS = 120


@dataclass(frozen=True)
class Typed:
    """What a user types, with a home of their own."""

    home: Path

    @property
    def env(self) -> dict[str, str]:
        path = f"{kubectls.kubectl('1.37').parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**os.environ, "HOME": str(self.home), "SAMPAN_HOME": str(self.home / "sampan"),
                "KUBECONFIG": str(self.home / "config"), "PATH": path}  # fmt: skip

    def __call__(self, *command: str, fails: bool = False, input: str = "") -> str:
        """Its output, both kinds where it fails as it should."""
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=SECONDS, input=input)
        assert (done.returncode != 0) == fails, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout + (done.stderr if fails else "")

    def kubectl(self, *arguments: str, fails: bool = False, input: str = "") -> str:
        return self("kubectl", *arguments, fails=fails, input=input)

    def sampan(self, *arguments: str, fails: bool = False) -> str:
        return self("sampan", *arguments, fails=fails)


def left(home: Path, cluster: str) -> list[str]:
    """What a cluster's nodes could leave behind on the machine, and did."""
    found = Cluster(cluster, home / "sampan" / "clusters" / cluster)
    out = [line for line in _said("ip", "-o", "link").splitlines() if found.id in line]
    out += [line for line in _said("nft", "list", "tables").splitlines() if found.id in line]
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    out += [mount for mount in mounts if mount.startswith((str(found.directory), str(found.run)))]
    for top, names, _ in os.walk("/sys/fs/cgroup"):  # others make and remove theirs meanwhile
        out += [os.path.join(top, name) for name in names if found.id in name]
    out += [str(found.run)] if found.run.exists() else []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            out += [words] if str(found.directory) in words or str(found.run) in words else []
    return out


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def busybox_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return busybox().docker_save(tmp_path_factory.mktemp("images") / "busybox.tar", "busybox:1.36")


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory, busybox_archive: Path) -> Iterator[Typed]:
    """Called `two`, with busybox:1.36 on both nodes."""
    typed = Typed(tmp_path_factory.mktemp("two"))
    try:
        typed.sampan("up", "--name", "two", "--nodes", "2")
        typed.sampan("load", "image-archive", str(busybox_archive), "--name", "two")
        yield typed
    finally:
        typed.sampan("delete", "cluster", "--name", "two")

"""Runtimes to test, each in directories, a cgroup and a network namespace of its own; and a count of what it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sampan.cluster import images
from sampan.runtime import cgroups, pause
from tests.cri_client import Cri
from tests.images import Built, busybox, entry, tar
from tests.runtime.processes import Logged

PAUSE, IMAGE = "localhost/pause:1", "docker.io/library/busybox:test"


class Home:
    """`name` is in every path, so that what is left can be found. `inside`: the process has a network of its own."""

    #: programs, by their Debian packages
    needs = {"runc": "runc", "conmon": "conmon", "busybox": "busybox-static"}
    #: of the process
    kind = "sampan"
    #: what it says of a container that took too much memory
    too_much: tuple[str, ...] = ("OOMKilled",)

    def __init__(
        self, name: str = "", root: Path | None = None, run: Path | None = None, *, inside: bool = False
    ) -> None:
        self.name = name or f"sampan-test-{uuid.uuid4().hex[:8]}"
        self.root, self.run = root or Path("/tmp") / self.name, run or Path("/run") / self.name
        # a network for its pods where that harms nobody
        self.options: tuple[str, ...] = ("--pod-cidr", "10.231.0.0/24") if inside else ("--network", "loopback")
        self.network = self.run / "node-net" if inside else None
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def missing(cls) -> str:
        """Why no containers can be run here; empty if they can."""
        if os.geteuid() != 0:
            return "containers need root"
        absent = [package for program, package in cls.needs.items() if shutil.which(program) is None]
        return f"not installed: {', '.join(absent)}" if absent else ""

    @property
    def socket(self) -> Path:
        return self.run / "cri.sock"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def cgroup(self) -> str:
        return f"/{self.name}"

    def open(self) -> None:
        self.root.mkdir()
        self.run.mkdir()
        if self.network is not None:
            self.network.touch()
            subprocess.run(["unshare", f"--net={self.network}", "ip", "link", "set", "lo", "up"], check=True)
        self.prepare()
        self.start()

    def prepare(self) -> None:
        """Before the first start."""

    def start(self) -> None:
        command: list[str | Path] = [
            sys.executable, "-m", "sampan.cli", "runtime", "--listen", self.socket, "--root", self.root / "lib",
            "--state", self.run, "--registry-config-dir", self.root / "certs.d", *self.options,
        ]  # fmt: skip
        self.launch(command)

    def launch(self, command: list[str | Path]) -> Logged:
        enter = ["nsenter", f"--net={self.network}", "--"] if self.network is not None else []
        self.process = started = Logged([*enter, *command], self.root / "log")
        return started

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(20)
            self.process = None

    async def connect(self) -> Cri:
        cri = Cri(self.socket)
        await cri.ready(20)
        return cri

    async def news(self, cri: Cri) -> AsyncIterator[None]:
        """Once at the beginning, then whenever something happens to a container."""
        events = cri.GetContainerEvents()
        await events.initial_metadata()
        yield
        async for _ in events:
            yield

    async def load(self, built: Built, *names: str) -> None:
        await images.load(str(self.socket), built.docker_save(self.root / "image.tar", *names))

    async def load_busybox(self, name: str, **config: Any) -> str:
        """One with other settings; its name."""
        await self.load(busybox(**config), name)
        return name

    def enter(self, *command: str, seconds: float = 10) -> str:
        """The output of a command on the node's own network."""
        done = subprocess.run(
            ["nsenter", f"--net={self.network}", "--", *command], capture_output=True, text=True, timeout=seconds
        )
        assert done.returncode == 0, done
        return done.stdout

    # -- what is left --------------------------------------------------------------------------------------------------

    def left(self, word: str = "") -> list[str]:
        """Mounts, processes and cgroups with our name, or another one."""
        word = word or self.name
        out = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if word in line]
        for each in Path("/proc").glob("[0-9]*"):
            try:
                words = (each / "cmdline").read_bytes() + (each / "cgroup").read_bytes()
                state = (each / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if word.encode() in words and state != "Z":
                out.append(f"process {each.name} {words[:300]!r}")
        for top, names, _ in os.walk("/sys/fs/cgroup"):  # others make and remove theirs meanwhile
            out += [os.path.join(top, name) for name in names if word in name]
        return out

    def remains(self, words: set[str]) -> list[str]:
        """As `left`, of several words; a process that is on its way out is waited for."""
        for _ in range(5):
            found = [line for line in self.left() if any(word in line for word in words)]
            if not found:
                break
            for line in found:
                _ended(line, 1)
        return found

    def close(self) -> list[str]:
        """What it left; nothing of that stays on the machine."""
        self.stop()
        if self.network is not None:
            subprocess.run(["umount", "-l", self.network], check=False)
        cgroups.remove(self.cgroup)
        left = self.remains({self.name})
        self.scrub()
        for each in (self.root, self.run):
            subprocess.run(["rm", "-rf", "--one-file-system", str(each)], check=False)
        return left

    def scrub(self) -> None:
        """After a test that failed."""
        for _ in range(20):
            if not (left := self.left()):
                return
            self._scrub(left)

    def _scrub(self, left: list[str]) -> None:
        for each in left:
            if each.startswith("process "):
                with contextlib.suppress(ProcessLookupError):
                    held = os.pidfd_open(int(each.split()[1]))
                    signal.pidfd_send_signal(held, signal.SIGKILL)
                    select.select([held], [], [], 2)
                    os.close(held)
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            if self.name in line.split()[4]:
                subprocess.run(["umount", "-l", line.split()[4]], check=False)
        cgroups.remove(self.cgroup)


def _ended(line: str, seconds: float) -> None:
    """The process of a line of `left`, if it is one."""
    if line.startswith("process "):
        with contextlib.suppress(ProcessLookupError):
            held = os.pidfd_open(int(line.split()[1]))
            select.select([held], [], [], seconds)
            os.close(held)


class Containerd(Home):
    needs = {
        "containerd": "containerd", "ctr": "containerd", "runc": "runc", "busybox": "busybox-static",
        "/usr/lib/cni/bridge": "containernetworking-plugins",
    }  # fmt: skip
    kind = "containerd"
    #: its shim hears of it beside the end of the process, and now and then too late
    too_much = ("OOMKilled", "Error")

    def prepare(self) -> None:
        (self.root / "cni").mkdir()
        bridge = {
            "type": "bridge", "bridge": "cni0", "isDefaultGateway": True, "ipMasq": True, "hairpinMode": True,
            "ipam": {"type": "host-local", "dataDir": f"{self.root}/ipam", "ranges": [[{"subnet": "10.231.0.0/24"}]]},
        }  # fmt: skip
        plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}]
        (self.root / "cni" / "10-test.conflist").write_text(
            json.dumps({"cniVersion": "0.4.0", "name": "test", "plugins": plugins})
        )
        handlers = "".join(
            f"""
            [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}]
              runtime_type = "io.containerd.runc.v2"
              [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}.options]
                BinaryName = "{program}"
            """
            for name, program in {"runc": shutil.which("runc")}.items()
        )
        unused = [f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "zfs", "devmapper")]
        unused += ["io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp"]
        (self.root / "config.toml").write_text(f"""
            version = 2
            root = "{self.root}/lib"
            state = "{self.run}/state"
            disabled_plugins = {json.dumps(unused)}
            [grpc]
              address = "{self.socket}"
            [ttrpc]
              address = "{self.run}/ttrpc.sock"
            [plugins."io.containerd.internal.v1.opt"]
              path = "{self.root}/opt"
            [plugins."io.containerd.grpc.v1.cri"]
              sandbox_image = "{PAUSE}"
              disable_apparmor = true
              restrict_oom_score_adj = true
              tolerate_missing_hugetlb_controller = true
              disable_hugetlb_controller = true
              stream_server_address = "127.0.0.1"
              stream_server_port = "0"
              netns_mounts_under_state_dir = true
              [plugins."io.containerd.grpc.v1.cri".cni]
                bin_dir = "/usr/lib/cni"
                conf_dir = "{self.root}/cni"
              [plugins."io.containerd.grpc.v1.cri".containerd]
                snapshotter = "overlayfs"
                default_runtime_name = "runc"
              {handlers}
              [plugins."io.containerd.grpc.v1.cri".registry]
                config_path = "{self.root}/certs.d"
        """)

    def start(self) -> None:
        self.launch(["containerd", "--config", self.root / "config.toml"])

    async def connect(self) -> Cri:
        cri = await super().connect()
        if not (await cri.ListImages(filter={"image": {"image": PAUSE}})).images:
            await self.load(
                Built([tar(entry("pause", pause.program(), mode=0o755))], {"Entrypoint": ["/pause"]}), PAUSE
            )
        return cri

    async def news(self, cri: Cri) -> AsyncIterator[None]:
        """It has no events over CRI, and its own come before its CRI part has heard of them."""
        while True:
            yield
            await asyncio.sleep(0.01)


HOMES = {home.kind: home for home in (Home, Containerd)}


def opened(home: Home) -> Home:
    """With the image that all tests run."""

    async def load() -> None:
        async with await home.connect():
            await home.load(busybox(), IMAGE)

    try:
        home.open()
        asyncio.run(load())
    except BaseException:
        home.close()
        raise
    return home

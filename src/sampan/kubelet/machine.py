"""What machine this is, as its Node says: how much there is of everything, and which one it is.

Nothing here is remembered, and all of it is read from directories that are arguments. What pods may have of it (`allocatable`) is what is
there, less what is reserved, less what eviction keeps free.

Source: github.com/google/cadvisor machine/info.go, kubernetes pkg/kubelet/nodestatus/setters.go, pkg/kubelet/cm/node_container_manager_linux.go
"""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from sampan.api import quantity

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
#: where eviction keeps something free of what pods are given
_KEPT = {"memory.available": "memory", "nodefs.available": "ephemeral-storage"}


@dataclass(frozen=True, slots=True)
class MachineInfo:
    """Bytes and counts. `hugepages`: bytes by the resource's name. `pids`: how many processes the kernel would hold."""

    cpus: int
    memory: int
    swap: int
    storage: int
    pids: int
    machine_id: str
    system_uuid: str
    boot_id: str
    kernel: str
    os_image: str
    architecture: str
    cgroup_version: int
    hugepages: Mapping[str, int] = field(default_factory=dict)

    def capacity(self, max_pods: int) -> dict[str, str]:
        return {
            "cpu": str(self.cpus),
            "memory": binary(self.memory),
            "ephemeral-storage": binary(self.storage),
            **{name: binary(size) for name, size in self.hugepages.items()},
            "pods": str(max_pods),
        }


def read(root: Path, *, proc: Path = Path("/proc"), sys: Path = Path("/sys"), etc: Path = Path("/etc")) -> MachineInfo:
    """`root`: the kubelet's directory, on whose file system pods write."""
    root.mkdir(parents=True, exist_ok=True)
    memory = table(proc / "meminfo")
    disk = os.statvfs(root)
    machine_id = text(etc / "machine-id")
    limits = [text(proc / "sys/kernel" / name) for name in ("pid_max", "threads-max")]
    return MachineInfo(
        cpus=_cpus(proc),
        memory=memory.get("MemTotal", 0) * 1024,
        swap=memory.get("SwapTotal", 0) * 1024,
        storage=disk.f_blocks * disk.f_frsize,
        pids=min((int(each) for each in limits if each.isdigit()), default=32768),
        machine_id=machine_id,
        system_uuid=(text(sys / "class/dmi/id/product_uuid") or machine_id).lower(),
        boot_id=text(proc / "sys/kernel/random/boot_id"),
        kernel=text(proc / "sys/kernel/osrelease"),
        os_image=_os_image(etc),
        architecture=_ARCHITECTURES.get(platform.machine(), platform.machine()),
        cgroup_version=1 if "memory" in mounts(proc) else 2,
        hugepages=_hugepages(sys),
    )


def text(path: Path) -> str:
    """Of a file; empty where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def table(path: Path) -> dict[str, int]:
    """Lines of a name and a number, as the kernel writes them."""
    pairs = (line.replace(":", " ").split() for line in text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) >= 2 and pair[1].isdigit()}


def mounts(proc: Path = Path("/proc")) -> dict[str, Path]:
    """Where control groups are: controller (or `name=...` of version 1, the empty name for version 2) to mount point."""
    out: dict[str, Path] = {}
    for line in text(proc / "self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        point = Path(left.split()[4])
        if kind == "cgroup2":
            out.setdefault("", point)
        elif kind == "cgroup":
            for option in options.split(","):
                if option not in ("rw", "ro"):
                    out.setdefault(option, point)
    return out


def _cpus(proc: Path) -> int:
    found = sum(line.startswith("processor") for line in text(proc / "cpuinfo").splitlines())
    return found or os.cpu_count() or 1


def _os_image(etc: Path) -> str:
    for line in text(etc / "os-release").splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip("\"'")
    return "Linux"


def _hugepages(sys: Path) -> dict[str, int]:
    out: dict[str, int] = {}
    for each in sorted((sys / "kernel/mm/hugepages").glob("hugepages-*kB")):
        kilobytes = int(each.name.removeprefix("hugepages-").removesuffix("kB"))
        count = int(text(each / "nr_hugepages") or "0")
        out["hugepages-" + binary(kilobytes * 1024)] = kilobytes * 1024 * count
    return out


def binary(size: int) -> str:
    """As Go prints a quantity of bytes: with the largest binary suffix that leaves no fraction."""
    return quantity.canonical(f"{size // 1024}Ki") if size % 1024 == 0 else str(size)


def reserved_for(capacity: Mapping[str, str], *reserved: Mapping[str, str]) -> dict[str, str]:
    """What is left of `capacity`, never below nothing; pages that are huge are no memory for others."""
    out: dict[str, str] = {}
    for name, amount in capacity.items():
        left = quantity.parse(amount)
        for each in reserved:
            left -= quantity.parse(each.get(name, "0"))
        out[name] = _like(amount, max(left, Fraction(0)))
    for name, amount in out.items():
        if name.startswith("hugepages-"):
            memory = quantity.parse(out["memory"]) - quantity.parse(amount)
            out["memory"] = _like(out["memory"], max(memory, Fraction(0)))
    return out


def allocatable(
    capacity: Mapping[str, str], evicted_at: Mapping[str, str], *reserved: Mapping[str, str]
) -> dict[str, str]:
    """`evicted_at`: the hard eviction thresholds by signal; `reserved`: for the system, for Kubernetes."""
    kept = {}
    for signal, name in _KEPT.items():
        if (threshold := evicted_at.get(signal)) and name in capacity:
            kept[name] = str(threshold_bytes(threshold, int(quantity.parse(capacity[name]))))
    return reserved_for(capacity, *reserved, kept)


def threshold_bytes(threshold: str, capacity: int) -> int:
    """`100Mi`, or `10%` of what there is."""
    if threshold.endswith("%"):
        return int(capacity * (float(threshold[:-1]) / 100))
    return int(quantity.parse(threshold))


def _like(model: str, value: Fraction) -> str:
    if value.denominator != 1:
        return quantity.canonical(f"{int(value * 1000)}m")
    return binary(int(value)) if model.endswith("i") else quantity.canonical(str(int(value)))


def addresses(name: str, given: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """Of the Node: what was given, else where packets to the outside would come from."""
    found = [{"type": "InternalIP", "address": each} for each in given or _own_address()]
    return [*found, {"type": "Hostname", "address": name}]


def _own_address() -> tuple[str, ...]:
    # nothing is sent: connecting a datagram socket chooses a route
    for family, outside in ((socket.AF_INET, "198.51.100.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((outside, 9))
                return (str(probe.getsockname()[0]),)
        except OSError:
            continue
    return ("127.0.0.1",)

"""The first process of a process namespace that a pod's containers share: a program of a few instructions that waits for ever.

It ignores SIGCHLD, so that the kernel itself buries the orphans that come to it; as a namespace's first process it is spared every
signal from inside. It is an OCI bundle like any other, so that its control group is made as those of containers are.

Source: https://github.com/kubernetes/kubernetes/tree/master/build/pause (what it is for), elf(5), rt_sigaction(2)
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

from sampan.runtime import security, spec
from sampan.runtime.errors import CriError
from sampan.runtime.manifests import architecture

_BASE, _HEADERS, _PAGE = 0x400000, 64 + 56, 0x1000
#: SIG_IGN, then flags, restorer and mask
_IGNORE = struct.pack("<QQQQ", 1, 0, 0, 0)


def _amd64(action: int) -> bytes:
    """rt_sigaction(SIGCHLD, action, NULL, 8), then pause() again and again."""
    ignore = (
        b"\xb8\x0d\0\0\0"
        + b"\xbf\x11\0\0\0"
        + b"\xbe"
        + struct.pack("<I", action)
        + b"\x31\xd2"
        + b"\x41\xba\x08\0\0\0"
    )
    return ignore + b"\x0f\x05" + b"\xb8\x22\0\0\0\x0f\x05" + b"\xeb\xf7"


def _arm64(action: int) -> bytes:
    """The same; there it is ppoll(NULL, 0, NULL, NULL) that waits."""

    def move(register: int, value: int) -> int:
        return 0xD2800000 | (value & 0xFFFF) << 5 | register

    upper = 0xF2A00000 | (action >> 16) << 5 | 1
    call, back = 0xD4000001, 0x17FFFFFA
    ignore = [move(8, 134), move(0, 17), move(1, action), upper, move(2, 0), move(3, 8), call]
    wait = [move(0, 0), move(1, 0), move(2, 0), move(3, 0), move(8, 73), call, back]
    return struct.pack(f"<{len(ignore) + len(wait)}I", *ignore, *wait)


def program() -> bytes:
    """An ELF file for this machine. Raises CriError."""
    known = {"amd64": (62, _amd64), "arm64": (183, _arm64)}
    if architecture() not in known:
        raise CriError(f"no shared process namespaces on {architecture()}")
    machine, make = known[architecture()]
    action = _BASE + _HEADERS  # before the code: so it is aligned, and its address known
    code = _IGNORE + make(action)
    size = _HEADERS + len(code)
    entry = action + len(_IGNORE)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, _PAGE)
    return header + segment + code


def root(directory: Path) -> Path:
    """The root file system, read-only and the same for all."""
    made = directory / "rootfs"
    for name in ("proc", "dev"):
        (made / name).mkdir(parents=True, exist_ok=True)
    file, wanted = made / "pause", program()
    if not file.exists() or file.read_bytes() != wanted:
        new = made / f".pause.{os.getpid()}"
        new.write_bytes(wanted)
        new.chmod(0o755)
        new.rename(file)
    return made


def write_bundle(bundle: Path, rootfs: Path, cgroup: str, namespaces: dict[str, str], context: Any) -> None:
    """`namespaces`: those of the sandbox to join. `context`: a LinuxSandboxSecurityContext."""
    uid, gid = context.run_as_user.value, context.run_as_group.value
    held = [{"type": kind, "path": path} for kind, path in namespaces.items()]
    made = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": uid, "gid": gid},
            "args": ["/pause"],
            "cwd": "/",
            "noNewPrivileges": True,
            "oomScoreAdj": spec.clamp_oom(spec.NEVER),
        },
        "root": {"path": str(rootfs), "readonly": True},
        "mounts": [
            spec.kernel_mount("proc", "/proc", *spec.SAFE),
            spec.kernel_mount("tmpfs", "/dev", "mode=755", "size=64k"),
        ],
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": [{"type": "pid"}, {"type": "mount"}, *held],
            "seccomp": security.default_profile(()),
        },
    }
    bundle.mkdir(parents=True, exist_ok=True)
    (bundle / "config.json").write_text(json.dumps(made))

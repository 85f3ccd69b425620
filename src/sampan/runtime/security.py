"""What a container's processes may do: capabilities, seccomp, hidden and read-only paths.

Source: containerd pkg/oci (default capabilities), contrib/seccomp; k8s.io/cri-api (Capability, SecurityProfile)
"""

from __future__ import annotations

import functools
import json
from importlib import resources
from pathlib import Path
from typing import Any

from sampan.cri import pb
from sampan.runtime.errors import Invalid, Precondition
from sampan.runtime.manifests import architecture

DEFAULT = tuple(
    f"CAP_{name}"
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
    ]
)
#: in the kernel's order
ALL = tuple(
    f"CAP_{name}"
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ]
)
_ARCHITECTURES = {
    "amd64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "arm64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
}
_EPERM, _ENOSYS = 1, 38
#: the CLONE_NEW* flags
_NAMESPACES = 0x7E020000
_PERSONALITIES = (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)
_AF_VSOCK = 40


def held() -> frozenset[str]:
    """The capabilities that we could hand on."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            bits = int(line.split()[1], 16)
            return frozenset(name for number, name in enumerate(ALL) if bits >> number & 1)
    return frozenset(ALL)


def capabilities(wanted: Any, privileged: bool) -> dict[str, list[str]]:
    """OCI's five sets, for a message Capability. Raises Invalid."""
    if privileged:
        every = sorted(held())
        return {"bounding": every, "effective": every, "permitted": every}
    added, ambient = _names(wanted.add_capabilities), _names(wanted.add_ambient_capabilities)
    dropped = _names(wanted.drop_capabilities)
    kept = set(() if "CAP_ALL" in dropped else held() if "CAP_ALL" in added else DEFAULT)
    kept |= (added | ambient) - {"CAP_ALL"}
    kept -= {name for name in dropped if name != "CAP_ALL"}
    if unknown := kept - set(ALL):
        raise Invalid(f"unknown capability {sorted(unknown)[0]!r}")
    every = sorted(kept)
    out = {"bounding": every, "effective": every, "permitted": every}
    if ambient:
        out["ambient"] = sorted(ambient & kept)
        out["inheritable"] = out["ambient"]
    return out


def _names(names: Any) -> set[str]:
    upper = (str(name).upper() for name in names)
    return {name if name.startswith("CAP_") else f"CAP_{name}" for name in upper}


def seccomp(context: Any, granted: list[str]) -> dict[str, Any] | None:
    """OCI's `linux.seccomp` for a security context, None for unconfined. Raises Invalid, Precondition."""
    if context.privileged:
        return None
    old = context.seccomp_profile_path
    if context.HasField("seccomp"):
        kind, path = context.seccomp.profile_type, context.seccomp.localhost_ref
    elif old in ("", "unconfined"):
        return None
    else:
        kind = pb.RuntimeDefault if old in ("runtime/default", "docker/default") else pb.Localhost
        path = old.removeprefix("localhost/")
    if kind == pb.Unconfined:
        return None
    if kind == pb.RuntimeDefault:
        return default_profile(tuple(granted))
    path = path.removeprefix("localhost/")
    if not path.startswith("/"):
        raise Invalid(f"seccomp profile {path!r} is not an absolute path")
    try:
        found = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise Precondition(f"cannot load seccomp profile {path!r}: {error}") from None
    if not isinstance(found, dict):
        raise Precondition(f"cannot load seccomp profile {path!r}: not an object")
    return found


@functools.cache
def _facts() -> dict[str, tuple[str, ...]]:
    words: list[list[str]] = []
    for line in resources.files("sampan.runtime").joinpath("seccomp_facts.txt").read_text().splitlines():
        if not line.startswith(("#", " ")):
            words.append([])
        if not line.startswith("#"):
            words[-1] += line.split()
    return {each[0]: tuple(each[1:]) for each in words if each}


@functools.lru_cache(maxsize=64)
def default_profile(granted: tuple[str, ...]) -> dict[str, Any]:
    """RuntimeDefault, for a process with these capabilities."""
    names: set[str] = set()
    for condition, calls in _facts().items():
        if condition in ("allow", architecture()) or condition in granted:
            names.update(calls)
    allow = "SCMP_ACT_ALLOW"
    rules: list[dict[str, Any]] = [{"names": sorted(names), "action": allow}]
    for value in _PERSONALITIES:
        rules.append({"names": ["personality"], "action": allow, "args": [_equal(0, value)]})
    rules.append({"names": ["socket"], "action": allow, "args": [_equal(0, _AF_VSOCK, "SCMP_CMP_NE")]})
    if "CAP_SYS_ADMIN" in granted:
        rules.append({"names": ["clone"], "action": allow})
    else:
        masked = {"index": 0, "value": _NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
        rules.append({"names": ["clone"], "action": allow, "args": [masked]})
        # its flags cannot be looked at: the C library falls back to clone
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS})
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _EPERM,
        "architectures": _ARCHITECTURES.get(architecture(), []),
        "syscalls": rules,
    }


def _equal(index: int, value: int, op: str = "SCMP_CMP_EQ") -> dict[str, Any]:
    return {"index": index, "value": value, "op": op}

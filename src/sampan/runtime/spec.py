"""The OCI bundle's config.json: a pure function of what CRI asked for, the image, and where the sandbox's things are.

Source: https://github.com/opencontainers/runtime-spec, containerd internal/cri/server/container_create_linux.go
"""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sampan.cri import pb
from sampan.runtime import cgroups, security
from sampan.runtime.errors import Invalid, Precondition
from sampan.runtime.manifests import Settings
from sampan.runtime.users import User

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
)  # fmt: skip
_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
#: null, zero, full, random, urandom, tty, ptmx; and pseudo-terminals
_DEVICES = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2))
_OPEN_FILES = 1 << 20
#: the score of what must not be killed for memory
NEVER = -998
SAFE = ["nosuid", "noexec", "nodev"]
_PROPAGATION = {0: "rprivate", 1: "rslave", 2: "rshared"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the container lives. `namespaces`: paths to join by OCI's name; empty: a new one; absent: the host's."""

    rootfs: Path
    cgroup: str
    namespaces: dict[str, str]
    #: files and directories of the sandbox, by where they go, unless the container mounts something there
    shared: dict[str, Path]
    hostname: str
    #: what the image consists of besides its layers: sources by where they go, read-only
    image: dict[str, str] = field(default_factory=dict)


def build(config: Any, image: Settings, user: User, place: Place) -> dict[str, Any]:
    """Raises Invalid, Precondition."""
    context = config.linux.security_context
    capabilities = security.capabilities(context.capabilities, context.privileged)
    process: dict[str, Any] = {
        "terminal": config.tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
        "args": _arguments(config, image),
        "env": _environment(config, image, user, place.hostname),
        "cwd": config.working_dir or image.working_dir or "/",
        "capabilities": capabilities if user.uid == 0 or context.privileged else _of_others(capabilities),
        "noNewPrivileges": context.no_new_privs,
        "oomScoreAdj": clamp_oom(config.linux.resources.oom_score_adj),
        "rlimits": [_open_files()],
    }
    _apparmor(context, process)
    if not process["cwd"].startswith("/"):
        raise Invalid(f'working directory "{process["cwd"]}" is not an absolute path')
    mounts, propagation = _mounts(config, place)
    given = config.linux.HasField("security_context")
    linux: dict[str, Any] = {
        "cgroupsPath": place.cgroup,
        "namespaces": [
            {"type": kind, **({"path": path} if path else {})} for kind, path in place.namespaces.items()
        ] + [{"type": "mount"}, {"type": "cgroup"}][: 1 if context.privileged else 2],
        "resources": {**resources(config.linux.resources), "devices": _allowed(config, context.privileged)},
        "devices": _nodes(config, context.privileged),
        # who says nothing of security gets what is usual; else it is the caller who says which, and none is none (procMount)
        "maskedPaths": [] if context.privileged else list(context.masked_paths) if given else list(_MASKED),
        "readonlyPaths": [] if context.privileged else list(context.readonly_paths) if given else list(_READONLY),
        **({"rootfsPropagation": propagation} if propagation else {}),
    }  # fmt: skip
    if (profile := security.seccomp(context, capabilities["effective"])) is not None:
        linux["seccomp"] = profile
    return {
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": str(place.rootfs), "readonly": context.readonly_rootfs},
        "mounts": mounts,
        "linux": linux,
    }


def _of_others(capabilities: dict[str, list[str]]) -> dict[str, list[str]]:
    """A user that is not root holds only what is ambient, and may gain up to the bounding set."""
    ambient = capabilities.get("ambient", [])
    sets = ("effective", "permitted", "inheritable", "ambient") if ambient else ()
    return {"bounding": capabilities["bounding"], **dict.fromkeys(sets, ambient)}


def _arguments(config: Any, image: Settings) -> list[str]:
    """Kubernetes' rule: a command of its own replaces both of the image's."""
    of_image = [*image.entrypoint, *(config.args or image.command)]
    out = [*config.command, *config.args] if config.command else of_image
    if not out:
        raise Invalid("no command specified")
    return out


def _environment(config: Any, image: Settings, user: User, hostname: str) -> list[str]:
    found = dict(each.partition("=")[::2] for each in (PATH, *image.env))
    found["HOSTNAME"] = hostname
    found.update((each.key, each.value) for each in config.envs)
    found.setdefault("HOME", user.home)
    if config.tty:
        found.setdefault("TERM", "xterm")
    return [f"{name}={value}" for name, value in found.items()]


# DEVIATION: no AppArmor profile of our own by default, and no SELinux labels
def _apparmor(context: Any, process: dict[str, Any]) -> None:
    name = context.apparmor.localhost_ref if context.apparmor.profile_type == pb.Localhost else ""
    if name and not context.privileged:
        if not Path("/sys/kernel/security/apparmor").is_dir():
            raise Precondition("apparmor is not supported")
        process["apparmorProfile"] = name.removeprefix("localhost/")


def clamp_oom(wanted: int) -> int:
    """Going below our own takes a capability that hosts may have taken away."""
    own = int(Path("/proc/self/oom_score_adj").read_text())
    return wanted if wanted >= own or _may_lower() else own


def _open_files() -> dict[str, Any]:
    """As many as programs on servers are used to, or as the host lets us give."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    return {"type": "RLIMIT_NOFILE", "soft": most, "hard": most}


def _may_lower() -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> security.ALL.index("CAP_SYS_RESOURCE") & 1)
    return False


def resources(wanted: Any) -> dict[str, Any]:
    """OCI's resources for a LinuxContainerResources; only what is given."""
    memory = {
        "limit": wanted.memory_limit_in_bytes,
        # without a limit of its own, swap has none beyond memory's
        "swap": (wanted.memory_swap_limit_in_bytes or wanted.memory_limit_in_bytes) if cgroups.counts_swap() else 0,
    }
    cpu = {
        "shares": wanted.cpu_shares,
        "quota": wanted.cpu_quota,
        "period": wanted.cpu_period,
        "cpus": wanted.cpuset_cpus,
        "mems": wanted.cpuset_mems,
    }
    out: dict[str, Any] = {
        "memory": {key: value for key, value in memory.items() if value},
        "cpu": {key: value for key, value in cpu.items() if value},
        # kubelets name all sizes; where nothing counts them, none is all there is
        "hugepageLimits": [
            {"pageSize": each.page_size, "limit": each.limit}
            for each in wanted.hugepage_limits
            if each.limit or cgroups.counts_hugepages()
        ],
    }
    if cgroups.unified():
        out["unified"] = dict(wanted.unified)
    else:
        _of_version_1(dict(wanted.unified), out)
    return {key: value for key, value in out.items() if value}


def _of_version_1(wanted: dict[str, str], out: dict[str, Any]) -> None:
    """What version 2 calls so version 1 has as well, where it has it at all. Raises Invalid."""
    most = wanted.pop("pids.max", "")
    if most.isdigit():
        out["pids"] = {"limit": int(most)}
    if wanted:
        raise Invalid(f"unified resource {sorted(wanted)[0]!r} is not supported on cgroup v1")


def _mounts(config: Any, place: Place) -> tuple[list[dict[str, Any]], str]:
    """The mounts, parents before what is in them; and how the root must propagate for them."""
    privileged = config.linux.security_context.privileged
    system = [] if privileged else ["ro"]
    shared_net = "network" not in place.namespaces
    out: dict[str, dict[str, Any]] = {
        "/proc": kernel_mount("proc", "/proc", *SAFE),
        "/dev": kernel_mount("tmpfs", "/dev", "nosuid", "strictatime", "mode=755", "size=65536k"),
        "/dev/pts": kernel_mount(
            "devpts", "/dev/pts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"
        ),
        "/dev/mqueue": kernel_mount("mqueue", "/dev/mqueue", *SAFE),
        # sysfs shows the network of who mounts it: with the host's it must be the host's own
        "/sys": _bind("/sys", "/sys", ["rbind", "rprivate", *SAFE, *system])
        if shared_net
        else kernel_mount("sysfs", "/sys", *SAFE, *system),
        "/sys/fs/cgroup": kernel_mount("cgroup", "/sys/fs/cgroup", *SAFE, "relatime", *system),
    }
    if privileged and shared_net:
        del out["/sys/fs/cgroup"]
    for target, path in place.image.items():
        out[target] = _bind(path, target, ["bind", "rprivate", "ro", "nosuid", "nodev"])
    for target, source in place.shared.items():
        out[target] = _bind(str(source), target, ["rbind", "rprivate", "rw"])
    propagation = 0
    for each in config.mounts:
        # DEVIATION: images cannot be mounted as volumes
        if each.HasField("image"):
            raise Invalid("image volumes are not supported")
        target = "/" + os.path.normpath(each.container_path).lstrip("/")
        try:
            if not os.path.lexists(each.host_path):  # a directory then: users of other runtimes count on that
                os.makedirs(each.host_path, 0o755, exist_ok=True)
            source = os.path.realpath(each.host_path, strict=True)
        except OSError as error:
            raise Invalid(f'failed to stat "{each.host_path}": {error.strerror}') from None
        if each.propagation:
            _must_be_shared(source, each.propagation == pb.PROPAGATION_BIDIRECTIONAL)
        propagation = max(propagation, each.propagation)
        options = ["rbind", _PROPAGATION[each.propagation], "ro" if each.readonly else "rw"]
        if each.recursive_read_only:
            if not each.readonly or each.propagation:
                raise Invalid("recursive_read_only needs readonly and private propagation")
            options.append("rro")
        out[target] = _bind(source, target, options)
    ordered = sorted(
        out.values(), key=lambda found: found["destination"].count("/") if found["destination"] != "/" else 0
    )
    return ordered, _PROPAGATION[propagation] if propagation else ""


def kernel_mount(kind: str, target: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": kind, "options": list(options)}


def _bind(source: str, target: str, options: list[str]) -> dict[str, Any]:
    return {"destination": target, "type": "bind", "source": source, "options": options}


def _must_be_shared(source: str, both_ways: bool) -> None:
    """Raises Precondition unless mounts on the source's file system are passed on."""
    best, fields = "", ""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if (source == point or source.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            best, fields = point, line.partition(" - ")[0]
    if "shared:" not in fields and (both_ways or "master:" not in fields):
        kind = "shared" if both_ways else "shared or slave"
        raise Precondition(f'path "{source}" is mounted on "{best}" but it is not a {kind} mount')


def _allowed(config: Any, privileged: bool) -> list[dict[str, Any]]:
    if privileged:
        return [{"allow": True, "access": "rwm"}]
    out: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    out += [{"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"} for major, minor in _DEVICES]
    out.append({"allow": True, "type": "c", "major": 136, "access": "rwm"})
    for each in config.devices:
        for node in _device(each):
            known = {key: node[key] for key in ("type", "major", "minor")}
            out.append({"allow": True, **known, "access": each.permissions or "rwm"})
    return out


def _nodes(config: Any, privileged: bool) -> list[dict[str, Any]]:
    if privileged:
        return [node for path in _below(Path("/dev")) if (node := _node(str(path), str(path))) is not None]
    return [node for each in config.devices for node in _device(each)]


def _device(wanted: Any) -> list[dict[str, Any]]:
    """One, or all of a directory. Raises Invalid."""
    source = Path(os.path.realpath(wanted.host_path))
    target = wanted.container_path or wanted.host_path
    if source.is_dir():
        inside = ((path, os.path.join(target, path.relative_to(source))) for path in _below(source))
        return [node for path, name in inside if (node := _node(str(path), name)) is not None]
    node = _node(str(source), target)
    if node is None:
        raise Invalid(f'"{wanted.host_path}" is not a device')
    return [node]


def _below(top: Path) -> Iterator[Path]:
    """The files; without file systems of others: pseudo-terminals, message queues, shared memory."""
    for path in sorted(top.iterdir()):
        if not path.is_dir():
            yield path
        elif not path.is_symlink() and not path.is_mount():
            yield from _below(path)


def _node(source: str, target: str) -> dict[str, Any] | None:
    try:
        found = os.lstat(source)
    except OSError:
        return None
    kinds = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}
    kind = kinds.get(stat.S_IFMT(found.st_mode))
    if kind is None or (kind == "c" and found.st_rdev == 0):
        return None
    major, minor = os.major(found.st_rdev), os.minor(found.st_rdev)
    mode = stat.S_IMODE(found.st_mode)
    return {
        "path": target,
        "type": kind,
        "major": major,
        "minor": minor,
        "fileMode": mode,
        "uid": found.st_uid,
        "gid": found.st_gid,
    }

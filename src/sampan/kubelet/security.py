"""Security contexts of pods and containers as the runtime wants them: who it runs as, what it may do, what it does not see.

Source: kubernetes pkg/kubelet/kuberuntime/{security_context.go, security_context_others.go, kuberuntime_sandbox_linux.go},
pkg/securitycontext/util.go
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sampan.cri import pb
from sampan.kubelet import names

Obj = dict[str, Any]
MASKED = [
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
]  # fmt: skip
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


class ConfigRefused(Exception):
    """The container cannot be configured so; its state is CreateContainerConfigError."""


def effective(pod: Obj, container: Obj) -> Obj:
    """The container's security context, with what it takes over from its pod's."""
    shared = pod["spec"].get("securityContext") or {}
    taken = ("seLinuxOptions", "runAsUser", "runAsGroup", "runAsNonRoot", "seccompProfile", "appArmorProfile")
    base = {name: shared[name] for name in taken if shared.get(name) is not None}
    own = {name: value for name, value in (container.get("securityContext") or {}).items() if value is not None}
    return {**base, **own}


def namespaces(pod: Obj, target: str = "") -> Any:
    """`target`: the container whose processes an ephemeral one is to see."""
    spec = pod["spec"]
    network = pb.NODE if spec.get("hostNetwork") else pb.POD
    ipc = pb.NODE if spec.get("hostIPC") else pb.POD
    pid = pb.NODE if spec.get("hostPID") else pb.POD if spec.get("shareProcessNamespace") else pb.CONTAINER
    if target:
        return pb.NamespaceOption(network=network, ipc=ipc, pid=pb.TARGET, target_id=target)
    return pb.NamespaceOption(network=network, ipc=ipc, pid=pid)


def groups(pod: Obj, more: tuple[int, ...] = ()) -> list[int]:
    shared = pod["spec"].get("securityContext") or {}
    out = list(shared.get("supplementalGroups") or ())
    if shared.get("fsGroup") is not None:
        out.append(shared["fsGroup"])
    return list(dict.fromkeys((*out, *more)))


def _policy(pod: Obj) -> int:
    named = (pod["spec"].get("securityContext") or {}).get("supplementalGroupsPolicy", "Merge")
    return int(pb.Strict if named == "Strict" else pb.Merge)


def for_sandbox(pod: Obj, seccomp_root: Path) -> Any:
    shared = pod["spec"].get("securityContext") or {}
    out = pb.LinuxSandboxSecurityContext(
        namespace_options=namespaces(pod),
        privileged=any((each.get("securityContext") or {}).get("privileged") for each in names.containers_of(pod)),
        seccomp=pb.SecurityProfile(profile_type=pb.RuntimeDefault),
        supplemental_groups=groups(pod),
        supplemental_groups_policy=_policy(pod),
    )
    if shared.get("runAsUser") is not None:
        out.run_as_user.value = shared["runAsUser"]
        if shared.get("runAsGroup") is not None:
            out.run_as_group.value = shared["runAsGroup"]
    _selinux(out, shared.get("seLinuxOptions"))
    return out


def _selinux(out: Any, given: Obj | None) -> None:
    if given:
        for name in ("user", "role", "type", "level"):
            setattr(out.selinux_options, name, given.get(name, ""))


def profile(given: Obj | None, root: Path) -> Any:
    """A seccomp profile; without one: none."""
    kind = (given or {}).get("type", "Unconfined")
    if kind == "RuntimeDefault":
        return pb.SecurityProfile(profile_type=pb.RuntimeDefault)
    if kind == "Localhost":
        file = str(root / (given or {}).get("localhostProfile", ""))
        return pb.SecurityProfile(profile_type=pb.Localhost, localhost_ref=file)
    return pb.SecurityProfile(profile_type=pb.Unconfined)


def _apparmor(given: Obj | None) -> Any:
    """Unset where nobody asks for one: not every node has it."""
    match (given or {}).get("type"):
        case None:
            return None
        case "Localhost":
            name = "localhost/" + (given or {}).get("localhostProfile", "")
            return pb.SecurityProfile(profile_type=pb.Localhost, localhost_ref=name)
        case kind:
            return pb.SecurityProfile(profile_type=pb.Unconfined if kind == "Unconfined" else pb.RuntimeDefault)


def check_user(pod: Obj, container: Obj, uid: int | None, username: str) -> None:
    """`uid` and `username` are the image's. Raises ConfigRefused for a container that must not be root, and would be."""
    context = effective(pod, container)
    if not context.get("runAsNonRoot"):
        return
    where = f'(pod: "{names.pod_text(pod)}", container: {container["name"]})'
    if context.get("runAsUser") is not None:
        if context["runAsUser"] == 0:
            raise ConfigRefused(f"container's runAsUser breaks non-root policy {where}")
    elif uid == 0:
        raise ConfigRefused(f"container has runAsNonRoot and image will run as root {where}")
    elif username:
        raise ConfigRefused(
            f"container has runAsNonRoot and image has non-numeric user ({username}), cannot verify user is non-root {where}"
        )


def for_container(
    pod: Obj, container: Obj, *, uid: int | None, username: str, seccomp_root: Path, target: str = "",
    more_groups: tuple[int, ...] = (),
) -> Any:  # fmt: skip
    """`uid`, `username`: the image's."""
    context = effective(pod, container)
    out = pb.LinuxContainerSecurityContext(
        namespace_options=namespaces(pod, target),
        supplemental_groups=groups(pod, more_groups),
        supplemental_groups_policy=_policy(pod),
        seccomp=profile(context.get("seccompProfile"), seccomp_root),
        apparmor=_apparmor(context.get("appArmorProfile")),
        privileged=bool(context.get("privileged")),
        readonly_rootfs=bool(context.get("readOnlyRootFilesystem")),
        no_new_privs=context.get("allowPrivilegeEscalation") is False,
    )
    if context.get("runAsUser") is not None:
        out.run_as_user.value = context["runAsUser"]
    elif username:
        out.run_as_username = username
    else:
        out.run_as_user.value = uid or 0
    if context.get("runAsGroup") is not None:
        out.run_as_group.value = context["runAsGroup"]
    capabilities = context.get("capabilities") or {}
    out.capabilities.add_capabilities.extend(capabilities.get("add") or ())
    out.capabilities.drop_capabilities.extend(capabilities.get("drop") or ())
    _selinux(out, context.get("seLinuxOptions"))
    if context.get("procMount", "Default") == "Default" and not out.privileged:
        out.masked_paths.extend(MASKED)
        out.readonly_paths.extend(READ_ONLY)
    return out

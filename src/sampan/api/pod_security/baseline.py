"""The checks of the baseline level: what lets a pod out of its box.

Source: k8s.io/pod-security-admission/policy/check_{appArmorProfile,capabilities_baseline,hostNamespaces,hostPathVolumes,
hostPorts,hostProbesAndhostLifecycle,privileged,procMount,seLinuxOptions,seccompProfile_baseline,sysctls,
windowsHostProcess}.go
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.core_v1.pod_references import all_containers
from sampan.api.field import go_quote
from sampan.api.kind import Obj
from sampan.api.pod_security.words import (
    Check,
    Finding,
    containers,
    context,
    quoted,
    setters,
    several,
    user_namespace,
    where,
)

PROFILES = frozenset({"RuntimeDefault", "Localhost"})
APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    }
)  # fmt: skip
SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start",
    }
)  # fmt: skip
SYSCTLS_27 = SYSCTLS | {"net.ipv4.ip_local_reserved_ports"}
SYSCTLS_29 = SYSCTLS_27 | {
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}  # fmt: skip
SYSCTLS_32 = SYSCTLS_29 | {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}
SELINUX = frozenset({"", "container_t", "container_init_t", "container_kvm_t"})
SELINUX_31 = SELINUX | {"container_engine_t"}


def app_armor(meta: Obj, spec: Obj) -> Finding | None:
    def bad(of: Obj) -> bool:
        profile = context(of).get("appArmorProfile")
        return profile is not None and profile.get("type", "") not in PROFILES

    kinds = {context(of)["appArmorProfile"].get("type", "") for of in (spec, *all_containers(spec)) if bad(of)}
    annotated = sorted(
        f"{key}={go_quote(value)}"
        for key, value in (meta.get("annotations") or {}).items()
        if key.startswith(APP_ARMOR) and value not in ("", "runtime/default") and not value.startswith("localhost/")
    )
    who = [setters(bad(spec), where(spec, bad))] if kinds else []
    if annotated:
        who.append(several("annotation", "annotations", annotated))
    if not who:
        return None
    told = [*sorted(kinds), *annotated]
    reason = several("forbidden AppArmor profile", "forbidden AppArmor profiles", told)
    return Finding(reason, f"{' and '.join(who)} must not set AppArmor profile type to {quoted(told)}")


def capabilities(meta: Obj, spec: Obj) -> Finding | None:
    def added(container: Obj) -> set[str]:
        return {*((context(container).get("capabilities") or {}).get("add") or ())} - CAPABILITIES

    names = where(spec, added)
    if not names:
        return None
    every = sorted(set().union(*(added(container) for container in all_containers(spec))))
    detail = f"{containers(names)} must not include {quoted(every)} in securityContext.capabilities.add"
    return Finding("non-default capabilities", detail)


def host_namespaces(meta: Obj, spec: Obj) -> Finding | None:
    shared = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    return Finding("host namespaces", ", ".join(shared)) if shared else None


def host_paths(meta: Obj, spec: Obj) -> Finding | None:
    names = [volume["name"] for volume in spec.get("volumes") or () if volume.get("hostPath") is not None]
    if not names:
        return None
    return Finding("hostPath volumes", f"{several('volume', 'volumes', names)} {quoted(names)}")


def host_ports(meta: Obj, spec: Obj) -> Finding | None:
    def ports(container: Obj) -> set[str]:
        return {str(port["hostPort"]) for port in container.get("ports") or () if port.get("hostPort")}

    names = where(spec, ports)
    if not names:
        return None
    every = sorted(set().union(*(ports(container) for container in all_containers(spec))))
    uses = f"{several('uses', 'use', names)} {several('hostPort', 'hostPorts', every)}"
    return Finding("hostPort", f"{containers(names)} {uses} {', '.join(every)}")


def host_probes(meta: Obj, spec: Obj) -> Finding | None:
    names = where(spec, lambda container: any(_hosts(container)))
    if not names:
        return None
    every = sorted({host for container in all_containers(spec) for host in _hosts(container)})
    what = several("probe or lifecycle host", "probe or lifecycle hosts", every)
    detail = f"{containers(names)} {several('uses', 'use', names)} {what} {quoted(every)}"
    return Finding("probe or lifecycle host", detail)


def _hosts(container: Obj) -> Iterator[str]:
    handlers = [container.get(name) for name in ("livenessProbe", "readinessProbe", "startupProbe")]
    lifecycle = container.get("lifecycle") or {}
    for handler in (*handlers, lifecycle.get("postStart"), lifecycle.get("preStop")):
        for kind in ("httpGet", "tcpSocket"):
            host = ((handler or {}).get(kind) or {}).get("host")
            if host:
                yield host


def privileged(meta: Obj, spec: Obj) -> Finding | None:
    names = where(spec, lambda container: context(container).get("privileged"))
    if not names:
        return None
    return Finding("privileged", f"{containers(names)} must not set securityContext.privileged=true")


def proc_mount(meta: Obj, spec: Obj) -> Finding | None:
    def other(container: Obj) -> bool:
        return context(container).get("procMount") not in (None, "Default")

    names = where(spec, other)
    if not names:
        return None
    kinds = sorted({str(context(container)["procMount"]) for container in all_containers(spec) if other(container)})
    return Finding("procMount", f"{containers(names)} must not set securityContext.procMount to {quoted(kinds)}")


def proc_mount_35(meta: Obj, spec: Obj) -> Finding | None:
    return None if user_namespace(spec) else proc_mount(meta, spec)


def _selinux(allowed: frozenset[str]) -> Check:
    def check(meta: Obj, spec: Obj) -> Finding | None:
        def options(of: Obj) -> Obj:
            return context(of).get("seLinuxOptions") or {}

        def bad(of: Obj) -> bool:
            found = options(of)
            return found.get("type", "") not in allowed or bool(found.get("user") or found.get("role"))

        who = setters(bad(spec), where(spec, bad))
        if not who:
            return None
        every = [options(of) for of in (spec, *all_containers(spec))]
        kinds = sorted({found.get("type", "") for found in every} - allowed)
        what = [f"{several('type', 'types', kinds)} {quoted(kinds)}"] if kinds else []
        what += [f"{name} may not be set" for name in ("user", "role") if any(found.get(name) for found in every)]
        return Finding("seLinuxOptions", f"{who} set forbidden securityContext.seLinuxOptions: {'; '.join(what)}")

    return check


def seccomp_annotations(meta: Obj, spec: Obj) -> Finding | None:
    """Up to 1.18, annotations said it."""
    annotations = meta.get("annotations") or {}
    keys = {SECCOMP_POD, *(SECCOMP_CONTAINER + container.get("name", "") for container in all_containers(spec))}
    bad = sorted(
        f"{key}={go_quote(annotations[key])}"
        for key in keys & annotations.keys()
        if annotations[key] not in ("runtime/default", "docker/default")
        and not annotations[key].startswith("localhost/")
    )
    if not bad:
        return None
    return Finding("seccompProfile", f"forbidden {several('annotation', 'annotations', bad)} {', '.join(bad)}")


def seccomp(meta: Obj, spec: Obj) -> Finding | None:
    """From 1.19 on: a profile that is set is a good one."""

    def bad(of: Obj) -> bool:
        profile = context(of).get("seccompProfile")
        return profile is not None and profile.get("type", "") not in PROFILES

    who = setters(bad(spec), where(spec, bad))
    if not who:
        return None
    kinds = sorted({context(of)["seccompProfile"].get("type", "") for of in (spec, *all_containers(spec)) if bad(of)})
    return Finding("seccompProfile", f"{who} must not set securityContext.seccompProfile.type to {quoted(kinds)}")


def _sysctls(allowed: frozenset[str]) -> Check:
    def check(meta: Obj, spec: Obj) -> Finding | None:
        names = [item["name"] for item in context(spec).get("sysctls") or () if item.get("name") not in allowed]
        return Finding("forbidden sysctls", ", ".join(names)) if names else None

    return check


def windows_host_process(meta: Obj, spec: Obj) -> Finding | None:
    def bad(of: Obj) -> bool:
        return bool((context(of).get("windowsOptions") or {}).get("hostProcess"))

    who = setters(bad(spec), where(spec, bad))
    if not who:
        return None
    return Finding("hostProcess", f"{who} must not set securityContext.windowsOptions.hostProcess=true")


#: by name, with the first minor version of each form of the check
CHECKS: dict[str, dict[int, Check]] = {
    "appArmorProfile": {0: app_armor},
    "capabilities_baseline": {0: capabilities},
    "hostNamespaces": {0: host_namespaces},
    "hostPathVolumes": {0: host_paths},
    "hostPorts": {0: host_ports},
    "hostProbesAndHostLifecycle": {34: host_probes},
    "privileged": {0: privileged},
    "procMount": {0: proc_mount, 35: proc_mount_35},
    "seLinuxOptions": {0: _selinux(SELINUX), 31: _selinux(SELINUX_31)},
    "seccompProfile_baseline": {0: seccomp_annotations, 19: seccomp},
    "sysctls": {0: _sysctls(SYSCTLS), 27: _sysctls(SYSCTLS_27), 29: _sysctls(SYSCTLS_29), 32: _sysctls(SYSCTLS_32)},
    "windowsHostProcess": {0: windows_host_process},
}

"""Security contexts, of pods and of containers, and what an operating system rules out.

Source: kubernetes/pkg/apis/core/validation/validation.go (ValidateSecurityContext, validatePodSpecSecurityContext,
validateWindowsSecurityContextOptions, validateOS)
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation.paths import descending

MAX_ID = (1 << 31) - 1
WRONG_ID = f"must be between 0 and {MAX_ID}, inclusive"
_SYSCTL = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
_IS_SYSCTL = re.compile(_SYSCTL[1:-1], re.ASCII)
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "fs.mqueue.")
_NETBIOS = re.compile(r'[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}')
_WINDOWS_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_WINDOWS_DOMAIN = re.compile(rf"{_WINDOWS_LABEL}(?:\.{_WINDOWS_LABEL})*")
_WINDOWS = "cannot be set for a windows pod"
TYPES = ("Localhost", "RuntimeDefault", "Unconfined")


def each_container(spec: Obj) -> Iterator[tuple[Obj, str, int]]:
    """Every container with its list and place, in upstream's order of visiting."""
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            yield container, kind, index


def _id(value: int | None, path: Path, out: ErrorList) -> None:
    if value is not None and not 0 <= value <= MAX_ID:
        out.invalid(path, value, WRONG_ID)


# -- containers --------------------------------------------------------------------------------------------------------


def container_security(context: Obj, path: Path, out: ErrorList, host_users: bool) -> None:
    for name in ("runAsUser", "runAsGroup"):
        value = context.get(name)
        if value is not None and not 0 <= value <= MAX_ID:
            out.invalid(path / name, value, WRONG_ID)
    mount = context.get("procMount")
    if mount is not None:
        if mount not in ("Default", "Unmasked"):
            out.not_supported(path / "procMount", mount, ("Default", "Unmasked"))
        elif host_users and mount == "Unmasked":
            out.invalid(path / "procMount", mount, "`hostUsers` must be false to use `Unmasked`")
    if context.get("seccompProfile") is not None:
        seccomp(context["seccompProfile"], path / "seccompProfile", out)
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            out.invalid(path, context, detail)
        for capability in (context.get("capabilities") or {}).get("add") or ():
            if capability == "CAP_SYS_ADMIN":
                detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
                out.invalid(path, context, detail)
    if context.get("windowsOptions") is not None:
        windows_options(context["windowsOptions"], path / "windowsOptions", out)
    if context.get("appArmorProfile") is not None:
        app_armor(context["appArmorProfile"], path / "appArmorProfile", out)


def seccomp(profile: Obj, path: Path, out: ErrorList) -> None:
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    if not kind:
        out.required(path / "type", "type is required when seccompProfile is set")
    elif kind not in TYPES:
        out.not_supported(path / "type", kind, TYPES)
    if kind == "Localhost":
        if local is None:
            out.required(path / "localhostProfile", "must be set when seccomp type is Localhost")
        else:
            descending(local, path / "localhostProfile", out)
    elif local is not None:
        out.invalid(path / "localhostProfile", profile, "can only be set when seccomp type is Localhost")


def app_armor(profile: Obj, path: Path, out: ErrorList) -> None:
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    here = path / "localhostProfile"
    if kind == "Localhost":
        if not local:
            out.required(here, "must be set when AppArmor type is Localhost")
        elif local.strip() != local:
            out.invalid(here, local, "must not be padded with whitespace")
        if local is not None and len(local.encode()) > 4095:
            out.too_long(here, 4095)
    elif kind in TYPES:
        if local is not None:
            out.invalid(here, local, "can only be set when AppArmor type is Localhost")
    elif not kind:
        out.required(path / "type", "type is required when appArmorProfile is set")
    else:
        out.not_supported(path / "type", kind, TYPES)


def windows_options(options: Obj, path: Path, out: ErrorList) -> None:
    name = options.get("gmsaCredentialSpecName")
    if name is not None:
        out.each(path / "gmsaCredentialSpecName", name, names.is_dns1123_subdomain(name))
    spec = options.get("gmsaCredentialSpec")
    if spec is not None and not spec:
        out.invalid(path / "gmsaCredentialSpec", spec, "gmsaCredentialSpec cannot be an empty string")
    elif spec is not None and len(spec.encode()) > 64 * 1024:
        out.invalid(path / "gmsaCredentialSpec", spec, "gmsaCredentialSpec size must be under 64 KiB")
    user = options.get("runAsUserName")
    if user is not None:
        out.each(path / "runAsUserName", user, [f"runAsUserName{problem}" for problem in _windows_user(user)])


def _windows_user(name: str) -> list[str]:
    if not name:
        return [" cannot be an empty string"]
    if re.search(r"[\x00-\x1f\x7f]", name):
        return [" cannot contain control characters"]
    if name.count("\\") > 1:
        return [" cannot contain more than one backslash"]
    domain, slash, user = name.rpartition("\\")
    out = []
    if len(domain) >= 256:
        out.append("'s Domain length must be under 256 characters")
    if slash and not (_NETBIOS.fullmatch(domain) or _WINDOWS_DOMAIN.fullmatch(domain)):
        out.append("'s Domain doesn't match the NetBios nor the DNS format")
    if not user:
        out.append("'s User cannot be empty")
    elif len(user) > 104:
        out.append("'s User length must not be longer than 104 characters")
    if re.fullmatch("[. ]+", user):
        out.append("'s User cannot contain only periods or spaces")
    if re.search(r'["/\\:;|=,+*?<>@\[\]]', user):
        out.append("""'s User cannot contain the following characters: "/\\:;|=,+*?<>@[]""")
    return out


# -- pods --------------------------------------------------------------------------------------------------------------


def pod_security(spec: Obj, path: Path, out: ErrorList) -> None:
    context, here = spec.get("securityContext") or {}, path / "securityContext"
    if spec.get("hostPID") and spec.get("shareProcessNamespace"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        out.invalid(here / "shareProcessNamespace", True, detail)
    if not context:
        return
    for name in ("fsGroup", "runAsUser", "runAsGroup"):
        _id(context.get(name), here / name, out)
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        _id(group, here / "supplementalGroups" @ index, out)
    _sysctls(spec, here / "sysctls", out)
    for name, allowed in (
        ("fsGroupChangePolicy", ("Always", "OnRootMismatch")),
        ("supplementalGroupsPolicy", ("Merge", "Strict")),
        ("seLinuxChangePolicy", ("MountOption", "Recursive")),
    ):
        if context.get(name) is not None and context[name] not in allowed:
            out.not_supported(here / name, context[name], allowed)
    if context.get("seccompProfile") is not None:
        seccomp(context["seccompProfile"], here / "seccompProfile", out)
    if context.get("windowsOptions") is not None:
        windows_options(context["windowsOptions"], here / "windowsOptions", out)
    if context.get("appArmorProfile") is not None:
        app_armor(context["appArmorProfile"], here / "appArmorProfile", out)


def _sysctls(spec: Obj, path: Path, out: ErrorList) -> None:
    seen: set[str] = set()
    for index, item in enumerate(spec["securityContext"].get("sysctls") or ()):
        name, here = item.get("name", ""), path @ index / "name"
        if not name:
            out.required(here, "")
        elif len(name) > 253 or not _IS_SYSCTL.fullmatch(name):
            out.invalid(here, name, f"must have at most 253 characters and match regex {_SYSCTL}")
        elif name in seen:
            out.duplicate(here, name)
        seen.add(name)
        dotted = name.replace("/", ".")
        if spec.get("hostNetwork") and dotted.startswith("net."):
            out.invalid(here, name, "may not be specified when 'hostNetwork' is true")
        elif spec.get("hostIPC") and (dotted.startswith(_IPC_SYSCTLS) or dotted == "kernel.sem"):
            out.invalid(here, name, "may not be specified when 'hostIPC' is true")


def host_users(spec: Obj, path: Path, out: ErrorList) -> None:
    """What a pod with users of its own cannot share with the host."""
    if spec.get("hostUsers") is not False:
        return
    for field, shown in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
        if spec.get(field):
            out.forbidden(path / shown, "when `hostUsers` is false")
    for container, kind, index in each_container(spec):
        if container.get("volumeDevices"):
            out.forbidden(path / kind @ index / "volumeDevices", "when `hostUsers` is false")


def host_process(spec: Obj, path: Path, out: ErrorList) -> None:
    """Windows containers that are processes of the host: all of a pod's, or none."""
    mine = ((spec.get("securityContext") or {}).get("windowsOptions") or {}).get("hostProcess")
    total = on_host = 0
    for container, kind, index in each_container(spec):
        total += 1
        context = container.get("securityContext")
        its = (context.get("windowsOptions") or {}).get("hostProcess") if context else None
        if mine is not None and its is not None and mine != its:
            shown = "true" if mine else "false"
            here = path / kind @ index / "securityContext" / "windowsOptions" / "hostProcess"
            out.invalid(here, its, f"pod hostProcess value must be identical if both are specified, was {shown}")
        on_host += bool(mine if its is None else its)
    if not on_host:
        return
    if on_host != total:
        detail = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        out.invalid(path, "", detail)
    if not spec.get("hostNetwork"):
        detail = "hostNetwork must be true if pod contains any hostProcess containers"
        out.invalid(path / "hostNetwork", False, detail)


_NOT_WINDOWS_POD = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "fsGroup", "fsGroupChangePolicy", "sysctls", "runAsUser",
    "runAsGroup", "supplementalGroups", "supplementalGroupsPolicy", "seLinuxChangePolicy",
)  # fmt: skip
_NOT_WINDOWS_CONTAINER = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged",
    "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup",
)  # fmt: skip


def operating_system(spec: Obj, path: Path, out: ErrorList) -> None:
    name = (spec.get("os") or {}).get("name", "")
    if not name:
        out.required(path / "os" / "name", "cannot be empty")
    elif name not in ("linux", "windows"):
        out.not_supported(path / "os", name, ("linux", "windows"))
    elif name == "linux":
        detail = "windows options cannot be set for a linux pod"
        if (spec.get("securityContext") or {}).get("windowsOptions") is not None:
            out.forbidden(path / "securityContext" / "windowsOptions", detail)
        for container, kind, index in each_container(spec):
            if (container.get("securityContext") or {}).get("windowsOptions") is not None:
                out.forbidden(path / kind @ index / "securityContext" / "windowsOptions", detail)
    else:
        _windows(spec, path, out)


def _windows(spec: Obj, path: Path, out: ErrorList) -> None:
    for field in ("hostUsers", "shareProcessNamespace"):
        if spec.get(field) is not None:
            out.forbidden(path / field, _WINDOWS)
    for field in ("hostPID", "hostIPC"):
        if spec.get(field):
            out.forbidden(path / field, _WINDOWS)
    context = spec.get("securityContext") or {}
    for field in _NOT_WINDOWS_POD:
        if context.get(field) is not None:
            out.forbidden(path / "securityContext" / field, _WINDOWS)
    for container, kind, index in each_container(spec):
        context = container.get("securityContext") or {}
        for field in _NOT_WINDOWS_CONTAINER:
            if context.get(field) is not None:
                out.forbidden(path / kind @ index / "securityContext" / field, _WINDOWS)

"""The checks that the restricted level adds: what a hardened pod must say.

Source: k8s.io/pod-security-admission/policy/check_{allowPrivilegeEscalation,capabilities_restricted,procMount_restricted,
restrictedVolumes,runAsNonRoot,runAsUser,seccompProfile_restricted}.go
"""

from __future__ import annotations

from sampan.api.core_v1.pod_references import all_containers
from sampan.api.kind import Obj
from sampan.api.pod_security.baseline import PROFILES, proc_mount, seccomp
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
    windows,
)

VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
#: in the order in which upstream looks for what a volume is
OTHER_VOLUMES = (
    "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi", "glusterfs", "rbd",
    "flexVolume", "cinder", "cephfs", "flocker", "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk",
    "photonPersistentDisk", "portworxVolume", "scaleIO", "storageos",
)  # fmt: skip


def _not_on_windows(check: Check) -> Check:
    return lambda meta, spec: None if windows(spec) else check(meta, spec)


def _not_in_user_namespaces(check: Check) -> Check:
    return lambda meta, spec: None if user_namespace(spec) else check(meta, spec)


def privilege_escalation(meta: Obj, spec: Obj) -> Finding | None:
    names = where(spec, lambda container: context(container).get("allowPrivilegeEscalation") is not False)
    if not names:
        return None
    detail = f"{containers(names)} must set securityContext.allowPrivilegeEscalation=false"
    return Finding("allowPrivilegeEscalation != false", detail)


def capabilities(meta: Obj, spec: Obj) -> Finding | None:
    def said(container: Obj) -> Obj:
        return context(container).get("capabilities") or {}

    def added(container: Obj) -> set[str]:
        return {*(said(container).get("add") or ())} - {"NET_BIND_SERVICE"}

    kept = where(spec, lambda container: "ALL" not in (said(container).get("drop") or ()))
    adding = where(spec, added)
    details = []
    if kept:
        details.append(f'{containers(kept)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        every = sorted(set().union(*(added(container) for container in all_containers(spec))))
        details.append(f"{containers(adding)} must not include {quoted(every)} in securityContext.capabilities.add")
    return Finding("unrestricted capabilities", "; ".join(details)) if details else None


def volumes(meta: Obj, spec: Obj) -> Finding | None:
    bad = [volume for volume in spec.get("volumes") or () if all(volume.get(kind) is None for kind in VOLUMES)]
    if not bad:
        return None
    names = [volume["name"] for volume in bad]
    kinds = sorted(
        {next((kind for kind in OTHER_VOLUMES if volume.get(kind) is not None), "unknown") for volume in bad}
    )
    uses = f"{several('uses', 'use', names)} {several('restricted volume type', 'restricted volume types', kinds)}"
    detail = f"{several('volume', 'volumes', names)} {quoted(names)} {uses} {quoted(kinds)}"
    return Finding("restricted volume types", detail)


def run_as_non_root(meta: Obj, spec: Obj) -> Finding | None:
    reason = "runAsNonRoot != true"
    pod = context(spec).get("runAsNonRoot")
    who = setters(pod is False, where(spec, lambda container: context(container).get("runAsNonRoot") is False))
    if who:
        return Finding(reason, f"{who} must not set securityContext.runAsNonRoot=false")
    silent = where(spec, lambda container: context(container).get("runAsNonRoot") is None)
    if pod or not silent:
        return None
    return Finding(reason, f"pod or {containers(silent)} must set securityContext.runAsNonRoot=true")


def run_as_user(meta: Obj, spec: Obj) -> Finding | None:
    def root(of: Obj) -> bool:
        return bool(context(of).get("runAsUser") == 0)

    who = setters(root(spec), where(spec, root))
    return Finding("runAsUser=0", f"{who} must not set runAsUser=0") if who else None


def seccomp_profile(meta: Obj, spec: Obj) -> Finding | None:
    bad = seccomp(meta, spec)
    if bad is not None:
        return bad
    pod = context(spec).get("seccompProfile")
    silent = where(spec, lambda container: context(container).get("seccompProfile") is None)
    if not silent or (pod is not None and pod.get("type") in PROFILES):
        return None
    wanted = 'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return Finding("seccompProfile", f"pod or {containers(silent)} must set {wanted}")


CHECKS: dict[str, dict[int, Check]] = {
    "allowPrivilegeEscalation": {8: privilege_escalation, 25: _not_on_windows(privilege_escalation)},
    "capabilities_restricted": {22: capabilities, 25: _not_on_windows(capabilities)},
    "procMount_restricted": {35: proc_mount},
    "restrictedVolumes": {0: volumes},
    "runAsNonRoot": {0: run_as_non_root, 35: _not_in_user_namespaces(run_as_non_root)},
    "runAsUser": {23: run_as_user, 35: _not_in_user_namespaces(run_as_user)},
    "seccompProfile_restricted": {19: seccomp_profile, 25: _not_on_windows(seccomp_profile)},
}
#: what says the same as a check of the baseline, and more
OVERRIDES = {
    "capabilities_restricted": "capabilities_baseline",
    "procMount_restricted": "procMount",
    "restrictedVolumes": "hostPathVolumes",
    "seccompProfile_restricted": "seccompProfile_baseline",
}

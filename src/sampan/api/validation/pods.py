"""Pod specs, wherever they stand, and the annotations that once were fields of them.

Source: kubernetes/pkg/apis/core/validation/validation.go (ValidatePodSpec, ValidatePodTemplateSpec,
ValidatePodSpecificAnnotations, validatePodMetadataAndSpec)
"""

from __future__ import annotations

import re
from collections.abc import Collection

from sampan.api import names
from sampan.api.field import ErrorList, Path, go_quote
from sampan.api.kind import Obj
from sampan.api.validation import ips
from sampan.api.validation.containers import Containers, file_key_volumes, image_only_for_pod
from sampan.api.validation.meta import validate_annotations, validate_labels
from sampan.api.validation.paths import descending
from sampan.api.validation.resources import pod_resources, resource_requirements
from sampan.api.validation.scheduling import affinity, scheduling_gates, tolerations, topology_spread
from sampan.api.validation.security import (
    each_container,
    host_process,
    host_users,
    operating_system,
    pod_security,
)
from sampan.api.validation.volumes import volumes

SPEC, ANNOTATIONS = Path("spec"), Path("metadata", "annotations")
MIRROR = "kubernetes.io/config.mirror"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
SECCOMP_POD, SECCOMP_CONTAINER = (
    "seccomp.security.alpha.kubernetes.io/pod",
    "container.seccomp.security.alpha.kubernetes.io/",
)
APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_POLICIES = ("Always", "OnFailure", "Never")
_DNS = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_UNDERSCORE = re.compile(r"[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?(\.[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?)*", re.ASCII)


def pod_template(template: Obj, path: Path, out: ErrorList) -> None:
    meta, spec = template.get("metadata") or {}, template.get("spec") or {}
    out.extend(validate_labels(meta.get("labels"), path / "labels"))
    annotations = meta.get("annotations")
    if annotations:
        out.extend(validate_annotations(annotations, path / "annotations"))
        pod_annotations(annotations, spec, path / "annotations", out)
    pod_spec(spec, path / "spec", out)
    if annotations and has_profiles(annotations):
        _profiles_match(annotations, spec, path / "spec", out)
    if spec.get("ephemeralContainers"):
        out.forbidden(path / "spec" / "ephemeralContainers", "ephemeral containers not allowed in pod template")


def pod_metadata_and_spec(obj: Obj, out: ErrorList, old: Obj | None = None) -> None:
    """A pod as such, new or changed; metadata's general rules excepted."""
    spec, annotations = obj["spec"], obj["metadata"].get("annotations")
    if annotations:
        pod_annotations(annotations, spec, ANNOTATIONS, out)
    pod_spec(spec, SPEC, out, obj, _spec_ips(old["spec"]) if old is not None else ())
    if not spec.get("serviceAccountName"):
        for index, volume in enumerate(spec.get("volumes") or ()):
            for at, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
                if source.get("serviceAccountToken") is not None:
                    here = SPEC / "volumes" @ index / "projected" / "sources" @ at / "serviceAccountToken"
                    out.forbidden(here, "must not be specified when serviceAccountName is not set")
    for kind in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            image = container.get("image", "")
            if image != image.strip():
                image_only_for_pod(container, SPEC / kind @ index, out)


def new_pod(obj: Obj, out: ErrorList) -> None:
    pod_metadata_and_spec(obj, out)
    spec, annotations = obj["spec"], obj["metadata"].get("annotations")
    if spec.get("ephemeralContainers"):
        out.forbidden(SPEC / "ephemeralContainers", "cannot be set on create")
    if spec.get("schedulingGates") and spec.get("nodeName"):
        out.forbidden(SPEC / "nodeName", "cannot be set until all schedulingGates have been cleared")
    if annotations and has_profiles(annotations):
        _profiles_match(annotations, spec, SPEC, out)


def _spec_ips(spec: Obj) -> list[str]:
    aliases, servers = spec.get("hostAliases") or (), (spec.get("dnsConfig") or {}).get("nameservers") or ()
    return [*(alias.get("ip", "") for alias in aliases), *servers]


def pod_spec(spec: Obj, path: Path, out: ErrorList, pod: Obj | None = None, old_ips: Collection[str] = ()) -> None:
    """All errors of a pod spec. `pod`: the pod it is of, where it is no template's."""
    get = spec.get
    if get("terminationGracePeriodSeconds") is None:
        out.required(path / "terminationGracePeriodSeconds", "")
    name = pod["metadata"].get("name", "") if pod else ""
    good = volumes(get("volumes") or (), path / "volumes", out, name)
    if get("resourceClaims"):
        _resource_claims(spec, path / "resourceClaims", out, pod)
    checked = Containers(spec, good, path, out).check()
    if get("resources") is not None:
        pod_resources(spec, [c["name"] for c in get("resourceClaims") or () if c.get("name")], path, out)
    if get("hostNetwork"):
        _host_network(spec, path, out, pod is not None)
    _one_of(get("restartPolicy"), _POLICIES, path, "restartPolicy", out)
    _one_of(get("dnsPolicy"), _DNS, path, "dnsPolicy", out)
    if get("nodeSelector"):
        out.extend(validate_labels(spec["nodeSelector"], path / "nodeSelector"))
    if get("securityContext"):
        pod_security(spec, path, out)
    if get("affinity"):
        affinity(spec["affinity"], path / "affinity", out)
    if get("dnsConfig") is not None or get("dnsPolicy") == "None":
        _dns_config(spec, path / "dnsConfig", old_ips, out)
    for index, gate in enumerate(get("readinessGates") or ()):
        kind = gate.get("conditionType", "")
        out.each(path / "readinessGates" @ index / "conditionType", kind, names.is_qualified_name(kind))
    if get("schedulingGates"):
        scheduling_gates(spec["schedulingGates"], path / "schedulingGates", out)
    if get("topologySpreadConstraints"):
        topology_spread(spec["topologySpreadConstraints"], path / "topologySpreadConstraints", out)
    if checked.windows or "windowsOptions" in (get("securityContext") or ()):
        host_process(spec, path, out)
    if get("hostUsers") is False:
        host_users(spec, path, out)
    if get("hostnameOverride") is not None:
        _hostname_override(spec, path / "hostnameOverride", out)
    _names(spec, path, out)
    deadline = get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2147483647:
        out.each(path / "activeDeadlineSeconds", deadline, names.is_in_range(deadline, 1, 2147483647))
    if get("tolerations"):
        tolerations(spec["tolerations"], path / "tolerations", out)
    for index, alias in enumerate(get("hostAliases") or ()):
        here = path / "hostAliases" @ index
        out.each(here / "ip", alias.get("ip", ""), ips.legacy_ip(alias.get("ip", ""), old_ips))
        for at, host in enumerate(alias.get("hostnames") or ()):
            out.each(here / "hostnames" @ at, host, names.is_dns1123_subdomain(host))
    policy = get("preemptionPolicy")
    if policy is not None:
        _one_of(policy, ("PreemptLowerPriority", "Never"), path, "preemptionPolicy", out)
    if get("overhead"):
        resource_requirements({"limits": spec["overhead"]}, path / "overhead", out)
    if get("os") is not None:
        operating_system(spec, path, out)
    group = get("schedulingGroup")
    if group is not None:
        _scheduling_group(group, path / "schedulingGroup", out)
    if checked.files:
        file_key_volumes(spec, path, out)


def _one_of(value: str | None, allowed: tuple[str, ...], path: Path, field: str, out: ErrorList) -> None:
    if value not in allowed:
        if value:
            out.not_supported(path / field, value, allowed)
        else:
            out.required(path / field, "")


_NAMED = (
    ("serviceAccountName", names.is_dns1123_subdomain),
    ("nodeName", names.is_dns1123_subdomain),
    ("hostname", names.is_dns1123_label),
    ("subdomain", names.is_dns1123_label),
    ("priorityClassName", names.is_dns1123_subdomain),
)


def _names(spec: Obj, path: Path, out: ErrorList) -> None:
    for field, check in _NAMED:
        value = spec.get(field)
        if value and (problems := check(value)):
            out.each(path / field, value, problems)
    runtime = spec.get("runtimeClassName")
    if runtime is not None:
        out.each(path / "runtimeClassName", runtime, names.is_dns1123_subdomain(runtime))


def _scheduling_group(group: Obj, path: Path, out: ErrorList) -> None:
    name = group.get("podGroupName")
    if name is None:
        out.invalid(path, "", "must specify one of: `podGroupName`")
    else:
        out.each(path / "podGroupName", name, names.is_dns1123_subdomain(name))


def _resource_claims(spec: Obj, path: Path, out: ErrorList, pod: Obj | None) -> None:
    if pod and MIRROR in (pod["metadata"].get("annotations") or ()):
        for _ in spec["resourceClaims"]:
            out.forbidden(Path(""), "static pods do not support resource claims")
        return
    seen: set[str] = set()
    for index, claim in enumerate(spec["resourceClaims"]):
        here, name = path @ index, claim.get("name", "")
        if not name:
            out.required(here / "name", "")
        elif name in seen:
            out.duplicate(here / "name", name)
        else:
            out.each(here / "name", name, names.is_dns1123_label(name))
        seen.add(name)
        given = [field for field in ("resourceClaimName", "resourceClaimTemplateName") if claim.get(field) is not None]
        if len(given) > 1:
            detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            out.invalid(here, claim, detail)
        if not given:
            out.invalid(here, claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`")
        for field in given:
            out.each(here / field, claim[field], names.is_dns1123_subdomain(claim[field]))


# -- network -----------------------------------------------------------------------------------------------------------


def _host_network(spec: Obj, path: Path, out: ErrorList, is_pod: bool) -> None:
    for index, container in enumerate(spec.get("containers") or ()):
        for at, port in enumerate(container.get("ports") or ()):
            host = port.get("hostPort", 0)
            if (is_pod or host) and host != port.get("containerPort", 0):
                here = path / "containers" @ index / "ports" @ at / "hostPort"
                out.invalid(here, host, "must match `containerPort` when `hostNetwork` is true")


def _hostname_override(spec: Obj, path: Path, out: ErrorList) -> None:
    name = spec["hostnameOverride"]
    if spec.get("setHostnameAsFQDN"):
        out.forbidden(path, "may not be specified when setHostnameAsFQDN is true")
    if spec.get("hostNetwork"):
        out.forbidden(path, "may not be specified when hostNetwork is true")
    if len(name.encode()) > 64:
        out.too_long(path, 64)
    out.each(path, name, names.is_dns1123_subdomain(name))


def _dns_config(spec: Obj, path: Path, old_ips: Collection[str], out: ErrorList) -> None:
    config = spec.get("dnsConfig")
    if spec.get("dnsPolicy") == "None":
        if config is None:
            out.required(path, "must provide `dnsConfig` when `dnsPolicy` is None")
            return
        if not config.get("nameservers"):
            out.required(path / "nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None")
            return
    assert config is not None
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    if len(servers) > 3:
        out.invalid(path / "nameservers", servers, "must not have more than 3 nameservers")
    for index, server in enumerate(servers):
        out.each(path / "nameservers" @ index, server, ips.legacy_ip(server, old_ips))
    if len(searches) > 32:
        out.invalid(path / "searches", searches, "must not have more than 32 search paths")
    if len(" ".join(searches).encode()) > 2048:
        detail = "must not have more than 2048 characters (including spaces) in the search list"
        out.invalid(path / "searches", searches, detail)
    for index, search in enumerate(searches):
        if search != ".":
            bare = search.removesuffix(".")
            out.each(path / "searches" @ index, bare, _search_problems(bare))
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            out.required(path / "options" @ index, "must not be empty")


def _search_problems(text: str) -> list[str]:
    out = ["must be no more than 253 bytes"] if len(text.encode()) > 253 else []
    if not _UNDERSCORE.fullmatch(text):
        label = "[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?"
        out.append(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-', '_' or '.', and "
            "must start and end with an alphanumeric character or an underscore (e.g. 'example.com', regex used for "
            rf"validation is '{label}(\.{label})*')"
        )
    return out


# -- annotations -------------------------------------------------------------------------------------------------------


def pod_annotations(annotations: dict[str, str], spec: Obj, path: Path, out: ErrorList) -> None:
    if MIRROR in annotations and not spec.get("nodeName"):
        out.invalid(path @ MIRROR, annotations[MIRROR], "must set spec.nodeName if mirror pod annotation is set")
    cost = annotations.get(DELETION_COST)
    if cost is not None and not _is_int32(cost):
        out.invalid(path @ DELETION_COST, cost, "must be a 32bit integer")
    for key, value in sorted(annotations.items()):
        if key == SECCOMP_POD or key.startswith(SECCOMP_CONTAINER):
            _seccomp_name(value, path / key, out)
        elif key.startswith(APP_ARMOR):
            name = key[len(APP_ARMOR) :]
            if all(container.get("name") != name for container, _, _ in each_container(spec)):
                out.invalid(path @ key, name, "container not found")
            if value not in ("", "runtime/default", "unconfined") and not value.startswith("localhost/"):
                out.invalid(path @ key, value, f"invalid AppArmor profile name: {go_quote(value)}")


def _is_int32(text: str) -> bool:
    # as upstream reads it: no plus sign, no leading zeros
    return bool(re.fullmatch("0|-?[1-9][0-9]{0,9}", text)) and -(1 << 31) <= int(text) < 1 << 31


def _seccomp_name(name: str, path: Path, out: ErrorList) -> None:
    if name in ("runtime/default", "docker/default", "unconfined"):
        return
    if name.startswith("localhost/"):
        descending(name.removeprefix("localhost/"), path, out)
    else:
        out.invalid(path, name, "must be a valid seccomp profile")


def has_profiles(annotations: dict[str, str]) -> bool:
    return any(key == SECCOMP_POD or key.startswith((SECCOMP_CONTAINER, APP_ARMOR)) for key in annotations)


def _profiles_match(annotations: dict[str, str], spec: Obj, path: Path, out: ErrorList) -> None:
    """Where an old annotation and its field are both there, they say the same."""
    context = spec.get("securityContext") or {}
    if context.get("seccompProfile") is not None and SECCOMP_POD in annotations:
        here = path / "securityContext" / "seccompProfile"
        _match(annotations[SECCOMP_POD], context["seccompProfile"], here, "seccomp", out)
    for container, kind, index in each_container(spec):
        name, own = container.get("name", ""), container.get("securityContext") or {}
        here = path / kind @ index / "securityContext"
        if own.get("seccompProfile") is not None and SECCOMP_CONTAINER + name in annotations:
            value = annotations[SECCOMP_CONTAINER + name]
            _match(value, own["seccompProfile"], here / "seccompProfile", "seccomp", out)
    if (spec.get("os") or {}).get("name") == "windows":
        return
    for container, kind, index in each_container(spec):
        name, own = container.get("name", ""), container.get("securityContext") or {}
        profile = own.get("appArmorProfile") or context.get("appArmorProfile")
        if profile is not None and APP_ARMOR + name in annotations:
            here = path / kind @ index / "securityContext" / "appArmorProfile"
            _match(annotations[APP_ARMOR + name], profile, here, "apparmor", out)


def _match(value: str, profile: Obj, path: Path, what: str, out: ErrorList) -> None:
    kind = profile.get("type")
    same = {
        "Unconfined": value == "unconfined",
        "RuntimeDefault": value == "runtime/default" or (what == "seccomp" and value == "docker/default"),
        "Localhost": value.startswith("localhost/"),
    }.get(kind or "", True)
    if not same:
        out.forbidden(path / "type", f"{what} type in annotation and field must match")
    elif kind == "Localhost" and value.removeprefix("localhost/") != profile.get("localhostProfile"):
        out.forbidden(path / "localhostProfile", f"{what} profile in annotation and field must match")


def annotation_updates(new: Obj, old: Obj, out: ErrorList) -> None:
    """AppArmor's and the mirror's annotations are for life."""
    after, before = new["metadata"].get("annotations") or {}, old["metadata"].get("annotations") or {}
    for key in sorted({*after, *before}):
        if after.get(key) == before.get(key):
            continue
        verb = "add" if key not in before else "remove or update"
        if key.startswith(APP_ARMOR):
            out.forbidden(ANNOTATIONS @ key, f"may not {verb} AppArmor annotations")
        elif key == MIRROR:
            out.forbidden(ANNOTATIONS @ key, f"may not {verb} mirror pod annotation")
    pod_annotations(after, new["spec"], ANNOTATIONS, out)

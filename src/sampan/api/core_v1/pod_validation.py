"""What a pod spec must be, with upstream's paths, reasons and words.

Source: kubernetes/pkg/apis/core/validation/validation.go (ValidatePodSpec and below)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from sampan.api import names, quantity
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation.meta import (
    validate_annotations,
    validate_label_selector,
    validate_labels,
    validate_nonnegative,
)

PROTOCOLS = ("TCP", "UDP", "SCTP")
PULL_POLICIES = ("Always", "Never", "IfNotPresent")
_HUGE = "hugepages-"
_STANDARD = {"cpu", "memory", "ephemeral-storage", "storage"}
_FIELD_PATHS = {
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP",
    "status.hostIPs", "status.podIP", "status.podIPs",
}  # fmt: skip
_RESOURCE_FIELDS = {
    "limits.cpu", "limits.memory", "limits.ephemeral-storage", "requests.cpu", "requests.memory",
    "requests.ephemeral-storage",
}  # fmt: skip


def validate_pod_template(template: Obj, path: Path) -> ErrorList:
    out = ErrorList()
    meta = template.get("metadata") or {}
    out.extend(validate_labels(meta.get("labels"), path / "labels"))
    out.extend(validate_annotations(meta.get("annotations"), path / "annotations"))
    spec = template.get("spec") or {}
    out.extend(validate_pod_spec(spec, path / "spec"))
    if spec.get("ephemeralContainers"):
        out.forbidden(path / "spec" / "ephemeralContainers", "ephemeral containers not allowed in pod template")
    return out


def validate_pod_spec(spec: Obj, path: Path) -> ErrorList:
    """All errors of a pod spec."""
    out = ErrorList()
    volumes = _volumes(spec.get("volumes") or (), path / "volumes", out)
    _containers(spec, volumes, path, out)
    _one_of(spec.get("restartPolicy"), ("Always", "OnFailure", "Never"), path / "restartPolicy", out)
    _one_of(
        spec.get("dnsPolicy"), ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"), path / "dnsPolicy", out
    )
    selector_path = path / "nodeSelector"
    out.extend(validate_labels(spec.get("nodeSelector"), selector_path))
    _security_context(spec.get("securityContext") or {}, path / "securityContext", out)
    for index, ref in enumerate(spec.get("imagePullSecrets") or ()):
        if not ref.get("name"):
            out.required(path / "imagePullSecrets" @ index / "name", "")
    if spec.get("affinity"):
        _affinity(spec["affinity"], path / "affinity", out)
    _dns_config(spec, path, out)
    for field, problems in (
        ("serviceAccountName", names.is_dns1123_subdomain),
        ("nodeName", names.is_dns1123_subdomain),
        ("priorityClassName", names.is_dns1123_subdomain),
        ("runtimeClassName", names.is_dns1123_subdomain),
        ("hostname", names.is_dns1123_label),
        ("subdomain", names.is_dns1123_label),
    ):
        if spec.get(field):
            for problem in problems(spec[field]):
                out.invalid(path / field, spec[field], problem)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None:
        for problem in names.is_in_range(deadline, 1, 2147483647):
            out.invalid(path / "activeDeadlineSeconds", deadline, problem)
    out.extend(
        validate_nonnegative(spec.get("terminationGracePeriodSeconds", 0), path / "terminationGracePeriodSeconds")
    )
    _tolerations(spec.get("tolerations") or (), path / "tolerations", out)
    _host_aliases(spec.get("hostAliases") or (), path / "hostAliases", out)
    _spread(spec.get("topologySpreadConstraints") or (), path / "topologySpreadConstraints", out)
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        for problem in names.is_qualified_name(gate.get("conditionType", "")):
            out.invalid(path / "readinessGates" @ index / "conditionType", gate.get("conditionType", ""), problem)
    _scheduling_gates(spec.get("schedulingGates") or (), path / "schedulingGates", out)
    policy = spec.get("preemptionPolicy")
    if policy:
        _one_of(policy, ("PreemptLowerPriority", "Never"), path / "preemptionPolicy", out)
    system = spec.get("os")
    if system is not None:
        _one_of(system.get("name"), ("linux", "windows"), path / "os" / "name", out)
    return out


def _one_of(value: Any, allowed: Iterable[str], path: Path, out: ErrorList) -> None:
    if not value:
        out.required(path, "")
    elif value not in allowed:
        out.not_supported(path, value, allowed)


# -- containers --------------------------------------------------------------------------------------------------------


def _containers(spec: Obj, volumes: set[str], path: Path, out: ErrorList) -> None:
    seen: set[str] = set()
    host_ports: set[tuple[str, str, int]] = set()
    listed = spec.get("containers") or []
    if not listed:
        out.required(path / "containers", "")
    for index, container in enumerate(listed):
        here = path / "containers" @ index
        _container(container, volumes, here, out, seen)
        _host_ports(container, host_ports, here, out, bool(spec.get("hostNetwork")))
    for index, container in enumerate(spec.get("initContainers") or ()):
        here = path / "initContainers" @ index
        _container(container, volumes, here, out, seen)
        sidecar = container.get("restartPolicy") == "Always"
        if container.get("restartPolicy") and container["restartPolicy"] not in ("Always", "OnFailure", "Never"):
            out.not_supported(here / "restartPolicy", container["restartPolicy"], ("Always", "Never", "OnFailure"))
        if not sidecar:
            for name in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
                if container.get(name) is not None:
                    out.forbidden(here / name, "may not be set for init containers without restartPolicy=Always")
    for index, container in enumerate(spec.get("ephemeralContainers") or ()):
        here = path / "ephemeralContainers" @ index
        _container(container, volumes, here, out, seen)
        target = container.get("targetContainerName")
        known = {item.get("name") for item in [*listed, *(spec.get("initContainers") or ())]}
        if target and target not in known:
            out.not_found(here / "targetContainerName", target)
        for name in ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle"):
            if container.get(name):
                out.forbidden(here / name, "cannot be set for an Ephemeral Container")


def _container(container: Obj, volumes: set[str], path: Path, out: ErrorList, seen: set[str]) -> None:
    name = container.get("name", "")
    if not name:
        out.required(path / "name", "")
    else:
        for problem in names.is_dns1123_label(name):
            out.invalid(path / "name", name, problem)
        if name in seen:
            out.duplicate(path / "name", name)
        seen.add(name)
    image = container.get("image", "")
    if not image:
        out.required(path / "image", "")
    elif image != image.strip():
        out.invalid(path / "image", image, "must not have leading or trailing whitespace")
    _one_of(container.get("imagePullPolicy"), PULL_POLICIES, path / "imagePullPolicy", out)
    policy = container.get("terminationMessagePolicy")
    _one_of(policy, ("File", "FallbackToLogsOnError"), path / "terminationMessagePolicy", out)
    _ports(container.get("ports") or (), path / "ports", out)
    _env(container.get("env") or (), path / "env", out)
    _env_from(container.get("envFrom") or (), path / "envFrom", out)
    _mounts(container.get("volumeMounts") or (), volumes, path / "volumeMounts", out)
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(name) is not None:
            _probe(container[name], name, path / name, out)
    for name in ("postStart", "preStop"):
        hook = (container.get("lifecycle") or {}).get(name)
        if hook is not None:
            _handler(hook, path / "lifecycle" / name, out)
    _resources(container.get("resources") or {}, path / "resources", out)
    context = container.get("securityContext") or {}
    here = path / "securityContext"
    for name in ("runAsUser", "runAsGroup"):
        _id(context.get(name), here / name, out)
    if context.get("allowPrivilegeEscalation") is False and context.get("privileged"):
        out.invalid(here, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
    _profiles(context, here, out)


def _id(value: int | None, path: Path, out: ErrorList) -> None:
    if value is not None and not 0 <= value <= 2147483647:
        out.invalid(path, value, "must be between 0 and 2147483647, inclusive")


def _profiles(context: Obj, path: Path, out: ErrorList) -> None:
    for name in ("seccompProfile", "appArmorProfile"):
        profile = context.get(name)
        if profile is None:
            continue
        kind, local = profile.get("type"), profile.get("localhostProfile")
        _one_of(kind, ("Localhost", "RuntimeDefault", "Unconfined"), path / name / "type", out)
        if kind == "Localhost" and not local:
            out.required(path / name / "localhostProfile", "must be set when seccomp type is Localhost")
        elif kind != "Localhost" and local:
            out.invalid(path / name / "localhostProfile", local, f"can only be set when {name[:-7]} type is Localhost")


def _security_context(context: Obj, path: Path, out: ErrorList) -> None:
    for name in ("runAsUser", "runAsGroup", "fsGroup"):
        _id(context.get(name), path / name, out)
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        _id(group, path / "supplementalGroups" @ index, out)
    seen: set[str] = set()
    for index, sysctl in enumerate(context.get("sysctls") or ()):
        name = sysctl.get("name", "")
        here = path / "sysctls" @ index / "name"
        if not name:
            out.required(here, "")
        elif not re.fullmatch(r"[a-z0-9]([-_a-z0-9]*[a-z0-9])?([./][a-z0-9]([-_a-z0-9]*[a-z0-9])?)*", name):
            detail = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
            out.invalid(here, name, detail)
        elif name in seen:
            out.duplicate(here, name)
        seen.add(name)
    _profiles(context, path, out)


def _ports(ports: Sequence[Obj], path: Path, out: ErrorList) -> None:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        here = path @ index
        name = port.get("name", "")
        if name:
            problems = names.is_valid_port_name(name)
            for problem in problems:
                out.invalid(here / "name", name, problem)
            if not problems and name in seen:
                out.duplicate(here / "name", name)
            seen.add(name)
        if not port.get("containerPort"):
            out.required(here / "containerPort", "")
        else:
            for problem in names.is_valid_port_num(port["containerPort"]):
                out.invalid(here / "containerPort", port["containerPort"], problem)
        if port.get("hostPort"):
            for problem in names.is_valid_port_num(port["hostPort"]):
                out.invalid(here / "hostPort", port["hostPort"], problem)
        _one_of(port.get("protocol"), PROTOCOLS, here / "protocol", out)
        if port.get("hostIP"):
            for problem in names.is_ip(port["hostIP"]):
                out.invalid(here / "hostIP", port["hostIP"], problem)


def _host_ports(container: Obj, taken: set[tuple[str, str, int]], path: Path, out: ErrorList, on_host: bool) -> None:
    for index, port in enumerate(container.get("ports") or ()):
        number = port.get("hostPort", 0)
        here = path / "ports" @ index
        if on_host and number and number != port.get("containerPort"):
            out.invalid(
                here / "containerPort", port.get("containerPort"), "must match `hostPort` when `hostNetwork` is true"
            )
        if not number:
            continue
        key = (port.get("protocol", ""), port.get("hostIP", ""), number)
        if key in taken:
            out.duplicate(here / "hostPort", f"{key[1]}/{key[0]}/{number}" if key[1] else f"/{key[0]}/{number}")
        taken.add(key)


def _env(env: Sequence[Obj], path: Path, out: ErrorList) -> None:
    for index, item in enumerate(env):
        here = path @ index
        name = item.get("name", "")
        if not name:
            out.required(here / "name", "")
        else:
            for problem in names.is_env_var_name(name):
                out.invalid(here / "name", name, problem)
        source = item.get("valueFrom")
        if source is None:
            continue
        given = [
            key
            for key in ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
            if source.get(key)
        ]
        where = here / "valueFrom"
        if item.get("value"):
            out.invalid(where, "", "may not be specified when `value` is not empty")
        elif len(given) != 1:
            detail = (
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
                if not given
                else "may not have more than one field specified at a time"
            )
            out.invalid(where, "", detail)
        for key in ("configMapKeyRef", "secretKeyRef"):
            if source.get(key) is not None:
                _key_ref(source[key], where / key, out)
        if source.get("fieldRef") is not None:
            _field_ref(source["fieldRef"], where / "fieldRef", out)
        if source.get("resourceFieldRef") is not None:
            _resource_ref(source["resourceFieldRef"], where / "resourceFieldRef", out)


def _key_ref(ref: Obj, path: Path, out: ErrorList) -> None:
    if not ref.get("name"):
        out.required(path / "name", "")
    if not ref.get("key"):
        out.required(path / "key", "")
    else:
        for problem in names.is_config_map_key(ref["key"]):
            out.invalid(path / "key", ref["key"], problem)


def _field_ref(ref: Obj, path: Path, out: ErrorList) -> None:
    field = ref.get("fieldPath", "")
    if not field:
        out.required(path / "fieldPath", "")
        return
    subscript = re.fullmatch(r"metadata\.(annotations|labels)\['(.*)'\]", field)
    if subscript:
        for problem in names.is_qualified_name(subscript[2].lower()):
            out.invalid(path, subscript[2], problem)
    elif field not in _FIELD_PATHS:
        if field in ("metadata.labels", "metadata.annotations"):
            out.not_supported(path / "fieldPath", field, _FIELD_PATHS)
        else:
            out.invalid(path / "fieldPath", field, f"error converting fieldPath: field label not supported: {field}")


def _resource_ref(ref: Obj, path: Path, out: ErrorList) -> None:
    resource = ref.get("resource", "")
    if not resource:
        out.required(path / "resource", "")
    elif resource not in _RESOURCE_FIELDS and not resource.startswith(("limits.hugepages-", "requests.hugepages-")):
        out.not_supported(path / "resource", resource, _RESOURCE_FIELDS)


def _env_from(sources: Sequence[Obj], path: Path, out: ErrorList) -> None:
    for index, source in enumerate(sources):
        here = path @ index
        if source.get("prefix"):
            for problem in names.is_env_var_name(source["prefix"]):
                out.invalid(here / "prefix", source["prefix"], problem)
        given = [key for key in ("configMapRef", "secretRef") if source.get(key) is not None]
        if not given:
            out.invalid(here, "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(given) > 1:
            out.invalid(here, "", "may not have more than one field specified at a time")
        for key in given:
            if not source[key].get("name"):
                out.required(here / key / "name", "")


def _mounts(mounts: Sequence[Obj], volumes: set[str], path: Path, out: ErrorList) -> None:
    taken: set[str] = set()
    for index, mount in enumerate(mounts):
        here = path @ index
        name = mount.get("name", "")
        if not name:
            out.required(here / "name", "")
        elif name not in volumes:
            out.not_found(here / "name", name)
        where = mount.get("mountPath", "")
        if not where:
            out.required(here / "mountPath", "")
        if where in taken:
            out.invalid(here / "mountPath", where, "must be unique")
        taken.add(where)
        sub = mount.get("subPath", "")
        if sub:
            _local_path(sub, here / "subPath", out)
        if sub and mount.get("subPathExpr"):
            out.invalid(here / "subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive")


def _local_path(text: str, path: Path, out: ErrorList) -> None:
    if text.startswith("/"):
        out.invalid(path, text, "must be a relative path")
    if ".." in text.split("/"):
        out.invalid(path, text, "must not contain '..'")


_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


def _handler(handler: Obj, path: Path, out: ErrorList) -> None:
    given = [name for name in _HANDLERS if handler.get(name) is not None]
    if not given:
        out.required(path, "must specify a handler type")
    for name in given[1:]:
        out.forbidden(path / name, "may not specify more than 1 handler type")
    if not given:
        return
    action = handler[given[0]]
    here = path / given[0]
    if given[0] == "exec" and not action.get("command"):
        out.required(here / "command", "")
    elif given[0] == "httpGet":
        if not action.get("path"):
            out.required(here / "path", "")
        _port(action.get("port"), here / "port", out)
        if action.get("scheme") not in ("HTTP", "HTTPS"):
            out.not_supported(here / "scheme", action.get("scheme", ""), ("HTTP", "HTTPS"))
        for header in action.get("httpHeaders") or ():
            for problem in names.is_http_header_name(header.get("name", "")):
                out.invalid(here / "httpHeaders", header.get("name", ""), problem)
    elif given[0] in ("tcpSocket", "grpc"):
        _port(action.get("port"), here / "port", out)


def _port(port: int | str | None, path: Path, out: ErrorList) -> None:
    if isinstance(port, str):
        for problem in names.is_valid_port_name(port):
            out.invalid(path, port, problem)
    else:
        for problem in names.is_valid_port_num(port or 0):
            out.invalid(path, port or 0, problem)


def _probe(probe: Obj, name: str, path: Path, out: ErrorList) -> None:
    _handler(probe, path, out)
    for field in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        out.extend(validate_nonnegative(probe.get(field, 0), path / field))
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        out.invalid(path / "terminationGracePeriodSeconds", grace, "must be greater than 0")
    if name != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        out.invalid(path / "successThreshold", probe["successThreshold"], "must be 1")
    if name == "readinessProbe" and grace is not None:
        out.invalid(path / "terminationGracePeriodSeconds", grace, "must not be set for readinessProbes")


def _resources(resources: Obj, path: Path, out: ErrorList) -> None:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in sorted(amounts.items()):
            here = path / kind @ name
            for problem in names.is_qualified_name(name):
                out.invalid(path / kind, name, problem)
            if "/" not in name and name not in _STANDARD and not name.startswith(_HUGE):
                out.invalid(path / kind, name, "must be a standard resource type or fully qualified")
                out.invalid(path / kind, name, "must be a standard resource for containers")
            if quantity.parse(amount) < 0:
                out.invalid(here, amount, "must be greater than or equal to 0")
            if ("/" in name or name.startswith(_HUGE)) and quantity.parse(amount).denominator != 1:
                out.invalid(here, amount, "must be an integer")
    for name, amount in sorted(requests.items()):
        limit = limits.get(name)
        if limit is not None:
            fixed = ("/" in name and not name.startswith("kubernetes.io/")) or name.startswith(_HUGE)
            if fixed and quantity.compare(amount, limit) != 0:
                out.invalid(path / "requests", amount, f"must be equal to {name} limit of {limit}")
            elif quantity.compare(amount, limit) > 0:
                out.invalid(path / "requests", amount, f"must be less than or equal to {name} limit of {limit}")
        elif "/" in name and not name.startswith("kubernetes.io/"):
            out.required(path / "limits", "Limit must be set for non overcommitable resources")


# -- volumes -----------------------------------------------------------------------------------------------------------


def _volumes(volumes: Sequence[Obj], path: Path, out: ErrorList) -> set[str]:
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        here = path @ index
        name = volume.get("name", "")
        if not name:
            out.required(here / "name", "")
        else:
            for problem in names.is_dns1123_label(name):
                out.invalid(here / "name", name, problem)
            if name in seen:
                out.duplicate(here / "name", name)
            seen.add(name)
        sources = [key for key in volume if key != "name"]
        if not sources:
            out.required(here, "must specify a volume type")
        for extra in sources[1:]:
            out.forbidden(here / extra, "may not specify more than 1 volume type")
        if sources:
            _volume_source(sources[0], volume[sources[0]], here / sources[0], out)
    return seen


def _volume_source(kind: str, source: Obj, path: Path, out: ErrorList) -> None:
    required = {
        "hostPath": "path", "nfs": "server", "secret": "secretName", "configMap": "name", "csi": "driver",
        "persistentVolumeClaim": "claimName", "image": "reference",
    }.get(kind)  # fmt: skip
    if required and not source.get(required):
        out.required(path / required, "")
    if kind == "emptyDir" and source.get("sizeLimit") is not None and quantity.parse(source["sizeLimit"]) < 0:
        out.forbidden(path / "sizeLimit", "SizeLimit field must be a valid resource quantity")
    if kind == "hostPath":
        if ".." in source.get("path", "").split("/"):
            out.invalid(path / "path", source["path"], "must not contain '..'")
        allowed = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")
        if source.get("type") not in (None, *allowed):
            out.not_supported(path / "type", source["type"], allowed)
    mode = source.get("defaultMode")
    if mode is not None and not 0 <= mode <= 0o777:
        out.invalid(path / "defaultMode", mode, "must be a number between 0 and 0777 (octal), both inclusive")
    if kind == "nfs" and source.get("path") and not source["path"].startswith("/"):
        out.invalid(path / "path", source["path"], "must be an absolute path")
    if kind in ("secret", "configMap"):
        _key_paths(source.get("items") or (), path / "items", out)


def _key_paths(items: Sequence[Obj], path: Path, out: ErrorList) -> None:
    for index, item in enumerate(items):
        if not item.get("key"):
            out.required(path @ index / "key", "")
        if not item.get("path"):
            out.required(path @ index / "path", "")
        else:
            _local_path(item["path"], path @ index / "path", out)


# -- placement ---------------------------------------------------------------------------------------------------------


def _affinity(affinity: Obj, path: Path, out: ErrorList) -> None:
    node = affinity.get("nodeAffinity") or {}
    required = node.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is not None:
        here = path / "nodeAffinity" / "requiredDuringSchedulingIgnoredDuringExecution" / "nodeSelectorTerms"
        terms = required.get("nodeSelectorTerms") or []
        if not terms:
            out.required(here, "must have at least one node selector term")
        for index, term in enumerate(terms):
            _node_term(term, here @ index, out)
    for index, term in enumerate(node.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
        here = path / "nodeAffinity" / "preferredDuringSchedulingIgnoredDuringExecution" @ index
        _weight(term, here, out)
        _node_term(term.get("preference") or {}, here / "preference", out)
    for kind in ("podAffinity", "podAntiAffinity"):
        group = affinity.get(kind) or {}
        for index, term in enumerate(group.get("requiredDuringSchedulingIgnoredDuringExecution") or ()):
            _pod_term(term, path / kind / "requiredDuringSchedulingIgnoredDuringExecution" @ index, out)
        for index, term in enumerate(group.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
            here = path / kind / "preferredDuringSchedulingIgnoredDuringExecution" @ index
            _weight(term, here, out)
            _pod_term(term.get("podAffinityTerm") or {}, here / "podAffinityTerm", out)


def _weight(term: Obj, path: Path, out: ErrorList) -> None:
    if not 1 <= term.get("weight", 0) <= 100:
        out.invalid(path / "weight", term.get("weight", 0), "must be in the range 1-100")


def _node_term(term: Obj, path: Path, out: ErrorList) -> None:
    for index, item in enumerate(term.get("matchExpressions") or ()):
        here = path / "matchExpressions" @ index
        operator, values = item.get("operator", ""), item.get("values") or []
        if operator in ("In", "NotIn") and not values:
            out.required(here / "values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist") and values:
            out.forbidden(here / "values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        elif operator in ("Gt", "Lt") and len(values) != 1:
            out.required(here / "values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
        elif operator not in ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"):
            out.invalid(here / "operator", operator, "not a valid selector operator")
        for problem in names.is_qualified_name(item.get("key", "")):
            out.invalid(here / "key", item.get("key", ""), problem)


def _pod_term(term: Obj, path: Path, out: ErrorList) -> None:
    out.extend(validate_label_selector(term.get("labelSelector"), path / "labelSelector"))
    out.extend(validate_label_selector(term.get("namespaceSelector"), path / "namespaceSelector"))
    for index, namespace in enumerate(term.get("namespaces") or ()):
        for problem in names.is_dns1123_label(namespace):
            out.invalid(path / "namespace" @ index, namespace, problem)
    if not term.get("topologyKey"):
        out.required(path / "topologyKey", "can not be empty")
    else:
        for problem in names.is_qualified_name(term["topologyKey"]):
            out.invalid(path / "topologyKey", term["topologyKey"], problem)


def _tolerations(tolerations: Sequence[Obj], path: Path, out: ErrorList) -> None:
    for index, item in enumerate(tolerations):
        here = path @ index
        key, operator, effect = item.get("key", ""), item.get("operator", ""), item.get("effect", "")
        if key:
            for problem in names.is_qualified_name(key):
                out.invalid(here / "key", key, problem)
        elif operator != "Exists":
            out.invalid(
                here / "operator",
                operator,
                'operator must be Exists when `key` is empty, which means "match all values and all keys"',
            )
        if item.get("tolerationSeconds") is not None and effect != "NoExecute":
            out.invalid(here / "effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
        if operator in ("Equal", ""):
            for problem in names.is_valid_label_value(item.get("value", "")):
                out.invalid(here / "operator", item.get("value", ""), problem)
        elif operator == "Exists":
            if item.get("value"):
                out.invalid(here / "operator", item["value"], "value must be empty when `operator` is 'Exists'")
        elif operator not in ("Lt", "Gt"):
            out.not_supported(here / "operator", operator, ("Equal", "Exists"))
        if effect not in ("", "NoSchedule", "PreferNoSchedule", "NoExecute"):
            out.not_supported(here / "effect", effect, ("NoSchedule", "PreferNoSchedule", "NoExecute"))


def _host_aliases(aliases: Sequence[Obj], path: Path, out: ErrorList) -> None:
    for index, alias in enumerate(aliases):
        for problem in names.is_ip(alias.get("ip", "")):
            out.invalid(path @ index / "ip", alias.get("ip", ""), problem)
        for host in alias.get("hostnames") or ():
            for problem in names.is_dns1123_subdomain(host):
                out.invalid(path / "hostnames", host, problem)


def _spread(constraints: Sequence[Obj], path: Path, out: ErrorList) -> None:
    seen: set[tuple[str, str]] = set()
    for index, item in enumerate(constraints):
        here = path @ index
        if item.get("maxSkew", 0) <= 0:
            out.invalid(here / "maxSkew", item.get("maxSkew", 0), "must be greater than zero")
        key, action = item.get("topologyKey", ""), item.get("whenUnsatisfiable", "")
        if not key:
            out.required(here / "topologyKey", "can not be empty")
        else:
            for problem in names.is_qualified_name(key):
                out.invalid(here / "topologyKey", key, problem)
        if action not in ("DoNotSchedule", "ScheduleAnyway"):
            out.not_supported(here / "whenUnsatisfiable", action, ("DoNotSchedule", "ScheduleAnyway"))
        if (key, action) in seen:
            out.duplicate(here / "{topologyKey, whenUnsatisfiable}", f"{{{key}, {action}}}")
        seen.add((key, action))
        minimum = item.get("minDomains")
        if minimum is not None:
            if minimum <= 0:
                out.invalid(here / "minDomains", minimum, "must be greater than zero")
            if action != "DoNotSchedule":
                out.invalid(
                    here / "minDomains",
                    minimum,
                    f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}",
                )
        out.extend(validate_label_selector(item.get("labelSelector"), here / "labelSelector"))


def _scheduling_gates(gates: Sequence[Obj], path: Path, out: ErrorList) -> None:
    seen: set[str] = set()
    for index, gate in enumerate(gates):
        name = gate.get("name", "")
        for problem in names.is_qualified_name(name):
            out.invalid(path @ index, name, problem)
        if name in seen:
            out.duplicate(path @ index, name)
        seen.add(name)


def _dns_config(spec: Obj, path: Path, out: ErrorList) -> None:
    config = spec.get("dnsConfig")
    here = path / "dnsConfig"
    if spec.get("dnsPolicy") == "None":
        if config is None:
            out.required(here, "must provide `dnsConfig` when `dnsPolicy` is None")
            return
        if not config.get("nameservers"):
            out.required(here / "nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None")
    if config is None:
        return
    servers = config.get("nameservers") or []
    if len(servers) > 3:
        out.invalid(here / "nameservers", servers, "must not have more than 3 nameservers")
    for index, server in enumerate(servers):
        for problem in names.is_ip(server):
            out.invalid(here / "nameservers" @ index, server, problem)
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            out.required(here / "options" @ index, "must not be empty")

"""Environment variables, and where their values come from.

Source: kubernetes/pkg/apis/core/validation/validation.go (ValidateEnv, ValidateEnvFrom),
pkg/apis/core/pods/helpers.go (ConvertDownwardAPIFieldLabel)
"""

from __future__ import annotations

from collections.abc import Sequence

from sampan.api import names, quantity
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation.paths import no_backsteps

ENV_FIELDS = frozenset({
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP",
    "status.hostIPs", "status.podIP", "status.podIPs",
})  # fmt: skip
VOLUME_FIELDS = frozenset({
    "metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid",
})  # fmt: skip
_CONVERTIBLE = ENV_FIELDS | VOLUME_FIELDS | {"spec.restartPolicy", "spec.schedulerName", "status.phase"}
RESOURCE_FIELDS = frozenset({
    "limits.cpu", "limits.memory", "limits.ephemeral-storage", "requests.cpu", "requests.memory",
    "requests.ephemeral-storage",
})  # fmt: skip
_HUGE = ("limits.hugepages-", "requests.hugepages-")
_SIZES = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
#: of which resource, the divisors it takes, and what it is called
_DIVISORS = (
    (("limits.cpu", "requests.cpu"), ("1m", "1"), "1m and 1", "cpu"),
    (("limits.memory", "requests.memory"), _SIZES, ", ".join(_SIZES), "memory"),
    (("limits.ephemeral-storage", "requests.ephemeral-storage"), _SIZES, ", ".join(_SIZES), "local ephemeral storage"),
    (_HUGE, _SIZES, ", ".join(_SIZES), "hugepages"),
)


def env(variables: Sequence[Obj], path: Path, out: ErrorList) -> bool:
    """Whether one of them comes from a file."""
    files = False
    for index, item in enumerate(variables):
        name = item.get("name", "")
        if not name:
            out.required(path @ index / "name", "")
        elif problems := names.is_env_var_name(name):
            out.each(path @ index / "name", name, problems)
        source = item.get("valueFrom")
        if source is not None:
            files = _value_from(item, source, path, index, out) or files
    return files


def _value_from(item: Obj, source: Obj, listed: Path, index: int, out: ErrorList) -> bool:
    count = 0
    path = listed @ index / "valueFrom"
    for kind, what in source.items():
        if what is None:
            continue
        count += 1
        if kind == "fieldRef":
            object_field(what, ENV_FIELDS, path / kind, out)
        elif kind == "resourceFieldRef":
            resource_field(what, path / kind, out, volume=False)
        elif kind == "fileKeyRef":
            _file_key(what, path / kind, out)
        else:
            _key(what, path / kind, out)
    if not count:
        detail = (
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        )
        out.invalid(path, "", detail)
    elif item.get("value"):
        out.invalid(path, "", "may not be specified when `value` is not empty")
    elif count > 1:
        out.invalid(path, "", "may not have more than one field specified at a time")
    return source.get("fileKeyRef") is not None


def _key(ref: Obj, path: Path, out: ErrorList) -> None:
    name, key = ref.get("name", ""), ref.get("key", "")
    if problems := names.is_dns1123_subdomain(name):
        out.each(path / "name", name, problems)
    if not key:
        out.required(path / "key", "")
    elif problems := names.is_config_map_key(key):
        out.each(path / "key", key, problems)


def _file_key(ref: Obj, path: Path, out: ErrorList) -> None:
    for field, check in (("key", names.is_env_var_name), ("volumeName", names.is_dns1123_label)):
        if not ref.get(field):
            out.required(path / field, "")
        else:
            out.each(path / field, ref[field], check(ref[field]))
    if not ref.get("path"):
        out.required(path / "path", "")
    else:
        no_backsteps(ref["path"], path / "path", out)


def object_field(ref: Obj, allowed: frozenset[str], path: Path, out: ErrorList) -> None:
    """A field of the pod that it may see of itself."""
    version, field = ref.get("apiVersion", ""), ref.get("fieldPath", "")
    if version == "v1" and field in allowed:
        return
    if not version:
        out.required(path / "apiVersion", "")
        return
    if not field:
        out.required(path / "fieldPath", "")
        return
    root, bracket, rest = field.partition("['") if field.endswith("']") else (field, "", "")
    subscripted = bool(bracket and root)
    if version != "v1":
        wrong = f"unsupported pod version: {version}"
    elif subscripted and root not in ("metadata.annotations", "metadata.labels"):
        wrong = f"field label does not support subscript: {field}"
    elif not subscripted and field != "spec.host" and field not in _CONVERTIBLE:
        wrong = f"field label not supported: {field}"
    else:
        wrong = ""
    if wrong:
        out.invalid(path / "fieldPath", field, f"error converting fieldPath: {wrong}")
    elif subscripted:
        key = rest[:-2]
        key = key.lower() if root == "metadata.annotations" else key
        out.each(path, key, names.is_qualified_name(key))
    else:
        field = "spec.nodeName" if field == "spec.host" else field
        if field not in allowed:
            out.not_supported(path / "fieldPath", field, allowed)


def resource_field(ref: Obj, path: Path, out: ErrorList, *, volume: bool) -> None:
    """An amount of a container's resources, and the unit it is told in."""
    resource = ref.get("resource", "")
    if volume and not ref.get("containerName"):
        out.required(path / "containerName", "")
    elif not resource:
        out.required(path / "resource", "")
    elif resource not in RESOURCE_FIELDS and not resource.startswith(_HUGE):
        out.not_supported(path / "resource", resource, RESOURCE_FIELDS)
    divisor = ref.get("divisor")
    if divisor is None or quantity.parse(divisor) == 0:
        return
    for resources, allowed, listed, shown in _DIVISORS:
        if (resource in resources or (shown == "hugepages" and resource.startswith(_HUGE))) and divisor not in allowed:
            detail = f"only divisor's values {listed} are supported with the {shown} resource"
            out.invalid(path / "divisor", resource, detail)


def env_from(sources: Sequence[Obj], path: Path, out: ErrorList) -> None:
    for index, source in enumerate(sources):
        if source.get("prefix"):
            out.each(path @ index / "prefix", source["prefix"], names.is_env_var_name(source["prefix"]))
        count = 0
        for kind in ("configMapRef", "secretRef"):
            ref = source.get(kind)
            if ref is None:
                continue
            count += 1
            if not ref.get("name"):
                out.required(path @ index / kind / "name", "")
            else:
                out.each(path @ index / kind / "name", ref["name"], names.is_dns1123_subdomain(ref["name"]))
        # at the list, not at its item: upstream's slip
        if not count:
            out.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
        elif count > 1:
            out.invalid(path, "", "may not have more than one field specified at a time")

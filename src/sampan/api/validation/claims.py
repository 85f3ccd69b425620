"""Claims of storage: of themselves, and in templates.

Source: kubernetes/pkg/apis/core/validation/validation.go (ValidatePersistentVolumeClaimSpec,
ValidatePersistentVolumeClaimTemplate)
"""

from __future__ import annotations

from sampan.api import names, quantity
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation.diff import difference
from sampan.api.validation.meta import IMMUTABLE, validate_annotations, validate_label_selector, validate_labels
from sampan.api.validation.resources import basic_resource, positive_quantity

MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")


def access_modes(modes: list[str], path: Path, out: ErrorList) -> None:
    for mode in modes:
        if mode not in MODES:
            out.not_supported(path, mode, frozenset(MODES))
    if "ReadWriteOncePod" in modes and any(mode in MODES and mode != "ReadWriteOncePod" for mode in modes):
        out.forbidden(path, "may not use ReadWriteOncePod with other access modes")


def claim_spec(spec: Obj, path: Path, out: ErrorList) -> None:
    modes = spec.get("accessModes") or []
    if not modes:
        out.required(path / "accessModes", "at least 1 access mode is required")
    out.extend(validate_label_selector(spec.get("selector"), path / "selector"))
    access_modes(modes, path / "accessModes", out)
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if storage is None:
        out.required(path / "resources" @ "storage", "")
    else:
        positive_quantity(storage, path / "resources" @ "storage", out)
    for field in ("storageClassName", "volumeAttributesClassName"):
        if spec.get(field):
            out.each(path / field, spec[field], names.is_dns1123_subdomain(spec[field]))
    if spec.get("volumeMode") is not None and spec["volumeMode"] not in VOLUME_MODES:
        out.not_supported(path / "volumeMode", spec["volumeMode"], VOLUME_MODES)
    _data_sources(spec, path, out)


def _data_sources(spec: Obj, path: Path, out: ErrorList) -> None:
    source, ref = spec.get("dataSource"), spec.get("dataSourceRef")
    for field, what in (("dataSource", source), ("dataSourceRef", ref)):
        if what is not None:
            _data_source(what, path / field, out)
    if ref is None or source is None:
        return
    if ref.get("namespace"):
        out.invalid(path, str(path / "dataSource"), "may not be specified when dataSourceRef.namespace is specified")
    elif any(source.get(name) != ref.get(name) for name in ("apiGroup", "kind", "name")):
        out.invalid(path, str(path / "dataSource"), "must match dataSourceRef")


def _data_source(source: Obj, path: Path, out: ErrorList) -> None:
    group, kind = source.get("apiGroup") or "", source.get("kind", "")
    for name in ("name", "kind"):
        if not source.get(name):
            out.required(path / name, "")
    if not group and kind != "PersistentVolumeClaim":
        out.invalid(path, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup")
    if group:
        out.each(path / "apiGroup", group, names.is_dns1123_subdomain(group))
    if source.get("namespace"):
        out.each(path / "namespace", source["namespace"], names.is_dns1123_label(source["namespace"]))


def template_meta(meta: Obj, path: Path, out: ErrorList) -> None:
    """Labels and annotations, and no more, are taken from such a template."""
    out.extend(validate_annotations(meta.get("annotations"), path / "annotations"))
    out.extend(validate_labels(meta.get("labels"), path / "labels"))
    for name in meta:
        if name not in ("annotations", "labels") and meta[name] not in (None, "", 0, [], {}):
            out.forbidden(path / name, "cannot be set")


def claim_template(template: Obj, path: Path, out: ErrorList) -> None:
    template_meta(template.get("metadata") or {}, path / "metadata", out)
    claim_spec(template.get("spec") or {}, path / "spec", out)


# -- changes -----------------------------------------------------------------------------------------------------------

BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
FIXED = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
RESIZE = (
    "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizePending", "NodeResizeInProgress",
    "NodeResizeInfeasible",
)  # fmt: skip


def _size(spec: Obj) -> str | None:
    amount: str | None = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    return amount


def _with_size(spec: Obj, amount: str | None) -> Obj:
    resources = dict(spec.get("resources") or {})
    requests = dict(resources.get("requests") or {})
    requests.pop("storage", None)
    if amount is not None:
        requests["storage"] = amount
    return {**spec, "resources": {**resources, "requests": requests}}


def claim_update(obj: Obj, old: Obj, out: ErrorList) -> None:
    new, was, path = obj["spec"], dict(old["spec"]), Path("spec")
    bound = (old.get("status") or {}).get("phase") == "Bound"
    masked = dict(new)
    if not was.get("volumeName"):
        # binding sets it, once
        was["volumeName"] = new.get("volumeName", "")
        masked["volumeName"] = new.get("volumeName", "")
    _storage_class(obj, old, masked, was)
    if bound:
        masked = _with_size(masked, _size(was))
        was = _with_size(was, _size(was))
        if new.get("volumeAttributesClassName") is not None:
            masked["volumeAttributesClassName"] = was["volumeAttributesClassName"] = new["volumeAttributesClassName"]
    if masked != was:
        out.forbidden(path, f"{FIXED}\n{difference(was, masked)}")
    _smaller(obj, old, out)
    before = (old["metadata"].get("annotations") or {}).get(BETA_CLASS)
    after = (obj["metadata"].get("annotations") or {}).get(BETA_CLASS)
    if (after or "") != (before or ""):
        out.invalid(Path("metadata", "annotations") @ BETA_CLASS, after or "", IMMUTABLE)
    if new.get("volumeMode") != old["spec"].get("volumeMode"):
        out.invalid(Path("volumeMode"), new.get("volumeMode"), IMMUTABLE)
    name, had = new.get("volumeAttributesClassName"), old["spec"].get("volumeAttributesClassName")
    if had is not None and name is None:
        out.forbidden(path / "volumeAttributesClassName", "update from non-nil value to nil is forbidden")
    elif had and name == "":
        out.forbidden(path / "volumeAttributesClassName", "update from non-nil value to an empty string is forbidden")


def _storage_class(obj: Obj, old: Obj, masked: Obj, was: Obj) -> None:
    """A class may be named later, by an unbound claim that asked for the default one, or had it in the annotation."""
    if was.get("storageClassName") is not None or masked.get("storageClassName") is None:
        return
    annotated = (old["metadata"].get("annotations") or {}).get(BETA_CLASS)
    if annotated is None or annotated == masked["storageClassName"]:
        was["storageClassName"] = masked["storageClassName"]


def _smaller(obj: Obj, old: Obj, out: ErrorList) -> None:
    now, before = _size(obj["spec"]), _size(old["spec"])
    has = ((old.get("status") or {}).get("capacity") or {}).get("storage")
    if now is None or before is None or quantity.compare(now, before) >= 0:
        return
    # what could not be had may be given up
    if has is None or quantity.compare(now, has) <= 0:
        out.forbidden(Path("spec", "resources", "requests", "storage"), "field can not be less than status.capacity")


def claim_status(obj: Obj, out: ErrorList) -> None:
    status, here = obj.get("status") or {}, Path("status")
    if not obj["spec"].get("accessModes"):
        out.required(Path("Spec", "accessModes"), "")
    for field in ("capacity", "allocatedResources"):
        for name, amount in (status.get(field) or {}).items():
            if field == "capacity":
                basic_resource(amount, here / field @ name, out)
            else:
                _allocated_name(name, here / field, out)
                basic_resource(amount, here / field @ name, out)
    for name, state in (status.get("allocatedResourceStatuses") or {}).items():
        _allocated_name(name, here / "allocatedResourceStatus", out)
        if state not in RESIZE:
            out.not_supported(here / "allocatedResourceStatus", state, frozenset(RESIZE))


def _allocated_name(name: str, path: Path, out: ErrorList) -> None:
    problems = names.is_qualified_name(name)
    out.each(path, name, problems)
    if not problems and name != "storage" and ("/" not in name or name.startswith("kubernetes.io/")):
        out.not_supported(path, name, ("storage",))

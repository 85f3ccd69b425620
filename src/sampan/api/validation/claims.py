"""Claims of storage: of themselves, and in templates.

Source: kubernetes/pkg/apis/core/validation/validation.go (ValidatePersistentVolumeClaimSpec,
ValidatePersistentVolumeClaimTemplate)
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation.meta import validate_annotations, validate_label_selector, validate_labels
from sampan.api.validation.resources import positive_quantity

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

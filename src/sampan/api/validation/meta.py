"""Metadata: the rules for names, labels, annotations, owners and finalizers of every kind.

Source: k8s.io/apimachinery/pkg/api/validation/{objectmeta,generic}.go, pkg/apis/meta/v1/validation
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj

IMMUTABLE = "field is immutable"
IMMUTABLES = (
    "name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
)  # fmt: skip
MAX_ANNOTATIONS = 256 * 1024
FINALIZERS = {"orphan", "foregroundDeletion", "kubernetes"}
ValidateName = Callable[[str, bool], Sequence[str]]


def validate_object_meta(meta: Obj, namespaced: bool, validate_name: ValidateName, path: Path) -> ErrorList:
    """Errors of a new object's metadata."""
    out = ErrorList()
    generate, name = meta.get("generateName", ""), meta.get("name", "")
    if generate:
        for problem in validate_name(generate, True):
            out.invalid(path / "generateName", generate, problem)
    if not name:
        out.required(path / "name", "name or generateName is required")
    else:
        for problem in [*names.path_segment_name(name), *validate_name(name, False)]:
            out.invalid(path / "name", name, problem)
    namespace = meta.get("namespace", "")
    if namespaced and not namespace:
        out.required(path / "namespace", "")
    elif namespaced:
        for problem in names.is_dns1123_label(namespace):
            out.invalid(path / "namespace", namespace, problem)
    elif namespace:
        out.forbidden(path / "namespace", "not allowed on this type")
    _common(meta, path, out)
    return out


def _common(meta: Obj, path: Path, out: ErrorList) -> None:
    # most have but some of these, and paths are made of what is wrong alone
    if meta.get("generation", 0) < 0:
        out.invalid(path / "generation", meta["generation"], "must be greater than or equal to 0")
    if meta.get("labels"):
        out.extend(validate_labels(meta["labels"], path / "labels"))
    if meta.get("annotations"):
        out.extend(validate_annotations(meta["annotations"], path / "annotations"))
    if meta.get("ownerReferences"):
        _owners(meta["ownerReferences"], path / "ownerReferences", out)
    if meta.get("finalizers"):
        _finalizers(meta["finalizers"], path / "finalizers", out)
    if meta.get("managedFields"):
        _managed(meta["managedFields"], path / "managedFields", out)


def validate_labels(labels: dict[str, str] | None, path: Path) -> ErrorList:
    out = ErrorList()
    for key, value in sorted((labels or {}).items()):
        for problem in names.is_qualified_name(key):
            out.invalid(path, key, problem)
        for problem in names.is_valid_label_value(value):
            out.invalid(path, value, problem)
    return out


def validate_annotations(annotations: dict[str, str] | None, path: Path) -> ErrorList:
    out = ErrorList()
    total = 0
    for key, value in sorted((annotations or {}).items()):
        for problem in names.is_qualified_name(key.lower()):
            out.invalid(path, key, problem)
        total += len(key.encode()) + len(value.encode())
    if total > MAX_ANNOTATIONS:
        out.too_long(path, MAX_ANNOTATIONS)
    return out


def _owners(owners: Sequence[Obj], path: Path, out: ErrorList) -> None:
    controller = ""
    for index, owner in enumerate(owners):
        version = owner.get("apiVersion", "")
        here = path @ index
        if not version or version.count("/") > 1 or version.endswith("/"):
            out.invalid(here / "apiVersion", version, "version must not be empty")
        if not owner.get("kind"):
            out.invalid(here / "kind", "", "must not be empty")
        if not owner.get("name"):
            out.invalid(here / "name", "", "must not be empty")
        if not owner.get("uid"):
            out.invalid(here / "uid", "", "must not be empty")
        if version == "v1" and owner.get("kind") == "Event":
            out.invalid(here, owner, "/v1, Kind=Event is disallowed from being an owner")
        if owner.get("controller"):
            this = owner.get("name", "")
            if controller:
                detail = f'Only one reference can have Controller set to true. Found "true" in references for {controller} and {this}'
                out.invalid(path, list(owners), detail)
            controller = controller or this


def _finalizers(finalizers: Sequence[str], path: Path, out: ErrorList) -> None:
    for index, name in enumerate(finalizers):
        for problem in names.is_qualified_name(name):
            out.invalid(path, name, problem)
        if "/" not in name and name not in FINALIZERS:
            out.invalid(path @ index, name, "name is neither a standard finalizer name nor is it fully qualified")
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        detail = "finalizer foregroundDeletion and orphan cannot be both set"
        out.invalid(path, "orphan", detail)


def _managed(entries: Sequence[Obj], path: Path, out: ErrorList) -> None:
    for index, entry in enumerate(entries):
        operation, form, manager = entry.get("operation"), entry.get("fieldsType", ""), entry.get("manager", "")
        if operation not in ("Apply", "Update"):
            out.invalid(path @ index / "operation", operation or "", "must be `Apply` or `Update`")
        if form not in ("", "FieldsV1"):
            out.invalid(path @ index / "fieldsType", form, "must be `FieldsV1`")
        if len(manager) > 32 and len(manager.encode()) > 128:
            out.too_long(path @ index / "manager", 128)


def validate_object_meta_update(new: Obj, old: Obj, path: Path) -> ErrorList:
    """Errors of changed metadata: what never changes, and what may only shrink once deletion has begun."""
    out = ErrorList()
    if old.get("deletionTimestamp"):
        added = [item for item in new.get("finalizers") or () if item not in (old.get("finalizers") or ())]
        if added:
            shown = "[" + " ".join(f'"{item}"' for item in added) + "]"
            detail = f"no new finalizers can be added if the object is being deleted, found new finalizers {shown}"
            out.forbidden(
                path / "finalizers", detail.replace('["', '[]string{"').replace('"]', '"}').replace('" "', '", "')
            )
    for field in IMMUTABLES:
        if new.get(field) != old.get(field):
            out.invalid(path / field, new.get(field), IMMUTABLE)
    _common(new, path, out)
    if new.get("generation", 0) < old.get("generation", 0):
        out.invalid(path / "generation", new.get("generation", 0), "must not be decremented")
    return out


_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def validate_label_selector(selector: Obj | None, path: Path, allow_invalid_values: bool = False) -> ErrorList:
    out = ErrorList()
    if selector is None:
        return out
    for key, value in sorted((selector.get("matchLabels") or {}).items()):
        for problem in names.is_qualified_name(key):
            out.invalid(path / "matchLabels", key, problem)
        for problem in () if allow_invalid_values else names.is_valid_label_value(value):
            out.invalid(path / "matchLabels", value, problem)
    for index, item in enumerate(selector.get("matchExpressions") or ()):
        here = path / "matchExpressions" @ index
        operator, values = item.get("operator", ""), item.get("values") or []
        if operator in ("In", "NotIn") and not values:
            out.required(here / "values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist") and values:
            out.forbidden(here / "values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        elif operator not in _OPERATORS:
            out.invalid(here / "operator", operator, "not a valid selector operator")
        for problem in names.is_qualified_name(item.get("key", "")):
            out.invalid(here / "key", item.get("key", ""), problem)
        for at, value in enumerate(() if allow_invalid_values else values):
            for problem in names.is_valid_label_value(value):
                out.invalid(here / "values" @ at, value, problem)
    return out


def validate_immutable(new: Any, old: Any, path: Path) -> ErrorList:
    out = ErrorList()
    if new != old:
        out.invalid(path, new, IMMUTABLE)
    return out


def validate_nonnegative(value: int, path: Path) -> ErrorList:
    out = ErrorList()
    if value < 0:
        out.invalid(path, value, "must be greater than or equal to 0")
    return out


_REASON = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
_IS_REASON = re.compile(_REASON, re.ASCII)
_WRONG_REASON = (
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
    "characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or "
    f"'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '{_REASON}')"
)


def validate_conditions(conditions: Sequence[Obj] | None, path: Path) -> ErrorList:
    """Of `metav1.Condition`s."""
    out = ErrorList()
    seen: set[str] = set()
    for index, item in enumerate(conditions or ()):
        here, kind, reason = path @ index, item.get("type", ""), item.get("reason", "")
        if kind in seen:
            out.duplicate(here / "type", kind)
        seen.add(kind)
        if not kind:
            out.required(here / "type", "must be set")
        else:
            out.each(here / "type", kind, names.is_qualified_name(kind))
        if item.get("status", "") not in ("False", "True", "Unknown"):
            out.not_supported(here / "status", item.get("status", ""), ("False", "True", "Unknown"))
        if item.get("observedGeneration", 0) < 0:
            detail = "must be greater than or equal to zero"
            out.invalid(here / "observedGeneration", item["observedGeneration"], detail)
        if not item.get("lastTransitionTime"):
            out.required(here / "lastTransitionTime", "must be set")
        if not reason:
            out.required(here / "reason", "must be set")
        else:
            if not _IS_REASON.fullmatch(reason):
                out.invalid(here / "reason", reason, _WRONG_REASON)
            if len(reason.encode()) > 1024:
                out.too_long(here / "reason", 1024)
        if len(item.get("message", "").encode()) > 32768:
            out.too_long(here / "message", 32768)
    return out

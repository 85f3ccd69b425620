"""The spec of a CustomResourceDefinition: names, versions, columns, subresources, conversion.

Upstream checks its internal form, where what all versions have in common stands at the top: hence `spec.validation`,
`spec.subresources` and their like in the paths of errors.

Source: apiextensions-apiserver/pkg/apis/apiextensions/{validation/validation,v1/conversion}.go
"""

from __future__ import annotations

import unicodedata
from typing import Any

from sampan.api import names as rules
from sampan.api.customresource.defaults import check_default_rules, check_defaults
from sampan.api.customresource.field_path import BadFieldPath, valid_field_path
from sampan.api.customresource.schema_checks import check_schema, too_large
from sampan.api.customresource.structural import check_structural
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation.webhook import validate_webhook_service, validate_webhook_url

COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
MAX_SELECTABLE = 8
_ROOT = (
    "Description", "Type", "Format", "Title", "Maximum", "ExclusiveMaximum", "Minimum", "ExclusiveMinimum", "MaxLength",
    "MinLength", "Pattern", "MaxItems", "MinItems", "UniqueItems", "MultipleOf", "Required", "Items", "Properties",
    "ExternalDocs", "Example", "XPreserveUnknownFields", "XValidations",
)  # fmt: skip
_SPECIAL = {"$ref": "Ref", "$schema": "Schema", "id": "ID"}


def check_spec(spec: Obj, out: ErrorList, old: Obj | None = None) -> None:
    """`old`: the spec before, of an update."""
    path = Path("spec")
    group = spec.get("group", "")
    if not group:
        out.required(path / "group", "")
    elif problems := rules.is_dns1123_subdomain(group):
        out.invalid(path / "group", group, ",".join(problems))
    elif "." not in group:
        out.invalid(path / "group", group, "should be a domain with at least one dot")
    scope = spec.get("scope", "")
    if not scope:
        out.required(path / "scope", "")
    elif scope not in ("Cluster", "Namespaced"):
        out.not_supported(path / "scope", scope, ("Cluster", "Namespaced"))
    _versions(spec, path, out, old)
    called = spec.get("names") or {}
    for name in ("plural", "singular", "kind", "listKind"):
        if not called.get(name):
            out.required(path / "names" / name, "")
    check_names(called, path / "names", out)
    _conversion(spec.get("conversion") or {}, path / "conversion", out)


def check_names(called: Obj, path: Path, out: ErrorList) -> None:
    for name in ("plural", "singular"):
        if called.get(name) and (problems := rules.is_dns1035_label(called[name])):
            out.invalid(path / name, called[name], ",".join(problems))
    for name in ("kind", "listKind"):
        if called.get(name) and (problems := rules.is_dns1035_label(called[name].lower())):
            detail = "may have mixed case, but should otherwise match: " + ",".join(problems)
            out.invalid(path / name, called[name], detail)
    for name in ("shortNames", "categories"):
        if name == "categories" and called.get("kind") and called["kind"] == called.get("listKind"):
            out.invalid(path / "listKind", called["listKind"], "kind and listKind may not be the same")
        for index, item in enumerate(called.get(name) or ()):
            if problems := rules.is_dns1035_label(item):
                out.invalid(path / name @ index, item, ",".join(problems))


# -- versions ------------------------------------------------------------------------------------------------------------


def _alike(versions: list[Obj], name: str) -> bool:
    """All versions have the same, so that it stands at the top of upstream's form."""
    return bool(versions) and all(item.get(name) == versions[0].get(name) for item in versions)


def _versions(spec: Obj, path: Path, out: ErrorList, old: Obj | None) -> None:
    versions: list[Obj] = spec.get("versions") or []
    top_schema, top_subresources = _alike(versions, "schema"), _alike(versions, "subresources")
    top_columns, top_fields = _alike(versions, "additionalPrinterColumns"), _alike(versions, "selectableFields")
    for index, version in enumerate(versions):
        if not (version.get("schema") or {}).get("openAPIV3Schema"):
            out.required(path / "versions" @ index / "schema" / "openAPIV3Schema", "")
    before = {item["name"]: item.get("schema") for item in (old or {}).get("versions") or ()}
    for index, version in enumerate(versions):
        here = path / "versions" @ index
        name = version.get("name", "")
        if problems := rules.is_dns1035_label(name):
            out.invalid(here / "name", name, ",".join(problems))
        _deprecation(version, here, out)
        if not top_schema or index == 0:
            status = any(
                "status" in (item.get("subresources") or {}) for item in (versions if top_schema else [version])
            )
            unchanged = name in before and before[name] == version.get("schema")
            _schema(version, path / "validation" if top_schema else here / "schema", status, unchanged, out)
        if not top_subresources or index == 0:
            at = path / "subresources" if top_subresources else here / "subresources"
            _subresources(version.get("subresources") or {}, at, out)
        if not top_columns or index == 0:
            at = (path if top_columns else here) / "additionalPrinterColumns"
            for number, column in enumerate(version.get("additionalPrinterColumns") or ()):
                _column(column, at @ number, out)
        if not top_fields or index == 0:
            _selectable(version, (path if top_fields else here) / "selectableFields", out)
    called = [item.get("name", "") for item in versions]
    if len(set(called)) < len(called):
        out.invalid(path / "versions", versions, "must contain unique version names")
    if sum(bool(item.get("storage")) for item in versions) != 1:
        out.invalid(path / "versions", versions, "must have exactly one version marked as storage version")


def _deprecation(version: Obj, path: Path, out: ErrorList) -> None:
    warning = version.get("deprecationWarning")
    if warning is None:
        return
    here = path / "deprecationWarning"
    if not version.get("deprecated"):
        out.invalid(here, warning, "can only be set for deprecated versions")
        return
    if len(warning.encode()) > 256:
        out.invalid(here, warning, "must be <= 256 characters long")
    if not warning:
        out.invalid(here, warning, "must not be an empty string")
    for index, char in enumerate(warning):
        if char != " " and unicodedata.category(char)[0] in "CZ":
            detail = f"must only contain printable UTF-8 characters; non-printable character found at index {index}"
            out.invalid(here, warning, detail)
            break


def _schema(version: Obj, path: Path, status: bool, unchanged: bool, out: ErrorList) -> None:
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if not schema:
        return
    here = path / "openAPIV3Schema"
    if why := too_large(schema):
        # DEVIATION: upstream sets no bound but the size of the request
        out.forbidden(here, why)
        return
    found = ErrorList()
    if status:
        _root(schema, path, found)
    if schema.get("nullable"):
        found.forbidden(path / "openAPIV3Schema.nullable", "nullable cannot be true at the root")
    structural = check_structural(schema, here)
    if not structural:
        check_defaults(schema, here, structural)
    found.extend(structural)
    plain = ErrorList()
    check_schema(schema, here, plain)
    found.extend(plain)
    if not structural and not plain and has_rules(schema):
        from sampan.api.customresource.rule_checks import check_rules

        check_rules(schema, here, found, limit_each=not unchanged)
        if not found:
            check_default_rules(schema, here, found)
    out.extend(found)


def has_rules(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    if schema.get("x-kubernetes-validations"):
        return True
    below = [*(schema.get("properties") or {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return any(map(has_rules, below))


def _root(schema: Obj, path: Path, out: ErrorList) -> None:
    """The schema of status is cut out of the whole: nothing at the root may say anything about it."""
    for name in schema:
        go = _SPECIAL.get(name) or "X" * name.startswith("x-kubernetes-") + "".join(
            word[:1].upper() + word[1:] for word in name.removeprefix("x-kubernetes-").split("-")
        )
        if name == "type" and schema["type"] != "object":
            detail = (
                'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
            )
            out.invalid(path / "openAPIV3Schema.type", schema["type"], detail)
            return
        if go not in _ROOT:
            shown = "[" + " ".join(_ROOT) + "]"
            detail = f"only {shown} fields are allowed at the root of the schema if the status subresource is enabled"
            out.invalid(path / "openAPIV3Schema", schema, detail)
            return


def _subresources(declared: Obj, path: Path, out: ErrorList) -> None:
    scale = declared.get("scale")
    if scale is None:
        return
    for name, roots in (("specReplicasPath", (".spec.",)), ("statusReplicasPath", (".status.",))):
        here = path / f"scale.{name}"
        if not scale.get(name):
            out.required(here, "")
        elif not _simple_path(scale[name], here, out) or scale[name].startswith(roots):
            continue
        else:
            out.invalid(here, scale[name], f"should be a json path under {roots[0].rstrip('.')}")
    selector = scale.get("labelSelectorPath")
    if selector:
        here = path / "scale.labelSelectorPath"
        if _simple_path(selector, here, out) and not selector.startswith((".spec.", ".status.")):
            out.invalid(here, selector, "should be a json path under either .spec or .status")


def _simple_path(text: str, path: Path, out: ErrorList) -> bool:
    if not text.startswith("."):
        out.invalid(path, text, "must be a simple json path starting with .")
        return False
    return True


def _column(column: Obj, path: Path, out: ErrorList) -> None:
    if not column.get("name"):
        out.required(path / "name", "")
    kind = column.get("type", "")
    if kind not in COLUMN_TYPES:
        detail = "must be one of " + ",".join(COLUMN_TYPES)
        if kind:
            out.invalid(path / "type", kind, detail)
        else:
            out.required(path / "type", detail)
    form = column.get("format", "")
    if form and form not in COLUMN_FORMATS:
        out.invalid(path / "format", form, "must be one of " + ",".join(COLUMN_FORMATS))
    if not column.get("jsonPath"):
        out.required(path / "JSONPath", "")
    else:
        _simple_path(column["jsonPath"], path / "JSONPath", out)


def _selectable(version: Obj, path: Path, out: ErrorList) -> None:
    fields = version.get("selectableFields") or ()
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if not fields or not schema:
        return
    seen: set[tuple[str, ...]] = set()
    for index, item in enumerate(fields):
        here, text = path @ index / "jsonPath", item.get("jsonPath", "")
        if not text:
            out.required(here, "")
            continue
        try:
            steps, found = valid_field_path(text, schema, arrays=False)
        except BadFieldPath as error:
            out.invalid(here, text, f"is an invalid path: {error}")
            continue
        if steps and steps[0] == "metadata":
            out.invalid(here, text, "must not point to fields in metadata")
        if found.get("type") not in ("string", "boolean", "integer"):
            detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."
            out.invalid(here, text, detail)
        if tuple(steps) in seen:
            out.duplicate(here, text)
        seen.add(tuple(steps))
    if len(seen) > MAX_SELECTABLE:
        out.too_many(path, len(seen), MAX_SELECTABLE)


# -- conversion ----------------------------------------------------------------------------------------------------------


def _conversion(conversion: Obj, path: Path, out: ErrorList) -> None:
    strategy, webhook = conversion.get("strategy", ""), conversion.get("webhook")
    if not strategy:
        out.required(path / "strategy", "")
    elif strategy not in ("None", "Webhook"):
        out.not_supported(path / "strategy", strategy, ("None", "Webhook"))
    config = (webhook or {}).get("clientConfig")
    versions = (webhook or {}).get("conversionReviewVersions") or []
    if strategy != "Webhook":
        if config is not None:
            detail = "should not be set when strategy is not set to Webhook"
            out.forbidden(path / "webhookClientConfig", detail)
        if versions:
            detail = "should not be set when strategy is not set to Webhook"
            out.forbidden(path / "conversionReviewVersions", detail)
        return
    here = path / "webhookClientConfig"
    if config is None:
        out.required(here, "required when strategy is set to Webhook")
    elif (config.get("url") is None) == (config.get("service") is None):
        out.required(here, "exactly one of url or service is required")
    elif config.get("url") is not None:
        validate_webhook_url(config["url"], here / "url", out)
    else:
        validate_webhook_service(config["service"], here / "service", out)
    _review_versions(versions, path / "conversionReviewVersions", out)


def _review_versions(versions: list[str], path: Path, out: ErrorList) -> None:
    if not versions:
        out.required(path, "")
        return
    for index, version in enumerate(versions):
        if version in versions[:index]:
            out.invalid(path @ index, version, "duplicate version")
            continue
        for problem in rules.is_dns1035_label(version):
            out.invalid(path @ index, version, problem)
    if not {"v1", "v1beta1"} & set(versions):
        out.invalid(path, versions, "must include at least one of v1, v1beta1")

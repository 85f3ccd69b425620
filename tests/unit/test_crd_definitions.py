"""What a CustomResourceDefinition may say: refusals in upstream's words."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sampan.api.apiextensions_v1.custom_resource_definition import CustomResourceDefinition
from sampan.api.registry import Registry
from tests.unit.test_crd import definition, version

KIND = Registry().get("apiextensions.k8s.io", "v1", "customresourcedefinitions")
assert isinstance(KIND, CustomResourceDefinition)
ROOT = "spec.validation.openAPIV3Schema"


def problems(crd: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    assert KIND is not None
    for item in (crd, old):
        if item is not None:
            KIND.default(item)
            item["status"] = {
                "storedVersions": [v["name"] for v in item["spec"]["versions"] if v.get("storage")],
                "conditions": [{"type": "Established", "status": "True"}],
            }
    return [str(error) for error in (KIND.validate(crd) if old is None else KIND.validate_update(crd, old))]


def schema(spec: dict[str, Any], **root: Any) -> dict[str, Any]:
    return definition(version(schema={"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}, **root}}))


def refused(spec: dict[str, Any], **root: Any) -> list[str]:
    return [line.removeprefix(f"{ROOT}.") for line in problems(schema(spec, **root))]


def test_a_good_one() -> None:
    assert problems(definition()) == []


def test_what_is_seen_at_a_glance() -> None:
    versions = [version("v1"), version("v1beta1", storage=False), version("v1alpha1", storage=False, served=False)]
    crd = definition(*versions)
    crd["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    assert KIND is not None
    assert [column.name for column in KIND.columns] == ["Name", "Group", "Scope", "Versions", "Created At"]
    spec = crd["spec"]
    shown = [crd["metadata"]["name"], spec["group"], spec["scope"], "v1,v1beta1", "2026-01-01T00:00:00Z"]
    assert KIND.row(crd, 0.0) == shown


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"group": "nodots"}, 'spec.group: Invalid value: "nodots": should be a domain with at least one dot'),
        ({"group": ""}, "spec.group: Required value"),
        ({"scope": "Galaxy"}, 'spec.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespaced"'),
        ({"scope": ""}, "spec.scope: Required value"),
        (
            {"names": {"listKind": "CronTab"}},
            'spec.names.listKind: Invalid value: "CronTab": kind and listKind may not be the same',
        ),
        (
            {"preserveUnknownFields": True},
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields "
            "to true in spec.versions[*].schema instead",
        ),
        (
            {"conversion": {"strategy": "Webhook"}},
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
        ),
        (
            {
                "conversion": {
                    "strategy": "Webhook",
                    "webhook": {"clientConfig": {"url": "https://a"}, "conversionReviewVersions": ["v9"]},
                }
            },
            'spec.conversion.conversionReviewVersions: Invalid value: ["v9"]: must include at least one of v1, v1beta1',
        ),
    ],
)
def test_spec(change: dict[str, Any], expected: str) -> None:
    assert expected in problems(definition(**change))


def test_names_and_versions() -> None:
    crd = definition()
    crd["metadata"]["name"] = "other"
    assert problems(crd)[0] == 'metadata.name: Invalid value: "other": must be spec.names.plural+"."+spec.group'
    twice = problems(definition(version(), version()))
    assert any(line.endswith("must contain unique version names") for line in twice)
    assert any(line.endswith("must have exactly one version marked as storage version") for line in twice)
    bare = version()
    del bare["schema"]
    assert problems(definition(bare)) == ["spec.versions[0].schema.openAPIV3Schema: Required value"]
    warned = problems(definition(version(deprecationWarning="old")))
    assert warned == [
        'spec.versions[0].deprecationWarning: Invalid value: "old": can only be set for deprecated versions'
    ]
    other = version("v2", storage=False)
    other["schema"]["openAPIV3Schema"]["properties"]["spec"] = {"type": "array"}
    assert problems(definition(version(), other)) == [
        "spec.versions[1].schema.openAPIV3Schema.properties[spec].items: Required value: must be specified"
    ]


def test_updates_keep_what_objects_are_stored_by() -> None:
    old, new = definition(), definition(scope="Cluster", kind="Other")
    assert problems(new, old)[-2:] == [
        'spec.scope: Invalid value: "Cluster": field is immutable',
        'spec.names.kind: Invalid value: "Other": field is immutable',
    ]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, "properties[spec].type: Required value: must not be empty for specified object fields"),
        (
            {"type": "null"},
            'properties[spec].type: Unsupported value: "null": supported values: "array", "boolean", "integer", "number", "object", "string"',
        ),
        (
            {"type": "object", "anyOf": [{"properties": {"a": {"minimum": 1}}}]},
            f"properties[spec].properties[a]: Required value: because it is defined in {ROOT}.properties[spec].anyOf[0].properties[a]",
        ),
        (
            {"type": "object", "allOf": [{"type": "object"}]},
            "properties[spec].allOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}},
            "properties[spec].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ),
        ({"type": "string", "$ref": "#/x"}, "properties[spec].$ref: Forbidden: $ref is not supported"),
        (
            {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
            "properties[spec].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ),
        (
            {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "map"},
            "properties[spec].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
        ),
        (
            {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "properties": {"name": {"type": "string"}}},
            },
            "properties[spec].items.properties[name].default: Required value: this property is in x-kubernetes-list-map-keys, "
            "so it must have a default or be a required property",
        ),
        (
            {"type": "string", "x-kubernetes-preserve-unknown-fields": False},
            "properties[spec].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined",
        ),
        (
            {"type": "object", "x-kubernetes-embedded-resource": True},
            "properties[spec].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without "
            "x-kubernetes-preserve-unknown-fields",
        ),
        (
            {"type": "integer", "default": "x"},
            'properties[spec].default: Invalid value: "string":  in body must be of type integer: "string"',
        ),
        (
            {"type": "object", "default": {"b": 1}, "properties": {"a": {"type": "string"}}},
            'properties[spec].default: Invalid value: {"b":1}: must not have unknown fields',
        ),
        (
            {"type": "object", "x-kubernetes-validations": [{"rule": " "}]},
            "properties[spec].x-kubernetes-validations[0].rule: Required value: rule is not specified",
        ),
        (
            {"type": "object", "x-kubernetes-validations": [{"rule": "true", "fieldPath": ".no"}]},
            'properties[spec].x-kubernetes-validations[0].fieldPath: Invalid value: ".no": must be a valid path',
        ),
    ],
)
def test_schemas(spec: dict[str, Any], expected: str) -> None:
    assert expected in refused(spec)


def test_roots() -> None:
    meta = {"type": "object", "properties": {"labels": {"type": "object"}}}
    crd = schema({"type": "object"})
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["metadata"] = meta
    assert problems(crd)[0].endswith(
        "must not specify anything other than name and generateName, but metadata is implicitly specified"
    )
    meta["properties"] = {"name": {"type": "string", "maxLength": 5}}
    assert problems(crd) == []
    assert refused({"type": "object"}, type="array", items={"type": "string"}) == [
        'type: Invalid value: "array": must be object at the root'
    ]
    crd = schema({"type": "object"}, minProperties=1)
    crd["spec"]["versions"][0]["subresources"] = {"status": {}}
    assert "fields are allowed at the root of the schema if the status subresource is enabled" in problems(crd)[0]


def test_columns_subresources_and_selectable_fields() -> None:
    column = {"name": "A", "type": "colour", "jsonPath": "spec.a", "format": "x"}
    assert problems(definition(version(additionalPrinterColumns=[column]))) == [
        'spec.additionalPrinterColumns[0].type: Invalid value: "colour": must be one of boolean,date,integer,number,string',
        'spec.additionalPrinterColumns[0].format: Invalid value: "x": must be one of byte,date,date-time,double,float,int32,int64,password',
        'spec.additionalPrinterColumns[0].JSONPath: Invalid value: "spec.a": must be a simple json path starting with .',
    ]
    scale = {"specReplicasPath": ".status.a", "statusReplicasPath": ".status.b", "labelSelectorPath": ".other"}
    assert problems(definition(version(subresources={"scale": scale}))) == [
        'spec.subresources.scale.specReplicasPath: Invalid value: ".status.a": should be a json path under .spec',
        'spec.subresources.scale.labelSelectorPath: Invalid value: ".other": should be a json path under either .spec or .status',
    ]
    fields = [{"jsonPath": path} for path in (".spec.nodes", ".spec.none", ".spec.mode", ".spec.mode", ".spec['a']")]
    assert problems(definition(version(selectableFields=fields))) == [
        'spec.selectableFields[0].jsonPath: Invalid value: ".spec.nodes": must point to a field of type string, boolean or '
        "integer. Enum string fields and strings with formats are allowed.",
        'spec.selectableFields[1].jsonPath: Invalid value: ".spec.none": is an invalid path: does not refer to a valid field',
        'spec.selectableFields[3].jsonPath: Duplicate value: ".spec.mode"',
        "spec.selectableFields[4].jsonPath: Invalid value: \".spec['a']\": is an invalid path: array notation is not allowed",
    ]


def rule(text: str, **more: Any) -> list[dict[str, Any]]:
    return [{"rule": text, **more}]


def test_rules_compile_and_cost_little() -> None:
    spec: dict[str, Any] = {
        "type": "object",
        "properties": {
            "names": {"type": "array", "items": {"type": "string"}},
            "few": {"type": "array", "maxItems": 5, "items": {"type": "string", "maxLength": 10}},
        },
    }
    spec["x-kubernetes-validations"] = rule("self.few.all(x, self.few.exists(y, x == y))")
    assert refused(spec) == []
    spec["x-kubernetes-validations"] = rule("self.missing > 1")
    (found,) = refused(spec)
    assert found.startswith("properties[spec].x-kubernetes-validations[0].rule: Invalid value:")
    assert "undefined field 'missing'" in found
    spec["x-kubernetes-validations"] = rule("self.names.size()")
    assert refused(spec)[0].endswith("cel expression must evaluate to a bool")
    spec["x-kubernetes-validations"] = rule("self.names.all(x, self.names.exists(y, x == y))")
    found, total, whole = refused(spec)
    assert found == (
        "properties[spec].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than "
        "100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
    assert total.endswith("contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema")
    assert "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget" in whole
    spec["x-kubernetes-validations"] = rule("true", optionalOldSelf=True)
    assert refused(spec)[0].endswith("may not be set if oldSelf is not used in rule")
    spec["x-kubernetes-validations"] = []
    spec["properties"]["few"]["items"]["x-kubernetes-validations"] = rule("self == oldSelf")
    assert refused(spec)[0].endswith(
        f"oldSelf cannot be used on the uncorrelatable portion of the schema within {ROOT}.properties[spec].properties[few]"
    )


def nested(depth: int) -> dict[str, Any]:
    out: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        out = {"type": "object", "properties": {"a": out}}
    return out


@pytest.mark.parametrize(
    "spec",
    [
        nested(90),
        nested(200),
        {"type": "string", "enum": [f"v{n}" for n in range(100_000)]},
        {"type": "string", "pattern": "(a+)+$" * 20},
        {"type": "string", "pattern": "((a{0,900}){0,900}){0,900}"},
        {"type": "string", "pattern": "(" * 2000 + ")" * 2000},
        {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(20_000)}},
        {"type": "object", "anyOf": [{"required": [f"p{n}"]} for n in range(5_000)]},
        {"type": "object", "x-kubernetes-validations": rule("true") * 100_000},
        {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(60_000)}},
        {"type": "object", "x-kubernetes-validations": rule("[1,2,3].all(a, " * 12 + "true" + ")" * 12)},
        {"type": "object", "x-kubernetes-validations": rule("'a'" + " + 'a'" * 20_000 + " == ''")},
    ],
    ids=[
        "deep",
        "too-deep",
        "enum",
        "regex",
        "regex-size",
        "regex-nesting",
        "wide",
        "anyOf",
        "rules",
        "too-wide",
        "cel-loops",
        "cel-long",
    ],
)
@pytest.mark.slow
def test_exploding_schemas_are_bounded(spec: dict[str, Any]) -> None:
    """Each is answered, in seconds at most: none takes the server with it."""
    start = time.process_time()
    problems(schema(spec))
    assert time.process_time() - start < 3

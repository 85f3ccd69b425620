"""Mutating policies: what is refused."""

# ruff: noqa: E501 (a row is a line)
# fmt: off

from __future__ import annotations

import pytest

from tests.validation import GONE, Change, Valid, ids

MUTATING = Valid("admissionregistration.k8s.io", "v1", "mutatingadmissionpolicies", {"spec": {"reinvocationPolicy": "Never", "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]}, "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": " [JSONPatch{op: 'test'}] "}}]}})

RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE", "UPDATE"], "resources": ["pods"]}
M = "spec.mutations[0]"
MUTATING_POLICY_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/failurePolicy": "x", "spec/reinvocationPolicy": "y"}, ['spec.failurePolicy: Unsupported value: "x": supported values: "Fail", "Ignore"', 'spec.reinvocationPolicy: Unsupported value: "y": supported values: "IfNeeded", "Never"']),
    ({"spec/reinvocationPolicy": GONE}, ["spec.reinvocationPolicy: Required value"]),
    ({"spec/matchConstraints": GONE}, ["spec.matchConstraints: Required value"]),
    ({"spec/matchConstraints/resourceRules": []}, ["spec.matchConstraints.resourceRules: Required value"]),
    ({"spec/matchConstraints/resourceRules": [RULE]}, ['spec.matchConstraints.resourceRules.operations: Unsupported value: "DELETE": supported values: "*", "CONNECT", "CREATE", "UPDATE"']),
    ({"spec/mutations": []}, ["spec.mutations: Required value: mutations must contain at least one item"]),
    ({"spec/mutations/0/patchType": ""}, [f"{M}.patchType: Required value"]),
    ({"spec/mutations/0/patchType": "x"}, [f'{M}.patchType: Unsupported value: "x": supported values: "ApplyConfiguration", "JSONPatch"']),
    ({"spec/mutations/0/patchType": "ApplyConfiguration"}, [f"{M}.applyConfiguration: Required value: must be specified when patchType is ApplyConfiguration", f'{M}.jsonPatch: Invalid value: "{{jsonPatch}}": must not be specified when patchType is ApplyConfiguration']),
    ({"spec/mutations/0/applyConfiguration": {"expression": "Object{}"}}, [f'{M}.applyConfiguration: Invalid value: "{{applyConfiguration}}": must not be specified when patchType is JSONPatch']),
    ({"spec/mutations/0/jsonPatch": {"expression": " "}}, [f"{M}.jsonPatch.expression: Required value"]),
    ({"spec/mutations/0/jsonPatch": {"expression": " [] "}}, [f'{M}.jsonPatch.expression: Invalid value: "[]": must evaluate to list(JSONPatch) but got list(dyn)']),
    ({"spec/mutations/0/jsonPatch": {"expression": "[JSONPatch{of: ''}]"}}, [f'{M}.jsonPatch.expression: Invalid value: "[JSONPatch{{of: \'\'}}]": compilation failed: ERROR: <input>:1:14: undefined field \'of\'']),
    ({"spec/mutations/0": {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "'x'"}}}, [f'{M}.applyConfiguration.expression: Invalid value: "\'x\'": must evaluate to Object but got string']),
    ({"spec/mutations/0": {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object.spec{}"}}}, [f'{M}.applyConfiguration.expression: Invalid value: "Object.spec{{}}": must evaluate to Object but got Object.spec']),
    ({"spec/mutations/0": {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "variables.x"}}}, [f'{M}.applyConfiguration.expression: Invalid value: "variables.x": compilation failed: ERROR: <input>:1:10: undefined field \'x\'']),
    ({"spec/mutations/0": {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{a: params}"}}}, [f'{M}.applyConfiguration.expression: Invalid value: "Object{{a: params}}": compilation failed: ERROR: <input>:1:11: undeclared reference to \'params\' (in container \'\')']),
    ({"spec/variables": [{"name": "", "expression": ""}]}, ["spec.variables[0].name: Required value: name is not specified", "spec.variables[0].expression: Required value: expression is not specified"]),
    ({"spec/variables": [{"name": "in", "expression": "Object{}"}]}, ['spec.variables[0].name: Invalid value: "in": must be a valid CEL identifier', "spec.variables[0].expression: Invalid value: \"Object{}\": compilation failed: ERROR: <input>:1:7: undeclared reference to 'Object' (in container '')"]),
    ({"spec/matchConditions": [{"name": "a", "expression": "1"}]}, ['spec.matchConditions[0].expression: Invalid value: "1": must evaluate to bool but got int']),
    ({"spec/matchConditions": [{"name": "a", "expression": "variables.x"}]}, ["spec.matchConditions[0].expression: Invalid value: \"variables.x\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'variables' (in container '')"]),
    ({"spec/paramKind": {}}, ["spec.paramKind.apiVersion: Required value", "spec.paramKind.kind: Required value"]),
]

@pytest.mark.parametrize(("change", "expected"), MUTATING_POLICY_ROWS, ids=ids(MUTATING_POLICY_ROWS))
def test_mutating_policy(change: Change, expected: list[str]) -> None:
    assert [text.partition("\n")[0] for text in MUTATING.errors(change)] == expected


def test_what_mutations_may_use() -> None:
    for patch, expression in (
        ("ApplyConfiguration", "Object{spec: Object.spec{replicas: variables.n + int(params.data.n)}}"),
        ("ApplyConfiguration", "has(object.spec) ? Object{anything: Object.anything{}} : Object{}"),
        ("JSONPatch", "[JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('b/c'), value: [1, 2]}]"),
        ("JSONPatch", "authorizer.requestResource.check('get').allowed() ? [JSONPatch{op: 'test', from: '/a'}] : []"),
    ):
        field = patch[0].lower() + patch[1:] if patch[1].islower() else "jsonPatch"
        mutation = {"patchType": patch, field: {"expression": expression}}
        variables = [{"name": "n", "expression": "1"}]
        kind = {"apiVersion": "v1", "kind": "ConfigMap"}
        assert MUTATING.errors({"spec/mutations": [mutation], "spec/variables": variables, "spec/paramKind": kind}) == []


def test_match_conditions_that_do_not_change_stay() -> None:
    """What was let in once is not refused with the next change of something else; mutations always are."""
    old = {"spec/matchConditions": [{"name": "a", "expression": "gone()"}]}
    assert MUTATING.update({"spec/failurePolicy": "Ignore"}, old) == []
    assert len(MUTATING.update({"spec/matchConditions": [{"name": "a", "expression": "gone() "}]}, old)) == 1
    assert len(MUTATING.update({"spec/paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}, old)) == 1
    assert len(MUTATING.update({}, {"spec/mutations/0/jsonPatch": {"expression": "[]"}})) == 1


MUTATING_BINDING = Valid("admissionregistration.k8s.io", "v1", "mutatingadmissionpolicybindings", {"spec": {"policyName": "p"}})

MUTATING_BINDING_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/policyName": GONE}, ["spec.policyName: Required value"]),
    ({"spec/policyName": "A"}, ['spec.policyName: Invalid value: "A": a lowercase RFC 1123 subdomain …']),
    ({"spec/matchResources": {"resourceRules": [RULE]}}, ['spec.matchResources.resourceRules.operations: Unsupported value: "DELETE": supported values: "*", "CONNECT", "CREATE", "UPDATE"']),
    ({"spec/paramRef": {}}, ["spec.paramRef: Required value: one of name or selector must be specified", "spec.paramRef.parameterNotFoundAction: Required value"]),
]

@pytest.mark.parametrize(("change", "expected"), MUTATING_BINDING_ROWS, ids=ids(MUTATING_BINDING_ROWS))
def test_mutating_binding(change: Change, expected: list[str]) -> None:
    assert MUTATING_BINDING.errors(change) == expected

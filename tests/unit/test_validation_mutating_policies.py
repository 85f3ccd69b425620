"""Mutating policies: what is refused."""

# ruff: noqa: E501 (a row is a line)
# fmt: off

from __future__ import annotations

import pytest

from tests.validation import GONE, Change, Valid, ids

MUTATING = Valid("admissionregistration.k8s.io", "v1", "mutatingadmissionpolicies", {"spec": {"matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]}, "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}]}})

MUTATING_POLICY_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/failurePolicy": "x", "spec/reinvocationPolicy": "y"}, ['spec.failurePolicy: Unsupported value: "x": supported values: "Fail", "Ignore"', 'spec.reinvocationPolicy: Unsupported value: "y": supported values: "IfNeeded", "Never"']),
    ({"spec/matchConstraints": GONE}, ["spec.matchConstraints: Required value"]),
    ({"spec/matchConstraints/resourceRules": []}, ["spec.matchConstraints.resourceRules: Required value"]),
    ({"spec/mutations": []}, ["spec.mutations: Required value: mutations must contain at least one item"]),
    ({"spec/mutations/0/patchType": "x"}, ['spec.mutations[0].patchType: Unsupported value: "x": supported values: "ApplyConfiguration", "JSONPatch"']),
    ({"spec/mutations/0/patchType": "ApplyConfiguration"}, ["spec.mutations[0].applyConfiguration: Required value: must be specified when patchType is ApplyConfiguration", 'spec.mutations[0].jsonPatch: Invalid value: {"expression":"[]"}: must not be specified when patchType is ApplyConfiguration']),
    ({"spec/mutations/0/jsonPatch": {"expression": " "}}, ["spec.mutations[0].jsonPatch.expression: Required value: expression is not specified"]),
    ({"spec/variables": [{"name": "", "expression": ""}]}, ["spec.variables[0].name: Required value: name is not specified", "spec.variables[0].expression: Required value: expression is not specified"]),
    ({"spec/paramKind": {}}, ["spec.paramKind.apiVersion: Required value", "spec.paramKind.kind: Required value"]),
]

@pytest.mark.parametrize(("change", "expected"), MUTATING_POLICY_ROWS, ids=ids(MUTATING_POLICY_ROWS))
def test_mutating_policy(change: Change, expected: list[str]) -> None:
    assert MUTATING.errors(change) == expected


MUTATING_BINDING = Valid("admissionregistration.k8s.io", "v1", "mutatingadmissionpolicybindings", {"spec": {"policyName": "p"}})

MUTATING_BINDING_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/policyName": GONE}, ["spec.policyName: Required value"]),
    ({"spec/policyName": "A"}, ['spec.policyName: Invalid value: "A": a lowercase RFC 1123 subdomain …']),
    ({"spec/paramRef": {}}, ["spec.paramRef: Required value: one of name or selector must be specified", "spec.paramRef.parameterNotFoundAction: Required value"]),
]

@pytest.mark.parametrize(("change", "expected"), MUTATING_BINDING_ROWS, ids=ids(MUTATING_BINDING_ROWS))
def test_mutating_binding(change: Change, expected: list[str]) -> None:
    assert MUTATING_BINDING.errors(change) == expected

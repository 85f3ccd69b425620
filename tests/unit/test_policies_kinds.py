"""ValidatingAdmissionPolicy and its binding as kinds: defaults, what is refused, and who may refer to parameters."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.kind import Obj
from sampan.api.registry import Registry
from tests.conftest import Local
from tests.unit.test_policies import BINDINGS, POLICIES, binding, policy


def problems(obj: Obj, old: Obj | None = None) -> list[str]:
    plural = "policies" if obj["kind"].endswith("Policy") else "policybindings"
    kind = Registry().get("admissionregistration.k8s.io", "v1", f"validatingadmission{plural}")
    assert kind is not None
    kind.default(obj)
    return [str(item) for item in (kind.validate(obj) if old is None else kind.validate_update(obj, old))]


def changed(**more: Any) -> Obj:
    made = policy("true")
    made["spec"] = {name: value for name, value in {**made["spec"], **more}.items() if value is not ...}
    return made


NOT_BOTH = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"
ONE = "validations or auditAnnotations must contain at least one item"
REFUSED: list[tuple[Obj, list[str]]] = [
    (policy("true"), []),
    (changed(matchConstraints=...), ["spec.matchConstraints: Required value"]),
    (changed(matchConstraints={}), ["spec.matchConstraints.resourceRules: Required value"]),
    (changed(failurePolicy="x"), ['spec.failurePolicy: Unsupported value: "x": supported values: "Fail", "Ignore"']),
    (changed(validations=...), [f"spec.validations: Required value: {ONE}", f"spec.auditAnnotations: Required value: {ONE}"]),
    (
        changed(paramKind={"apiVersion": "a/b/c", "kind": "9"}),
        [
            'spec.paramKind.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c',
            'spec.paramKind.kind: Invalid value: "9": may have mixed case, but should otherwise match: ',
        ],
    ),
    (
        policy("1", " ", {"expression": "true", "message": "a\nb", "reason": "Gone"}),
        [
            'spec.validations[0].expression: Invalid value: "1": must evaluate to bool but got int',
            "spec.validations[1].expression: Required value: expression is not specified",
            'spec.validations[2].message: Invalid value: "a\\nb": must not contain line breaks',
            'spec.validations[2].reason: Unsupported value: "Gone": supported values: "Forbidden", "Invalid", "RequestEntityTooLarge"',
        ],
    ),
    (
        policy({"expression": "true", "messageExpression": "authorizer.path('/a').check('get').reason()"}),
        ["spec.validations[0].messageExpression: Invalid value: "],
    ),
    (policy("params == null"), ['spec.validations[0].expression: Invalid value: "params == null": compilation failed: ']),
    (
        changed(variables=[{"name": "for", "expression": "1"}, {"name": "b", "expression": "variables.c"}]),
        [
            'spec.variables[0].name: Invalid value: "for": must be a valid CEL identifier',
            'spec.variables[1].expression: Invalid value: "variables.c": compilation failed: ERROR: <input>:1:10: undefined field \'c\'',
        ],
    ),
    (
        changed(auditAnnotations=[{"key": "k", "valueExpression": "1"}, {"key": "k", "valueExpression": "null"}]),
        [
            'spec.auditAnnotations[0].valueExpression: Invalid value: "1": must evaluate to one of [string null_type] but got int',
            'spec.auditAnnotations[1].key: Duplicate value: "k"',
        ],
    ),
    (binding(), []),
    (binding(policyName=""), ["spec.policyName: Required value"]),
    (binding(validationActions=[]), ["spec.validationActions: Required value: at least one validation action is required"]),
    (
        binding(validationActions=["Deny", "Warn"]),
        [f'spec.validationActions: Invalid value: ["Deny","Warn"]: {NOT_BOTH}'],
    ),
    (
        binding(validationActions=["Audit", "Audit", "x"]),
        [
            'spec.validationActions[1]: Duplicate value: "Audit"',
            'spec.validationActions[2]: Unsupported value: "x": supported values: "Audit", "Deny", "Warn"',
        ],
    ),
    (
        binding(paramRef={"name": "a", "selector": {}, "parameterNotFoundAction": "x"}),
        [
            "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
            "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
            'spec.paramRef.parameterNotFoundAction: Unsupported value: "x": supported values: "Deny", "Allow"',
        ],
    ),
    (
        binding(paramRef={}),
        [
            "spec.paramRef: Required value: one of name or selector must be specified",
            "spec.paramRef.parameterNotFoundAction: Required value",
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("made", "wanted"), REFUSED)
def test_what_is_refused(made: Obj, wanted: list[str]) -> None:
    found = problems(made)
    assert len(found) == len(wanted), found
    for got, start in zip(found, wanted, strict=True):
        assert got.startswith(start)


def test_defaults() -> None:
    made = policy("true")
    assert problems(made) == []
    assert made["spec"]["failurePolicy"] == "Fail"
    match = made["spec"]["matchConstraints"]
    assert (match["matchPolicy"], match["namespaceSelector"], match["objectSelector"]) == ("Equivalent", {}, {})
    assert match["resourceRules"][0]["scope"] == "*"
    bound = binding(matchResources={})
    assert problems(bound) == []
    assert bound["spec"]["matchResources"]["matchPolicy"] == "Equivalent"


def test_match_conditions_that_do_not_change_stay() -> None:
    conditions = [{"name": "a", "expression": "nonsense("}]
    old = changed(matchConditions=conditions)
    assert problems(changed(matchConditions=conditions), old) == []
    assert problems(changed(matchConditions=conditions), policy("true")) != []


async def test_only_who_may_read_parameters_refers_to_them(api: Local) -> None:
    """A binding would else tell by its refusals what stands in a Secret."""
    rules = [
        {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]},
    ]
    role = {"metadata": {"name": "policies"}, "rules": rules}
    subject = {"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}
    ref = {"kind": "ClusterRole", "name": "policies", "apiGroup": "rbac.authorization.k8s.io"}
    bound = {"metadata": {"name": "policies"}, "subjects": [subject], "roleRef": ref}
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    assert (await api("POST", f"{rbac}/clusterroles", role))[0] == 201
    assert (await api("POST", f"{rbac}/clusterrolebindings", bound))[0] == 201
    as_eve = {"Impersonate-User": "eve", "Impersonate-Group": "system:authenticated"}
    secrets = policy("params.data.x == object.data.x", paramKind={"apiVersion": "v1", "kind": "Secret"})
    code, status = await api("POST", POLICIES, secrets, **as_eve)
    assert code == 422, status
    why = 'must have "get" permission on all objects of the referenced paramKind (kind=Secret, apiVersion=v1)'
    assert status["details"]["causes"][0]["field"] == "spec.paramKind"
    assert status["message"].endswith(f"spec.paramKind: Forbidden: user &{{eve  [system:authenticated] map[]}} {why}")
    assert (await api("POST", POLICIES, secrets))[0] == 201
    param = {"name": "s", "namespace": "kube-system", "parameterNotFoundAction": "Allow"}
    code, status = await api("POST", BINDINGS, binding(paramRef=param), **as_eve)
    assert code == 422, status
    assert status["message"].endswith('does not have "get" permission on the object referenced by paramRef')
    harmless = policy("params.data.x == object.data.x", name="q", paramKind={"apiVersion": "v1", "kind": "ConfigMap"})
    assert (await api("POST", POLICIES, harmless, **as_eve))[0] == 201
    assert (await api("POST", BINDINGS, binding(policy="q", paramRef=param), **as_eve))[0] == 201

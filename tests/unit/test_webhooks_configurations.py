"""Webhook configurations: defaults, and what is refused, in upstream's words."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.kind import Kind, Obj
from sampan.api.registry import Registry

GROUP = ("admissionregistration.k8s.io", "v1")


def kind(name: str) -> Kind:
    found = Registry().get(*GROUP, name)
    assert found is not None
    return found


def hook(**more: Any) -> Obj:
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    made = {
        "name": "a.example.com",
        "clientConfig": {"url": "https://example.com/a"},
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **more,
    }
    return {name: value for name, value in made.items() if value is not ...}


def problems(*hooks: Obj, mutating: bool = False, old: Obj | None = None) -> list[str]:
    name = f"{'mutating' if mutating else 'validating'}webhookconfigurations"
    obj: Obj = {"metadata": {"name": "c"}, "webhooks": list(hooks)}
    made = kind(name)
    made.default(obj)
    return [str(item) for item in (made.validate(obj) if old is None else made.validate_update(obj, old))]


def with_rule(**more: Any) -> Obj:
    return hook(rules=[{**hook()["rules"][0], **more}])


def test_defaults() -> None:
    for name, extra in (("validating", {}), ("mutating", {"reinvocationPolicy": "Never"})):
        obj: Obj = {"webhooks": [hook(clientConfig={"service": {"namespace": "a", "name": "b"}})]}
        kind(f"{name}webhookconfigurations").default(obj)
        (made,) = obj["webhooks"]
        assert made.pop("rules")[0]["scope"] == "*"
        assert made.pop("clientConfig") == {"service": {"namespace": "a", "name": "b", "port": 443}}
        assert made == {
            "name": "a.example.com",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail",
            "matchPolicy": "Equivalent",
            "namespaceSelector": {},
            "objectSelector": {},
            "timeoutSeconds": 10,
            **extra,
        }


W = "webhooks[0]"
CONFIG = f"{W}.clientConfig"
REFUSED: list[tuple[Obj, list[str]]] = [
    (hook(), []),
    (hook(name="short"), [f'{W}.name: Invalid value: "short": should be a domain with at least three segments separated by dots']),
    (hook(sideEffects=...), [f"{W}.sideEffects: Required value: must specify one of None, NoneOnDryRun"]),
    (hook(sideEffects="Some"), [f'{W}.sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"']),
    (hook(failurePolicy="x"), [f'{W}.failurePolicy: Unsupported value: "x": supported values: "Fail", "Ignore"']),
    (hook(matchPolicy="x"), [f'{W}.matchPolicy: Unsupported value: "x": supported values: "Equivalent", "Exact"']),
    (hook(timeoutSeconds=31), [f"{W}.timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"]),
    (hook(admissionReviewVersions=[]), [f"{W}.admissionReviewVersions: Required value: must specify one of v1, v1beta1"]),
    (
        hook(admissionReviewVersions=["v2", "v2"]),
        [
            f'{W}.admissionReviewVersions[1]: Invalid value: "v2": duplicate version',
            f'{W}.admissionReviewVersions: Invalid value: ["v2","v2"]: must include at least one of v1, v1beta1',
        ],
    ),
    (hook(clientConfig={}), [f"{CONFIG}: Required value: exactly one of url or service is required"]),
    (
        hook(clientConfig={"url": "http://u:p@example.com/?a=b#c"}),
        [
            f"{CONFIG}.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
            f'{CONFIG}.url: Invalid value: "u:p": user information is not permitted in the URL',
            f'{CONFIG}.url: Invalid value: "c": fragments are not permitted in the URL',
            f'{CONFIG}.url: Invalid value: "a=b": query parameters are not permitted in the URL',
        ],
    ),
    (hook(clientConfig={"url": "https:///x"}), [f'{CONFIG}.url: Invalid value: "": host must be provided; desired format: https://host[/path]']),
    (
        hook(clientConfig={"service": {"port": 70000, "path": "a//B"}}),
        [
            f"{CONFIG}.service.name: Required value: service name is required",
            f"{CONFIG}.service.namespace: Required value: service namespace is required",
            f"{CONFIG}.service.port: Invalid value: 70000: port is not valid: must be between 1 and 65535, inclusive",
            f"{CONFIG}.service.path: Invalid value: \"a//B\": must start with a '/'",
        ],
    ),
    (with_rule(operations=[]), [f"{W}.rules[0].operations: Required value"]),
    (
        with_rule(operations=["*", "MAKE"]),
        [
            f"{W}.rules[0].operations: Invalid value: [\"*\",\"MAKE\"]: if '*' is present, must not specify other operations",
            f'{W}.rules[0].operations[1]: Unsupported value: "MAKE": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE"',
        ],
    ),
    (
        with_rule(apiGroups=["*", "a"], apiVersions=[""]),
        [
            f"{W}.rules[0].apiGroups: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other API groups",
            f"{W}.rules[0].apiVersions[0]: Required value",
        ],
    ),
    (
        with_rule(resources=["*/*", "a"]),
        [f"{W}.rules[0].resources: Invalid value: [\"*/*\",\"a\"]: if '*/*' is present, must not specify other resources"],
    ),
    (
        with_rule(resources=["a/*", "a/b"]),
        [f"{W}.rules[0].resources[1]: Invalid value: \"a/b\": if 'a/*' is present, must not specify a/b"],
    ),
    (
        with_rule(resources=["*", "a"]),
        [
            f"{W}.rules[0].resources: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other resources without subresources"
        ],
    ),
    (with_rule(scope="x"), [f'{W}.rules[0].scope: Unsupported value: "x": supported values: "*", "Cluster", "Namespaced"']),
    (
        hook(matchConditions=[{"name": "", "expression": " "}, {"name": "a", "expression": "1"}]),
        [
            f"{W}.matchConditions[0].expression: Required value",
            f"{W}.matchConditions[0].name: Required value",
            f'{W}.matchConditions[1].expression: Invalid value: "1": must evaluate to bool but got int',
        ],
    ),
    (
        hook(matchConditions=[{"name": "a", "expression": "params.x"}]),
        [
            f'{W}.matchConditions[0].expression: Invalid value: "params.x": compilation failed: ERROR: <input>:1:1: '
            "undeclared reference to 'params' (in container '')\n | params.x\n | ^"
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("made", "wanted"), REFUSED)
def test_what_is_refused(made: Obj, wanted: list[str]) -> None:
    found = problems(made)
    # the last sentence of a Service's path depends on each of its segments
    assert found[: len(wanted)] == wanted
    assert bool(found) is bool(wanted)


def test_names_are_unique_and_reinvocation_is_for_mutating_ones() -> None:
    assert problems(hook(), hook()) == ['webhooks[1].name: Duplicate value: "a.example.com"']
    wrong = hook(reinvocationPolicy="x")
    assert problems(wrong, mutating=True) == [
        f'{W}.reinvocationPolicy: Unsupported value: "x": supported values: "IfNeeded", "Never"'
    ]


def test_what_was_let_in_before_may_stay() -> None:
    old = {"webhooks": [hook(sideEffects="Some", admissionReviewVersions=["v0"])] * 2}
    old["webhooks"][0]["matchConditions"] = [{"name": "a", "expression": "nonsense("}]
    assert problems(*old["webhooks"], old=old) == []
    assert problems(*old["webhooks"], old={"webhooks": [hook()]}) != []

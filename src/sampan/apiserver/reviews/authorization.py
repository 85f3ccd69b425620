"""May they: the `SubjectAccessReview` family and `SelfSubjectRulesReview`.

Source: kubernetes/pkg/registry/authorization/{subjectaccessreview,...}/rest.go, pkg/registry/authorization/util/
helpers.go, pkg/apis/authorization/validation/validation.go
"""

from __future__ import annotations

from typing import Any

from sampan.api import errors
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.user import User
from sampan.apiserver.authorization.attributes import Attributes
from sampan.apiserver.authorization.rules import go_errors
from sampan.apiserver.call import Call
from sampan.apiserver.reviews import selectors

SPEC, METADATA = Path("spec"), Path("metadata")
NAMES = ("verb", "group", "version", "resource", "subresource", "namespace", "name")
RULE = ("verbs", "apiGroups", "resources", "resourceNames")
URL_RULE = ("verbs", "nonResourceURLs")


def self_access(call: Call, review: Obj) -> Obj:
    problems = _spec_problems(review, subject=False)
    _check_metadata(review, problems, "must be empty")
    return _access(call, call.user, _valid(call, review, problems))


def subject_access(call: Call, review: Obj) -> Obj:
    problems = _spec_problems(review, subject=True)
    _check_metadata(review, problems, "must be empty")
    spec = _valid(call, review, problems)
    return _access(call, _user(spec), spec)


def local_access(call: Call, review: Obj) -> Obj:
    problems = _spec_problems(review, subject=True)
    _check_metadata(review, problems, "must be empty except for namespace", allowed=("namespace",))
    spec: Obj = review.get("spec") or {}
    namespace = review.get("metadata", {}).get("namespace", "")
    asked = spec.get("resourceAttributes")
    if asked is not None and asked.get("namespace", "") != namespace:
        problems.invalid(
            Path("spec.resourceAttributes.namespace"), asked.get("namespace", ""), "must match metadata.namespace"
        )
    if spec.get("nonResourceAttributes") is not None:
        problems.invalid(
            Path("spec.nonResourceAttributes"), spec["nonResourceAttributes"], "disallowed on this kind of request"
        )
    _valid(call, review, problems)
    if namespace != call.info.namespace:
        raise errors.bad_request(f"spec.resourceAttributes.namespace must match namespace: {call.info.namespace}")
    return _access(call, _user(spec), spec)


def rules(call: Call, review: Obj) -> Obj:
    """What the asker may do in a namespace; `incomplete` where an authorizer cannot tell."""
    namespace = (review.get("spec") or {}).get("namespace")
    if not namespace:
        raise errors.bad_request("no namespace on request")
    held = call.api.authorizer.rules_for(call.user, namespace)
    out: dict[str, Any] = {
        "resourceRules": [
            {name: rule[name] for name in RULE if rule.get(name)} for rule in held.rules if rule.get("resources")
        ],
        "nonResourceRules": [
            {name: rule[name] for name in URL_RULE if rule.get(name)}
            for rule in held.rules
            if rule.get("nonResourceURLs")
        ],
        "incomplete": held.incomplete,
    }
    if held.problems:
        out["evaluationError"] = go_errors(held.problems)
    return out


def _user(spec: Obj) -> User:
    extra = {key: list(values) for key, values in (spec.get("extra") or {}).items()}
    return User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""), extra)


def _access(call: Call, user: User, spec: Obj) -> Obj:
    asked, problems = _attributes(spec)
    decision = call.api.authorizer.authorize(user, asked)
    out: dict[str, Any] = {"allowed": decision.allowed is True}
    if decision.allowed is False:
        out["denied"] = True
    if decision.reason:
        out["reason"] = decision.reason
    if problems:
        out["evaluationError"] = "; ".join(problems)
    return out


def _attributes(spec: Obj) -> tuple[Attributes, list[str]]:
    """What is asked, and which selectors could not be read."""
    asked = spec.get("resourceAttributes")
    if asked is None:
        path = spec["nonResourceAttributes"]
        return Attributes(path.get("verb", ""), path=path.get("path", "")), []
    problems: list[str] = []
    fields = selectors.fields(asked.get("fieldSelector"), problems)
    labels = selectors.labels(asked.get("labelSelector"), problems)
    values: dict[str, Any] = {name: asked.get(name, "") for name in NAMES}
    return Attributes(**values, field_selector=fields, label_selector=labels), problems


def _spec_problems(review: Obj, *, subject: bool) -> ErrorList:
    spec: Obj = review.get("spec") or {}
    out = ErrorList()
    asked, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if asked is not None and path is not None:
        detail = "cannot be specified in combination with resourceAttributes"
        out.invalid(SPEC / "nonResourceAttributes", path, detail)
    if asked is None and path is None:
        detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        out.invalid(SPEC / "resourceAttributes", None, detail)
    if subject and not spec.get("user") and not spec.get("groups"):
        out.invalid(SPEC / "user", "", "at least one of user or group must be specified")
    if asked is not None:
        selectors.validate(asked, out)
    return out


def _check_metadata(review: Obj, out: ErrorList, detail: str, allowed: tuple[str, ...] = ()) -> None:
    meta = review.get("metadata") or {}
    if any(value for name, value in meta.items() if name != "managedFields" and name not in allowed):
        out.invalid(METADATA, meta, detail)


def _valid(call: Call, review: Obj, problems: ErrorList) -> Obj:
    if problems:
        raise errors.invalid("authorization.k8s.io", call.kind.names.kind, "", problems)
    spec: Obj = review["spec"]
    return spec

"""May they: the `SubjectAccessReview` family and `SelfSubjectRulesReview`.

Source: kubernetes/pkg/registry/authorization/*/rest.go
"""

from __future__ import annotations

from typing import Any

from sampan.api import errors
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.apiserver.authentication.user import ALL_AUTHENTICATED, User
from sampan.apiserver.authorization.attributes import Attributes
from sampan.apiserver.call import Call


def _access(call: Call, user: User, spec: Obj) -> Obj:
    decision = call.api.authorizer.authorize(user, _attributes(spec))
    out: dict[str, Any] = {"allowed": decision.allowed is True}
    if decision.reason:
        out["reason"] = decision.reason
    return out


def _attributes(spec: Obj) -> Attributes:
    asked, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if asked is not None:
        names = ("verb", "group", "version", "resource", "subresource", "namespace", "name")
        return Attributes(*(asked.get(name, "") for name in names))
    return Attributes((path or {}).get("verb", ""), path=(path or {}).get("path", ""))


def _check(call: Call, review: Obj, *, subject: bool) -> Obj:
    spec: Obj = review.get("spec", {})
    problems = ErrorList()
    both = spec.get("resourceAttributes") is not None, spec.get("nonResourceAttributes") is not None
    path = Path("spec")
    if all(both):
        problems.invalid(
            path / "nonResourceAttributes",
            spec["nonResourceAttributes"],
            "cannot be specified in combination with resourceAttributes",
        )
    if not any(both):
        problems.invalid(
            path / "resourceAttributes",
            None,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )
    if subject and not spec.get("user") and not spec.get("groups"):
        problems.invalid(path / "user", "", "at least one of user or group must be specified")
    if problems:
        raise errors.invalid("authorization.k8s.io", call.kind.names.kind, "", problems)
    return spec


def self_access(call: Call, review: Obj) -> Obj:
    return _access(call, call.user, _check(call, review, subject=False))


def subject_access(call: Call, review: Obj) -> Obj:
    spec = _check(call, review, subject=True)
    return _access(call, User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", "")), spec)


def local_access(call: Call, review: Obj) -> Obj:
    spec = _check(call, review, subject=True)
    asked = spec.get("resourceAttributes") or {}
    if asked.get("namespace", "") != call.info.namespace:
        raise errors.bad_request(f"spec.resourceAttributes.namespace must match namespace: {call.info.namespace}")
    return subject_access(call, review)


def rules(call: Call, review: Obj) -> Obj:
    if not review.get("spec", {}).get("namespace"):
        raise errors.bad_request("no namespace on request")
    resources: list[Obj] = []
    paths: list[Obj] = []
    if "system:masters" in call.user.groups:
        resources.append({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
        paths.append({"verbs": ["*"], "nonResourceURLs": ["*"]})
    if ALL_AUTHENTICATED in call.user.groups or resources == []:
        paths.append({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"]})
    return {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}

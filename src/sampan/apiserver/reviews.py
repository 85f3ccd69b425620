"""Kinds that are questions: created, answered, and stored nowhere.

`SelfSubjectReview` (who am I), the `SubjectAccessReview` family (may they), `SelfSubjectRulesReview` (what may I),
`TokenReview` (whose token is this), and the old `Binding` resource, which is a pod's subresource by another path.

Source: kubernetes/pkg/registry/{authentication,authorization}/*/rest.go
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from sampan.api import errors
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.apiserver import replies
from sampan.apiserver.authentication.user import ALL_AUTHENTICATED, User
from sampan.apiserver.authorization.attributes import Attributes
from sampan.apiserver.body import read_object
from sampan.apiserver.call import Call
from sampan.apiserver.http.messages import Response
from sampan.apiserver.options import write_options
from sampan.apiserver.views import TableView


async def answer(call: Call) -> Response:
    """201 with the review and its status."""
    options = write_options(call.query, "CreateOptions")
    review = read_object(call, options.validation)
    review["status"] = ANSWERS[call.kind.names.kind](call, review)
    body = orjson.dumps(review)
    if call.accept.view == "Table":
        view = TableView(call.kind, call.accept.version, "None", call.api.clock)
        body = b"".join(view.table([view.render(review, call.api.clock())], {}))
    pretty = replies.wants_pretty(call.request, call.query)
    return replies.reply(body, code=201, media=call.accept.media, warnings=call.warnings, pretty=pretty)


def _self(call: Call, review: Obj) -> Obj:
    review["metadata"] = {**review.get("metadata", {}), "creationTimestamp": call.context().now}
    return {"userInfo": call.user.info}


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


def _self_access(call: Call, review: Obj) -> Obj:
    return _access(call, call.user, _check(call, review, subject=False))


def _subject_access(call: Call, review: Obj) -> Obj:
    spec = _check(call, review, subject=True)
    return _access(call, User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", "")), spec)


def _local_access(call: Call, review: Obj) -> Obj:
    spec = _check(call, review, subject=True)
    asked = spec.get("resourceAttributes") or {}
    if asked.get("namespace", "") != call.info.namespace:
        raise errors.bad_request(f"spec.resourceAttributes.namespace must match namespace: {call.info.namespace}")
    return _subject_access(call, review)


def _rules(call: Call, review: Obj) -> Obj:
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


def _token(call: Call, review: Obj) -> Obj:
    if not review.get("spec", {}).get("token"):
        raise errors.bad_request("token is required for TokenReview in authentication")
    return {"user": {}, "error": "[invalid bearer token]"}


ANSWERS: dict[str, Callable[[Call, Obj], Obj]] = {
    "SelfSubjectReview": _self,
    "SelfSubjectAccessReview": _self_access,
    "SubjectAccessReview": _subject_access,
    "LocalSubjectAccessReview": _local_access,
    "SelfSubjectRulesReview": _rules,
    "TokenReview": _token,
}

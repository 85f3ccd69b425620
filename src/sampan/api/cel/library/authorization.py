"""`authorizer`: may the user of this request do that as well?

The check itself is a callable in the value; what it is asked is a dict of attributes:

    {"verb": "get", "path": "/healthz"}
    {"verb": "get", "group": "", "version": "*", "resource": "pods", "subresource": "", "namespace": "", "name": ""}

with `fieldSelector` and `labelSelector` where they were given, and `user` (a username) for `serviceAccount(...)`. It
answers whether it is allowed and why; an exception is the decision's error.

Source: k8s.io/apiserver/pkg/cel/library/authz.go
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sampan.api import names
from sampan.api.cel.errors import EvaluationError
from sampan.api.cel.functions import Library
from sampan.api.cel.values import Opaque

authorization = Library()
Check = Callable[[dict[str, Any]], tuple[bool, str]]


@dataclass(frozen=True, slots=True)
class Authorizer(Opaque):
    check: Check
    user: str = ""
    type_name = "kubernetes.authorization.Authorizer"

    def resource_check(self, **attributes: str) -> ResourceCheck:
        """What `authorizer.requestResource` is: the check of the request's own resource."""
        return ResourceCheck(self, {"group": "", "version": "*", "resource": "", **_WHOLE, **attributes})


@dataclass(frozen=True, slots=True)
class PathCheck(Opaque):
    authorizer: Authorizer
    path: str
    type_name = "kubernetes.authorization.PathCheck"


@dataclass(frozen=True, slots=True)
class GroupCheck(Opaque):
    authorizer: Authorizer
    group: str
    type_name = "kubernetes.authorization.GroupCheck"


@dataclass(frozen=True, slots=True, eq=False)
class ResourceCheck(Opaque):
    authorizer: Authorizer
    attributes: dict[str, str]
    type_name = "kubernetes.authorization.ResourceCheck"

    def narrowed(self, **attributes: str) -> ResourceCheck:
        return ResourceCheck(self.authorizer, {**self.attributes, **attributes})

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ResourceCheck)
            and other.attributes == self.attributes
            and other.authorizer == self.authorizer
        )

    def __hash__(self) -> int:
        return hash(tuple(self.attributes.items()))


@dataclass(frozen=True, slots=True)
class Decision(Opaque):
    allowed: bool
    reason: str = ""
    error: str = ""
    type_name = "kubernetes.authorization.Decision"


_WHOLE = {"subresource": "", "namespace": "", "name": ""}


def _path(authorizer: Authorizer, path: str) -> PathCheck:
    if not path.strip():
        raise EvaluationError("path must not be empty")
    return PathCheck(authorizer, path)


def _service_account(authorizer: Authorizer, namespace: str, name: str) -> Authorizer:
    if names.is_dns1123_subdomain(name):
        raise EvaluationError("Invalid service account name")
    if names.is_dns1123_label(namespace):
        raise EvaluationError("Invalid service account namespace")
    return Authorizer(authorizer.check, f"system:serviceaccount:{namespace}:{name}")


def _resource(group: GroupCheck, resource: str) -> ResourceCheck:
    if not resource.strip():
        raise EvaluationError("resource must not be empty")
    return group.authorizer.resource_check(group=group.group, resource=resource)


def _decide(authorizer: Authorizer, attributes: dict[str, Any]) -> Decision:
    if authorizer.user:
        attributes["user"] = authorizer.user
    try:
        return Decision(*authorizer.check(attributes))
    except Exception as error:  # whatever fails in an authorizer is the decision's error
        return Decision(False, "", str(error) or type(error).__name__)


_A = "kubernetes.authorization"
_R = f"{_A}.ResourceCheck"
authorization.member("path", "authorizer_path", f"{_A}.Authorizer, string -> {_A}.PathCheck", _path)
authorization.member("group", "authorizer_group", f"{_A}.Authorizer, string -> {_A}.GroupCheck", GroupCheck)
authorization.member(
    "serviceAccount",
    "authorizer_serviceaccount",
    f"{_A}.Authorizer, string, string -> {_A}.Authorizer",
    _service_account,
)
authorization.member("resource", "groupcheck_resource", f"{_A}.GroupCheck, string -> {_R}", _resource)
for _attribute in ("subresource", "namespace", "name", "fieldSelector", "labelSelector"):
    authorization.member(
        _attribute,
        f"resourcecheck_{_attribute}",
        f"{_R}, string -> {_R}",
        lambda check, value, attribute=_attribute: check.narrowed(**{attribute: value}),
    )
authorization.member(
    "check",
    "pathcheck_check",
    f"{_A}.PathCheck, string -> {_A}.Decision",
    lambda check, verb: _decide(check.authorizer, {"verb": verb, "path": check.path}),
)
authorization.member(
    "check",
    "resourcecheck_check",
    f"{_R}, string -> {_A}.Decision",
    lambda check, verb: _decide(check.authorizer, {"verb": verb, **check.attributes}),
)
authorization.member("allowed", "decision_allowed", f"{_A}.Decision -> bool", lambda decision: decision.allowed)
authorization.member("reason", "decision_reason", f"{_A}.Decision -> string", lambda decision: decision.reason)
authorization.member("errored", "decision_errored", f"{_A}.Decision -> bool", lambda decision: bool(decision.error))
authorization.member("error", "decision_error", f"{_A}.Decision -> string", lambda decision: decision.error)

"""`authorizer` in expressions, and the right to read what policies and bindings let others feel: their parameters.

Source: k8s.io/apiserver/pkg/cel/library/authz.go;
kubernetes/pkg/registry/admissionregistration/{validating,mutating}admissionpolicy{,binding}/{authz,strategy}.go
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from sampan.api import errors
from sampan.api.cel.library.authorization import Authorizer, Check, ResourceCheck
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.selectors import parse_field_selector, parse_label_selector
from sampan.api.user import ALL_AUTHENTICATED, MASTERS, User
from sampan.apiserver.admission.chain import Attributes
from sampan.apiserver.authorization.attributes import Attributes as Asked
from sampan.apiserver.webhooks.match import GROUP

SERVICE_ACCOUNT = "system:serviceaccount:"
POLICY_RESOURCES = {
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "MutatingAdmissionPolicy": "mutatingadmissionpolicies",
}


class RequestAuthorizer(Authorizer):
    """`authorizer` of a request, with the one field it has."""

    __slots__ = ("own",)
    own: ResourceCheck

    def __init__(self, check: Check, own: dict[str, str]) -> None:
        super().__init__(check)
        object.__setattr__(self, "own", self.resource_check(**own))

    def __getitem__(self, name: str) -> ResourceCheck:
        return self.own


def authorizer_of(attributes: Attributes) -> RequestAuthorizer:
    api, user = attributes.api, attributes.user
    loop, here = asyncio.get_running_loop(), threading.get_ident()

    def check(asked: dict[str, Any]) -> tuple[bool, str]:
        if threading.get_ident() == here:
            return decide(asked)
        # what authorizers know belongs to the event loop
        return asyncio.run_coroutine_threadsafe(decide_there(asked), loop).result()

    async def decide_there(asked: dict[str, Any]) -> tuple[bool, str]:
        return decide(asked)

    def decide(asked: dict[str, Any]) -> tuple[bool, str]:
        who = _service_account(asked["user"]) if asked.get("user") else user
        decision = api.authorizer.authorize(who, _asked(asked))
        return decision.allowed is True, decision.reason

    own = {"group": attributes.group, "resource": attributes.resource, "subresource": attributes.subresource}
    return RequestAuthorizer(check, {**own, "namespace": attributes.namespace, "name": attributes.name})


def _asked(asked: dict[str, Any]) -> Asked:
    if "path" in asked:
        return Asked(asked["verb"], path=asked["path"])
    fields, labels = asked.get("fieldSelector"), asked.get("labelSelector")
    return Asked(
        asked["verb"],
        asked["group"],
        asked["version"],
        asked["resource"],
        asked["subresource"],
        asked["namespace"],
        asked["name"],
        field_selector=parse_field_selector(fields) if fields else None,
        label_selector=parse_label_selector(labels) if labels else None,
    )


def _service_account(name: str) -> User:
    namespace = name.removeprefix(SERVICE_ACCOUNT).partition(":")[0]
    return User(name, ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", ALL_AUTHENTICATED))


def check_params(attributes: Attributes, policies: str) -> None:
    """Who writes a policy or binding may read the parameters it refers to. `policies`: the kind of the policies. Raises
    422."""
    obj, old = attributes.obj, attributes.old
    if obj is None or attributes.subresource or MASTERS in attributes.user.groups:
        return
    spec, before = obj.get("spec") or {}, (old or {}).get("spec") or {}
    out = ErrorList()
    if attributes.kind[2] == policies:
        kind = spec.get("paramKind")
        if kind is not None and kind != before.get("paramKind") and not _may(attributes, "get", kind, "*", "*"):
            which = f"(kind={kind.get('kind', '')}, apiVersion={kind.get('apiVersion', '')})"
            why = f'must have "get" permission on all objects of the referenced paramKind {which}'
            out.forbidden(Path("spec", "paramKind"), f"user {_shown(attributes.user)} {why}")
    else:
        ref, name = spec.get("paramRef"), spec.get("policyName", "")
        if ref is None or (ref == before.get("paramRef") and name == before.get("policyName")):
            return
        policy = attributes.api.cached(GROUP, POLICY_RESOURCES[policies]).get(name)
        kind = None if policy is None else (policy.obj().get("spec") or {}).get("paramKind")
        verb = "get" if ref.get("name") else "list"
        if not _may(attributes, verb, kind, ref.get("namespace", ""), ref.get("name", "")):
            why = f'user {_shown(attributes.user)} does not have "{verb}" permission'
            if policy is None:
                what = f"unable to get policy {name} to determine minimum required permissions"
                why = f"{what} and {why} for all groups, versions and resources"
            else:
                why += " on the object referenced by paramRef"
            out.forbidden(Path("spec", "paramRef"), why)
    if out:
        raise errors.invalid(GROUP, attributes.kind[2], obj["metadata"].get("name", ""), out)


def _may(attributes: Attributes, verb: str, param_kind: Obj | None, namespace: str, name: str) -> bool:
    """Without a known kind: everything."""
    group, version, resource = "*", "*", "*"
    if param_kind is not None:
        group, _, version = param_kind.get("apiVersion", "").rpartition("/")
        kind = attributes.api.registry.by_kind(group, version, param_kind.get("kind", ""))
        resource = kind.names.resource if kind is not None else "*"
    asked = Asked(verb, group, version, resource, "", namespace, name)
    return attributes.api.authorizer.authorize(attributes.user, asked).allowed is True


def _shown(user: User) -> str:
    """As Go prints a pointer to the struct."""
    extra = " ".join(f"{key}:[{' '.join(values)}]" for key, values in sorted(user.extra.items()))
    return f"&{{{user.name} {user.uid} [{' '.join(user.groups)}] map[{extra}]}}"

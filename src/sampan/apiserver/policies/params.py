"""The parameters of a binding: objects of the policy's `paramKind`, by name or by labels.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/generic/{policy_dispatcher,policy_source}.go
"""

from __future__ import annotations

from sampan.api.kind import Kind, Obj
from sampan.api.selectors import label_selector_from
from sampan.apiserver.api import Api
from sampan.apiserver.webhooks.match import converted


class Misconfigured(Exception):
    """A policy or binding that cannot be evaluated as it is."""


def find_kind(api: Api, param_kind: Obj) -> Kind:
    """Raises Misconfigured when there is no such kind."""
    group, _, version = param_kind.get("apiVersion", "").rpartition("/")
    kind = api.registry.by_kind(group, version, param_kind.get("kind", ""))
    if kind is None or "list" not in kind.names.verbs:
        shown = f"{group}/{version}, Kind={param_kind.get('kind', '')}"
        raise Misconfigured(f"failed to find resource referenced by paramKind: '{shown}'")
    return kind


async def find(api: Api, kind: Kind | None, ref: Obj | None, namespace: str) -> list[Obj | None]:
    """One None: evaluate without; none at all: do not evaluate. Raises Misconfigured."""
    if kind is None or ref is None:
        return [None]
    where = ref.get("namespace", "")
    if kind.names.namespaced:
        where = where or namespace
        if not where:
            raise Misconfigured(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
            )
    elif where:
        raise Misconfigured("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
    resource = api.resource(kind)
    if ref.get("name"):
        record = resource.cache.get(f"{where}/{ref['name']}" if where else ref["name"])
        records = [] if record is None else [record]
    else:
        selector = label_selector_from(ref.get("selector") or {})
        records = [record for record in resource.cache.list(where) if selector.matches(record.labels)]
    if not records and ref.get("parameterNotFoundAction") == "Deny":
        raise Misconfigured("no params found for policy binding with `Deny` parameterNotFoundAction")
    stored, wanted = resource.kind.names, kind.names
    source = (stored.group, stored.version, stored.kind)
    to = (wanted.group, wanted.version, wanted.kind)
    return [await converted(api, record.obj(), source, to) for record in records]

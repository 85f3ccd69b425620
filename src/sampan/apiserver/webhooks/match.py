"""Whom a write concerns: rules, the selectors, and the other versions a kind is served in.

Webhooks and policies match alike. A rule that names another version of the resource matches too (`matchPolicy:
Equivalent`); who matched that way is shown the object in that version.

Source: k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/{rules,namespace,object}, webhook/generic/webhook.go
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from sampan.api import errors
from sampan.api.frozen import frozen
from sampan.api.kind import Obj
from sampan.api.selectors import LabelSelector
from sampan.apiserver.admission.chain import Attributes
from sampan.apiserver.api import Api

Gvk = tuple[str, str, str]
Gvr = tuple[str, str, str]
NAMESPACES: Gvr = ("", "v1", "namespaces")
GROUP = "admissionregistration.k8s.io"
#: policies have no say about these: one could lock out everybody for good
POLICIES = frozenset(
    {
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
    }
)
#: nor have webhooks about these
EXEMPT = POLICIES | {"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"}


def is_exempt(attributes: Attributes) -> bool:
    return attributes.kind[0] == GROUP and attributes.kind[2] in EXEMPT


@frozen
class Rule:
    """`resources` are (resource, subresource) pairs; `names`, unless empty, the only objects meant."""

    operations: frozenset[str]
    groups: frozenset[str]
    versions: frozenset[str]
    resources: tuple[tuple[str, str], ...]
    scope: str
    names: frozenset[str]

    def matches(self, attributes: Attributes, resource: Gvr) -> bool:
        group, version, name = resource
        subresource = attributes.subresource
        return (
            (attributes.operation in self.operations or "*" in self.operations)
            and (group in self.groups or "*" in self.groups)
            and (version in self.versions or "*" in self.versions)
            and any(r in (name, "*") and s in (subresource, "*") for r, s in self.resources)
            and self._in_scope(attributes, resource)
            and (not self.names or attributes.name in self.names)
        )

    def _in_scope(self, attributes: Attributes, resource: Gvr) -> bool:
        if self.scope == "*":
            return True
        cluster = resource == NAMESPACES or not attributes.namespace
        return cluster is (self.scope == "Cluster")


def rule_from(raw: Obj) -> Rule:
    return Rule(
        frozenset(raw.get("operations") or ()),
        frozenset(raw.get("apiGroups") or ()),
        frozenset(raw.get("apiVersions") or ()),
        tuple((name, sub) for name, _, sub in (item.partition("/") for item in raw.get("resources") or ())),
        raw.get("scope") or "*",
        frozenset(raw.get("resourceNames") or ()),
    )


@frozen
class Matched:
    """The resource and kind in which the one who matched wants to see the object."""

    resource: Gvr
    kind: Gvk


@frozen
class Matcher:
    rules: tuple[Rule, ...]
    exclude: tuple[Rule, ...]
    equivalent: bool
    namespaces: LabelSelector
    objects: LabelSelector
    #: no rules mean everything, where otherwise they mean nothing
    any_resource: bool = False

    def matches(self, attributes: Attributes) -> Matched | None:
        """Raises 404 when the namespace that a selector asks about is not there."""
        if not self._object(attributes):
            return None
        if self.any_resource:
            asked = (attributes.group, attributes.version, attributes.resource)
            found: Matched | None = Matched(asked, attributes.kind)
        else:
            found = matching(self.rules, attributes, self.equivalent)
        if found is None or matching(self.exclude, attributes, self.equivalent) is not None:
            return None
        return found if self._namespace(attributes) else None

    def _namespace(self, attributes: Attributes) -> bool:
        is_namespace = (attributes.group, attributes.resource) == ("", "namespaces")
        if not self.namespaces or not (attributes.namespace or is_namespace):
            return True
        if is_namespace and not attributes.subresource and attributes.operation in ("CREATE", "UPDATE"):
            return self.namespaces.matches((attributes.obj or {}).get("metadata", {}).get("labels"))
        name = attributes.namespace or attributes.name
        record = attributes.api.namespaces.get(name)
        if record is None:
            raise errors.not_found("", "namespaces", name)
        return self.namespaces.matches(record.labels)

    def _object(self, attributes: Attributes) -> bool:
        if not self.objects:
            return True
        return any(
            obj is not None and self.objects.matches(obj.get("metadata", {}).get("labels"))
            for obj in (attributes.obj, attributes.old)
        )


def matching(rules: Sequence[Rule], attributes: Attributes, equivalent: bool) -> Matched | None:
    """By the first rule that matches; those for the resource itself come before those for its other versions."""
    if not rules:
        return None
    asked = (attributes.group, attributes.version, attributes.resource)
    if any(rule.matches(attributes, asked) for rule in rules):
        return Matched(asked, attributes.kind)
    if not equivalent:
        return None
    others = equivalents(attributes)
    for rule in rules:
        for other in others:
            if rule.matches(attributes, other.resource):
                return other
    return None


#: by API: the registry's generation, and what `equivalents` found then
_known: weakref.WeakKeyDictionary[Api, tuple[int, dict[tuple[str, ...], list[Matched]]]] = weakref.WeakKeyDictionary()


def equivalents(attributes: Attributes) -> list[Matched]:
    """The other ways in which the same stored objects are served."""
    api = attributes.api
    generation, found = _known.get(api, (-1, {}))
    if generation != api.registry.generation:
        found = {}
        _known[api] = (api.registry.generation, found)
    key = (attributes.group, attributes.version, attributes.resource, attributes.subresource)
    if key not in found:
        found[key] = _equivalents(attributes)
    return found[key]


def _equivalents(attributes: Attributes) -> list[Matched]:
    call = attributes.call
    registry = call.api.registry
    out: list[Matched] = []
    for group, versions in registry.groups():
        for version in versions:
            if (group, version) == (attributes.group, attributes.version):
                continue
            for names in registry.names(group, version):
                # another kind of that name is stored elsewhere; asking costs less than building every kind
                if names.resource != attributes.resource or "list" not in names.verbs:
                    continue
                kind = registry.get(group, version, names.resource)
                if kind is None or call.api.resource(kind).cache is not call.resource.cache:
                    continue
                shown = (group, version, names.kind)
                sub = next((item for item in names.subresources if item.name == attributes.subresource), None)
                if attributes.subresource:
                    if sub is None:
                        continue
                    shown = (sub.group, sub.version, sub.kind)
                out.append(Matched((group, version, names.resource), shown))
    return out


async def converted(api: Api, obj: Obj | None, source: Gvk, to: Gvk) -> Obj | None:
    """`obj`, of the kind `source`, in the version of `to`. Raises 500 where there is no way."""
    if obj is None or source == to:
        return obj
    here, there = api.registry.by_kind(*source), api.registry.by_kind(*to)
    if here is None or there is None:
        raise errors.internal(f"unable to convert {'/'.join(source)} to {'/'.join(to)}: unknown kind")
    if here.remote:
        from sampan.apiserver.customresources.conversion import ConvertedKind

        assert isinstance(here, ConvertedKind)
        (obj,) = await here.converter.convert([obj], there.names.api_version)
        return there.from_storage(obj)
    return there.from_storage(here.to_storage(obj))

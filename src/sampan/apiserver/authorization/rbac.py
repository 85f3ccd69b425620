"""RBAC: what roles and bindings allow, answered from an index that follows the watch caches.

Bindings are kept by subject and namespace. For a subject of a namespace (or of the cluster) that somebody asks about,
the rules of all roles bound to it are laid out in one table, by verb, group and resource: a question costs a few look-ups
in the tables of the user and of each group, however many roles there are. A change drops the tables that it touches.

Source: kubernetes/plugin/pkg/auth/authorizer/rbac/rbac.go, pkg/registry/rbac/validation/rule.go
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sampan.api import errors
from sampan.api.kind import Obj
from sampan.apiserver.authentication.user import User
from sampan.apiserver.authorization.attributes import NO_OPINION, Attributes, Decision, Holdings
from sampan.apiserver.authorization.rules import Rule, go_errors
from sampan.apiserver.cache import Entry, EventType, Record, Watcher

if TYPE_CHECKING:
    from sampan.apiserver.api import Api

GROUP = "rbac.authorization.k8s.io"
#: namespace (empty: the cluster) and subject (`u:NAME` or `g:NAME`)
Scope = tuple[str, str]
#: namespace (empty: a ClusterRole) and name
RoleKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Binding:
    """One binding. `subjects`: keys with the words that a reason shows, first one first."""

    name: str
    namespace: str
    role: RoleKey
    subjects: dict[str, str]

    def reason(self, subject: str) -> str:
        own = f'RoleBinding "{self.name}/{self.namespace}"' if self.namespace else f'ClusterRoleBinding "{self.name}"'
        kind = "Role" if self.role[0] else "ClusterRole"
        return f'RBAC: allowed by {own} of {kind} "{self.role[1]}" to {self.subjects[subject]}'


@dataclass(slots=True)
class Grant:
    """What one verb, group and resource is given: for any name, or for certain ones."""

    any: Decision | None = None
    named: dict[str, Decision] = field(default_factory=dict)


@dataclass(slots=True)
class Table:
    """All that one subject may do in one namespace, or everywhere. `missing`: roles that are bound but not there."""

    grants: dict[tuple[str, str, str], Grant] = field(default_factory=dict)
    urls: dict[tuple[str, str], Decision] = field(default_factory=dict)
    prefixes: list[tuple[str, str, Decision]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def add(self, rule: Rule, decision: Decision) -> None:
        verbs, names = rule.get("verbs") or (), rule.get("resourceNames")
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                for verb in verbs:
                    grant = self.grants.setdefault((verb, group, resource), Grant())
                    if not names:
                        grant.any = grant.any or decision
                    else:
                        for name in names:
                            grant.named.setdefault(name, decision)
        for url in rule.get("nonResourceURLs") or ():
            for verb in verbs:
                self.urls.setdefault((verb, url), decision)
                if url.endswith("*"):
                    self.prefixes.append((verb, url.rstrip("*"), decision))


class Rbac:
    """The authorizer. It reads the caches when first asked, and again when they were loaded anew."""

    def __init__(self, api: Api) -> None:
        self.roles = api.cached(GROUP, "roles")
        self.cluster_roles = api.cached(GROUP, "clusterroles")
        self.bindings = (api.cached(GROUP, "rolebindings"), api.cached(GROUP, "clusterrolebindings"))
        self._seen: tuple[Any, ...] = ()
        self._bound: dict[Scope, dict[str, Binding]] = {}
        self._tables: dict[Scope, Table] = {}
        #: whose tables a role's rules went into
        self._using: dict[RoleKey, set[Scope]] = {}
        self._rules: dict[RoleKey, list[Rule] | None] = {}
        for cache in self.bindings:
            cache.watchers.add(Watcher("", "", None, self._binding_changed))
        for cache in (self.roles, self.cluster_roles):
            cache.watchers.add(Watcher("", "", None, self._role_changed))

    # -- asking --------------------------------------------------------------------------------------------------------

    def authorize(self, user: User, asked: Attributes) -> Decision:
        self._follow()
        tables = self._tables_of(user, asked.namespace)
        found = self._resource(tables, asked) if asked.is_resource else self._path(tables, asked)
        if found is not None:
            return found
        missing = [message for table in tables for message in table.missing]
        return Decision(None, "RBAC: " + go_errors(missing)) if missing else NO_OPINION

    def _resource(self, tables: list[Table], asked: Attributes) -> Decision | None:
        resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
        resources = (resource, "*", "*/" + asked.subresource) if asked.subresource else (resource, "*")
        keys = [(verb, group, name) for verb in (asked.verb, "*") for group in (asked.group, "*") for name in resources]
        for table in tables:
            grants = table.grants
            for key in keys:
                grant = grants.get(key)
                if grant is not None:
                    decision = grant.any or grant.named.get(asked.name)
                    if decision is not None:
                        return decision
        return None

    @staticmethod
    def _path(tables: list[Table], asked: Attributes) -> Decision | None:
        for table in tables:
            found = table.urls.get((asked.verb, asked.path)) or table.urls.get(("*", asked.path))
            if found is not None:
                return found
            for verb, prefix, decision in table.prefixes:
                if verb in (asked.verb, "*") and asked.path.startswith(prefix):
                    return decision
        return None

    def rules_for(self, user: User, namespace: str) -> Holdings:
        """All rules that apply to a user in a namespace (empty: everywhere), and what went wrong finding them."""
        self._follow()
        rules: list[Rule] = []
        problems: list[str] = []
        for scope in ("", namespace) if namespace else ("",):
            bindings: dict[str, Binding] = {}
            for subject in _subjects(user):
                bindings.update(self._bound.get((scope, subject)) or {})
            for _, binding in sorted(bindings.items()):
                found = self._rules_of(binding.role)
                if found is None:
                    problems.append(_not_found(binding.role).message)
                else:
                    rules.extend(found)
        return Holdings(rules, problems)

    def role_rules(self, ref: Obj, namespace: str) -> list[Rule]:
        """The rules of the role that a binding in `namespace` refers to. Raises 404."""
        self._follow()
        key = _role_key(ref, namespace)
        rules = self._rules_of(key)
        if rules is None:
            raise _not_found(key)
        return rules

    # -- the index -----------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Read everything when the caches were loaded since (their `records` are then another dict)."""
        bindings, cluster = self.bindings
        now = (bindings.records, cluster.records, self.roles.records, self.cluster_roles.records)
        if self._seen and all(a is b for a, b in zip(now, self._seen, strict=True)):
            return
        self._seen = now
        self._bound, self._tables, self._using, self._rules = {}, {}, {}, {}
        for cache in self.bindings:
            for record in cache.records.values():
                self._bind(read_binding(record))

    def _tables_of(self, user: User, namespace: str) -> list[Table]:
        out: list[Table] = []
        subjects = _subjects(user)
        for scope in ("", namespace) if namespace else ("",):
            for subject in subjects:
                key = (scope, subject)
                table = self._tables.get(key)
                if table is None:
                    bindings = self._bound.get(key)
                    if not bindings:
                        continue
                    table = self._tables[key] = self._lay_out(key, bindings)
                out.append(table)
        return out

    def _lay_out(self, key: Scope, bindings: dict[str, Binding]) -> Table:
        table = Table()
        for _, binding in sorted(bindings.items()):
            self._using.setdefault(binding.role, set()).add(key)
            rules = self._rules_of(binding.role)
            if rules is None:
                table.missing.append(_not_found(binding.role).message)
                continue
            decision = Decision(True, binding.reason(key[1]))
            for rule in rules:
                table.add(rule, decision)
        return table

    def _rules_of(self, key: RoleKey) -> list[Rule] | None:
        if key not in self._rules:
            namespace, name = key
            record = self.roles.get(f"{namespace}/{name}") if namespace else self.cluster_roles.get(name)
            if record is None:
                return None
            self._rules[key] = record.obj().get("rules") or []
        return self._rules[key]

    def _bind(self, binding: Binding) -> None:
        for subject in binding.subjects:
            key = (binding.namespace, subject)
            self._bound.setdefault(key, {})[binding.name] = binding
            self._tables.pop(key, None)

    def _unbind(self, binding: Binding) -> None:
        for subject in binding.subjects:
            key = (binding.namespace, subject)
            bindings = self._bound.get(key)
            if bindings is not None:
                bindings.pop(binding.name, None)
                if not bindings:
                    del self._bound[key]
            self._tables.pop(key, None)

    def _binding_changed(self, entry: Entry, kind: EventType) -> None:
        if entry.before is not None:
            self._unbind(read_binding(entry.before))
        if kind != "DELETED":
            self._bind(read_binding(entry.record))

    def _role_changed(self, entry: Entry, kind: EventType) -> None:
        key = (entry.record.namespace, entry.record.name)
        self._rules.pop(key, None)
        for scope in self._using.pop(key, ()):
            self._tables.pop(scope, None)


def read_binding(record: Record) -> Binding:
    obj = record.obj()
    subjects: dict[str, str] = {}
    for subject in obj.get("subjects") or ():
        for key, shown in _subject(subject, record.namespace):
            subjects.setdefault(key, shown)
    return Binding(record.name, record.namespace, _role_key(obj["roleRef"], record.namespace), subjects)


def _subject(subject: Obj, namespace: str) -> Iterator[tuple[str, str]]:
    """A ServiceAccount without a namespace is of the binding's own, and nobody where that has none."""
    kind, name = subject.get("kind"), subject.get("name", "")
    if kind == "User":
        yield f"u:{name}", f'User "{name}"'
    elif kind == "Group":
        yield f"g:{name}", f'Group "{name}"'
    elif kind == "ServiceAccount":
        home = subject.get("namespace") or namespace
        if home:
            yield f"u:system:serviceaccount:{home}:{name}", f'ServiceAccount "{name}/{home}"'


def _subjects(user: User) -> list[str]:
    return ["u:" + user.name, *["g:" + group for group in user.groups]]


def _role_key(ref: Obj, namespace: str) -> RoleKey:
    return (namespace if ref.get("kind") == "Role" else "", ref.get("name", ""))


def _not_found(key: RoleKey) -> errors.StatusError:
    return errors.not_found(GROUP, "role" if key[0] else "clusterrole", key[1])

"""RBAC: what roles and bindings allow, answered from an index that follows the watch caches.

Bindings are kept by subject and namespace. For a subject of a namespace (or of the cluster) that somebody asks about,
the rules of all roles bound to it are laid out in one table, by verb, group and resource; what the tables of a user and
of each group say together is remembered for the users that ask. So a question costs a look-up or two, however many roles
there are. A change drops the tables that it touches, and what was remembered.

Source: kubernetes/plugin/pkg/auth/authorizer/rbac/rbac.go, pkg/registry/rbac/validation/rule.go
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sampan.api import errors
from sampan.api.frozen import frozen
from sampan.api.kind import Obj
from sampan.api.user import User
from sampan.apiserver.authorization.attributes import NO_OPINION, Attributes, Decision, Holdings
from sampan.apiserver.authorization.rules import Rule, go_errors
from sampan.apiserver.authorization.table import Grant, Table
from sampan.apiserver.cache import Entry, EventType, Record, Watcher

if TYPE_CHECKING:
    from sampan.apiserver.api import Api

GROUP = "rbac.authorization.k8s.io"
#: what is remembered at most: users by namespace, and for each of them verbs and resources; and of what length
MOST_VIEWS, MOST_ANSWERS, LONGEST = 512, 128, 512
#: namespace (empty: the cluster) and subject (`u:NAME` or `g:NAME`)
Scope = tuple[str, str]
#: namespace (empty: a ClusterRole) and name
RoleKey = tuple[str, str]


@frozen
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
class View:
    """One user in one namespace: the tables that apply, and the answers they gave. A client can make up resources to ask
    about, so that answers are forgotten when there are too many, and not kept when they are too long."""

    tables: list[Table]
    grants: dict[tuple[str, str, str, str], Grant] = field(default_factory=dict)

    def resource(self, asked: Attributes) -> Decision | None:
        key = (asked.verb, asked.group, asked.resource, asked.subresource)
        grant = self.grants.get(key)
        if grant is None:
            grant = Grant()
            if sum(map(len, key)) <= LONGEST:
                if len(self.grants) >= MOST_ANSWERS:
                    self.grants.clear()
                self.grants[key] = grant
            for table in self.tables:
                for found in table.find(*key):
                    grant.any = grant.any or found.any
                    grant.named = {**found.named, **grant.named}
        return grant.of(asked.name)

    def path(self, asked: Attributes) -> Decision | None:
        for table in self.tables:
            found = table.path(asked.verb, asked.path)
            if found is not None:
                return found
        return None

    def refusal(self) -> Decision:
        missing = [message for table in self.tables for message in table.missing]
        return Decision(None, "RBAC: " + go_errors(missing)) if missing else NO_OPINION


class Rbac:
    """The authorizer. It reads the caches when first asked, and again when they were loaded anew."""

    def __init__(self, api: Api) -> None:
        self.roles = api.cached(GROUP, "roles")
        self.cluster_roles = api.cached(GROUP, "clusterroles")
        self.bindings = (api.cached(GROUP, "rolebindings"), api.cached(GROUP, "clusterrolebindings"))
        self._seen: tuple[Any, Any, Any, Any] = (None, None, None, None)
        self._bound: dict[Scope, dict[str, Binding]] = {}
        self._tables: dict[Scope, Table] = {}
        self._views: dict[tuple[str, tuple[str, ...], str], View] = {}
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
        key = (user.name, user.groups, asked.namespace)
        view = self._views.get(key)
        if view is None:
            view = View(self._tables_of(user, asked.namespace))
            if len(user.name) + len(asked.namespace) <= LONGEST:
                if len(self._views) >= MOST_VIEWS:
                    self._views.clear()
                self._views[key] = view
        found = view.resource(asked) if asked.is_resource else view.path(asked)
        return found if found is not None else view.refusal()

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
        a, b, c, d = self._seen
        if (
            bindings.records is a
            and cluster.records is b
            and self.roles.records is c
            and self.cluster_roles.records is d
        ):
            return
        self._seen = (bindings.records, cluster.records, self.roles.records, self.cluster_roles.records)
        self._bound, self._tables, self._using, self._rules = {}, {}, {}, {}
        self._views.clear()
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
        self._views.clear()
        if entry.before is not None:
            self._unbind(read_binding(entry.before))
        if kind != "DELETED":
            self._bind(read_binding(entry.record))

    def _role_changed(self, entry: Entry, kind: EventType) -> None:
        self._views.clear()
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

"""Nobody gives away what they do not have: checks on roles and bindings, when they are written.

Who writes a role must hold all of its permissions, or the verb `escalate` on it; who writes a binding must hold what
the bound role gives, or the verb `bind` on that role. `system:masters` may do as it likes. The checks come after every
mutating plugin, and are the storage's own: no flag turns them off.

Source: kubernetes/pkg/registry/rbac/{escalation_check,helpers}.go, {role,clusterrole,rolebinding,clusterrolebinding}/
policybased/storage.go, pkg/registry/rbac/validation/rule.go (ConfirmNoEscalation)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sampan.api import errors
from sampan.api.kind import Obj
from sampan.api.user import MASTERS
from sampan.apiserver.admission.chain import Attributes as Write
from sampan.apiserver.authorization.attributes import Attributes
from sampan.apiserver.authorization.rbac import GROUP
from sampan.apiserver.authorization.rules import Rule, compact, described, go_errors, go_list, uncovered

ROLES, BINDINGS = ("roles", "clusterroles"), ("rolebindings", "clusterrolebindings")
#: what a garbage collector changes, and what changes by itself
INCIDENTAL = ("ownerReferences", "finalizers", "managedFields", "resourceVersion", "generation")
EVERYTHING: Sequence[Rule] = (
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
)


def refuse_escalation(write: Write) -> None:
    """Raises 403; 404 for a binding of a role that is not there, by someone who may not bind what could come."""
    if write.group != GROUP or write.obj is None or MASTERS in write.user.groups:
        return
    if write.resource in ROLES:
        _check_role(write, write.obj)
    elif write.resource in BINDINGS:
        _check_binding(write, write.obj)


def _check_role(write: Write, role: Obj) -> None:
    if _may(write, "escalate", write.resource, write.call.info.name) or _incidental(role, write.old):
        return
    _confirm(write, role.get("rules") or ())
    if _aggregates(role) or _aggregates(write.old):
        # a selector gathers whatever comes to match it
        missing, _ = _lacking(write, EVERYTHING)
        if missing:
            raise _forbidden(write, "must have cluster-admin privileges to use the aggregationRule")


def _check_binding(write: Write, binding: Obj) -> None:
    ref = binding.get("roleRef") or {}
    if _incidental(binding, write.old):
        return
    resource = {"ClusterRole": "clusterroles", "Role": "roles"}.get(ref.get("kind", ""))
    if resource is None or ref.get("apiGroup") != GROUP:
        # no such role can be; validation says so
        return
    if not _may(write, "bind", resource, ref.get("name", "")):
        _confirm(write, write.api.authorizer.rbac.role_rules(ref, write.namespace))


def _may(write: Write, verb: str, resource: str, name: str) -> bool:
    asked = Attributes(verb, GROUP, "*", resource, "", write.namespace, name)
    return write.api.authorizer.authorize(write.user, asked).allowed is True


def _lacking(write: Write, rules: Iterable[Rule]) -> tuple[list[Rule], list[str]]:
    held = write.api.authorizer.rbac.rules_for(write.user, write.namespace)
    return uncovered(held.rules, rules), held.problems


def _confirm(write: Write, rules: Iterable[Rule]) -> None:
    missing, problems = _lacking(write, rules)
    if not missing:
        return
    shown = "\n".join(sorted({described(rule) for rule in compact(missing)}))
    why = (
        f'user "{write.user.name}" (groups={go_list(write.user.groups)}) is attempting to grant RBAC permissions '
        f"not currently held:\n{shown}"
    )
    raise _forbidden(write, f"{why}; resolution errors: [{go_errors(problems)}]" if problems else why)


def _forbidden(write: Write, why: str) -> errors.StatusError:
    name = (write.obj or {}).get("metadata", {}).get("name", "")
    return errors.forbidden(GROUP, write.resource, name, why)


def _aggregates(role: Obj | None) -> bool:
    """An aggregationRule counts once it selects something."""
    return bool(((role or {}).get("aggregationRule") or {}).get("clusterRoleSelectors"))


def _incidental(obj: Obj, old: Obj | None) -> bool:
    """Only what lets a garbage collector end the object is changed."""
    return old is not None and _essence(obj) == _essence(old)


def _essence(obj: Obj) -> Obj:
    meta = {name: value for name, value in obj["metadata"].items() if name not in INCIDENTAL}
    return {**obj, "metadata": meta}

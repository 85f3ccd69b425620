"""The roles and bindings that every cluster has: made when missing, completed when less than they should be.

What somebody added to them stays; an object with annotation `rbac.authorization.kubernetes.io/autoupdate: "false"` is
left alone. All that is to be written goes into as few transactions as the store takes.

Source: kubernetes/pkg/registry/rbac/rest/storage_rbac.go (EnsureRBACPolicy), k8s.io/component-helpers/auth/rbac/
reconciliation/{reconcile_role,reconcile_rolebindings}.go
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sampan.api.kind import Obj
from sampan.api.times import format_time
from sampan.apiserver.authorization.aggregation import aggregated
from sampan.apiserver.authorization.bootstrap_controllers import CONTROLLER_ROLES
from sampan.apiserver.authorization.bootstrap_roles import BINDINGS, CLUSTER_BINDINGS, CLUSTER_ROLES, ROLES
from sampan.apiserver.authorization.rbac import GROUP
from sampan.apiserver.authorization.rules import Rule, uncovered
from sampan.apiserver.cache import encode
from sampan.store.contract import Compare, Op, Put

if TYPE_CHECKING:
    from sampan.apiserver.api import Api

LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
AUTO_UPDATE = "rbac.authorization.kubernetes.io/autoupdate"
FEEDS = "rbac.authorization.k8s.io/aggregate-to-"
#: etcd takes 128 operations in a transaction
AT_ONCE = 120
#: API servers that start together on one store are in each other's way
ATTEMPTS = 5
EVENTS: Rule = {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch", "update"]}
READ, WRITE = ["get", "list", "watch"], ["create", "delete", "deletecollection", "patch", "update"]
VERBS = {"read": READ, "write": WRITE, "full": sorted([*READ, *WRITE])}


async def ensure_roles(api: Api) -> None:
    """Raises StoreError."""
    for _ in range(ATTEMPTS):
        ops = list(_changes(api))
        well = True
        for start in range(0, len(ops), AT_ONCE):
            some = ops[start : start + AT_ONCE]
            result = await api.store.txn([compare for compare, _ in some], [op for _, op in some])
            await api.cache.reach(result.revision)
            well = well and result.succeeded
        if well:
            return
    # each time somebody changed one of them; whoever it was starts with the same roles


def _changes(api: Api) -> Iterator[tuple[Compare, Op]]:
    for resource, expected in objects():
        cache = api.cached(GROUP, resource)
        meta = expected["metadata"]
        key = f"{meta['namespace']}/{meta['name']}" if "namespace" in meta else meta["name"]
        record = cache.get(key)
        obj: Obj | None = expected if record is None else reconciled(record.obj(), expected)
        if obj is None:
            continue
        if "uid" not in obj["metadata"]:
            obj = _fresh(api, obj)
        store_key = (cache.prefix + key).encode()
        yield Compare(store_key, "mod", "=", record.revision if record is not None else 0), Put(store_key, encode(obj))


def _fresh(api: Api, obj: Obj) -> Obj:
    system = {"uid": api.new_uid(), "creationTimestamp": format_time(api.clock())}
    return {**obj, "metadata": {**obj["metadata"], **system}}


def reconciled(obj: Obj, expected: Obj) -> Obj | None:
    """The stored object completed by what it lacks of the expected one; None: leave it. One that binds another role is
    made anew (it has no uid then)."""
    meta, wanted = obj["metadata"], expected["metadata"]
    if (meta.get("annotations") or {}).get(AUTO_UPDATE) == "false":
        return None
    if obj.get("roleRef") != expected.get("roleRef"):
        return expected
    out = {**obj, "metadata": dict(meta)}
    for name in ("labels", "annotations"):
        out["metadata"][name] = {**wanted[name], **(meta.get(name) or {})}
    if "aggregationRule" in expected:
        have = (obj.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
        missing = [item for item in expected["aggregationRule"]["clusterRoleSelectors"] if item not in have]
        if missing:
            out["aggregationRule"] = {"clusterRoleSelectors": [*have, *missing]}
    elif "rules" in expected:
        if obj.get("rules") != expected["rules"]:
            rules = obj.get("rules") or []
            out["rules"] = [*rules, *uncovered(rules, expected["rules"])]
    else:
        subjects = obj.get("subjects") or []
        lacking = [item for item in expected.get("subjects", ()) if item not in subjects]
        if lacking:
            out["subjects"] = [*subjects, *lacking]
    return out if out != obj else None


# -- reading the text ------------------------------------------------------------------------------------------------


def objects() -> Iterator[tuple[str, Obj]]:
    """Resource and object, roles before what binds them."""
    roles = list(_roles(CLUSTER_ROLES)) + list(_roles(CONTROLLER_ROLES, "system:controller:"))
    # admin gathers what edit has gathered, edit what view has
    for role in reversed([role for role in roles if "aggregationRule" in role]):
        role["rules"] = aggregated(role, roles)
    for role in roles:
        yield "clusterroles", role
    for line in _lines(CLUSTER_BINDINGS):
        yield "clusterrolebindings", _binding(line, "ClusterRole")
    for role in roles:
        name = role["metadata"]["name"]
        if name.startswith("system:controller:"):
            line = f"{name} {name} s:{name.removeprefix('system:controller:')}"
            yield "clusterrolebindings", _binding(line, "ClusterRole")
    for role in _roles(ROLES):
        yield "roles", role
    for line in _lines(BINDINGS):
        yield "rolebindings", _binding(line, "Role")


def node_rules() -> list[Rule]:
    """What every node may do, as far as the node authorizer does not look closer."""
    role = next(role for role in _roles(CLUSTER_ROLES) if role["metadata"]["name"] == "system:node")
    rules: list[Rule] = role["rules"]
    return rules


def _lines(text: str) -> list[str]:
    return text.strip().replace(",\n    ", ",").splitlines()


def _meta(key: str, labels: dict[str, str]) -> Obj:
    namespace, _, name = key.rpartition("/")
    meta: Obj = {"name": name, "labels": {**LABELS, **labels}, "annotations": {AUTO_UPDATE: "true"}}
    return {**meta, "namespace": namespace} if namespace else meta


def _roles(text: str, prefix: str = "") -> Iterator[Obj]:
    role: Obj = {}
    for line in _lines(text):
        if line.startswith(" "):
            role["rules"].append(_rule(line.split()))
            continue
        if role:
            yield role
        name, *more = line.split()
        marks = dict(mark.split("=") for mark in more)
        labels = {FEEDS + marks["feeds"]: "true"} if "feeds" in marks else {}
        kind = "Role" if "/" in name else "ClusterRole"
        role = {"kind": kind, "apiVersion": f"{GROUP}/v1", "metadata": _meta(prefix + name, labels), "rules": []}
        if "gathers" in marks:
            selector = {"matchLabels": {FEEDS + marks["gathers"]: "true"}}
            role["aggregationRule"] = {"clusterRoleSelectors": [selector]}
    yield role


def _rule(words: list[str]) -> Rule:
    if words == ["events"]:
        return EVENTS
    verbs = VERBS.get(words[0]) or words[0].split(",")
    if len(words) == 2:
        return {"verbs": verbs, "nonResourceURLs": words[1].split(",")}
    groups = ["" if group == "-" else group for group in words[1].split(",")]
    rule: Rule = {"verbs": verbs, "apiGroups": groups, "resources": words[2].split(",")}
    return {**rule, "resourceNames": words[3][1:].split(",")} if len(words) > 3 else rule


def _binding(line: str, kind: str) -> Obj:
    key, role, *subjects = line.split()
    obj: Obj = {
        "kind": "RoleBinding" if kind == "Role" else "ClusterRoleBinding",
        "apiVersion": f"{GROUP}/v1",
        "metadata": _meta(key, {}),
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role},
    }
    if subjects:
        obj["subjects"] = [_subject(*subject.split(":", 1)) for subject in subjects[0].split(",")]
    return obj


def _subject(mark: str, name: str) -> Obj:
    if mark == "s":
        return {"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}
    return {"kind": "User" if mark == "u" else "Group", "apiGroup": GROUP, "name": name}

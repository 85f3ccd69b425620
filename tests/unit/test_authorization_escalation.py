"""Attacks on roles and bindings: nobody gives away, or takes, what they do not hold."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.user import User
from sampan.apiserver.authorization.rules import compact, described, uncovered
from tests.conftest import Local
from tests.people import RBAC, account, bind, binding, make_role, path_of, person, role, rule, send

MALLORY = person("mallory", "crew")
CLUSTER_ROLES, ROLES = f"{RBAC}/clusterroles", f"{RBAC}/namespaces/default/roles"
BINDINGS = f"{RBAC}/namespaces/default/rolebindings"
WRITE = "get,list,create,update,patch,delete"
ALL_RBAC = "roles,clusterroles,rolebindings,clusterrolebindings"


@pytest.fixture
async def mallory(api: Local) -> User:
    """May read pods, and write every kind of RBAC."""
    await make_role(api, "rbac-writer", rule(WRITE, ALL_RBAC, "rbac.authorization.k8s.io"), rule("get,list", "pods"))
    await bind(api, "mallory", "ClusterRole/rbac-writer", "User/mallory")
    return MALLORY


def attempt(*missing: str, who: str = 'user "mallory" (groups=["crew" "system:authenticated"])') -> str:
    lines = "\n".join(missing)
    return f"{who} is attempting to grant RBAC permissions not currently held:\n{lines}"


async def test_role_with_more_than_one_has(api: Local, mallory: User) -> None:
    strong = role("strong", rule("get,list,delete", "pods"), rule("get", "secrets"), namespace="default")
    code, status = await send(api, mallory, "POST", ROLES, strong)
    assert code == 403
    assert status["message"] == 'roles.rbac.authorization.k8s.io "strong" is forbidden: ' + attempt(
        '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}',
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}',
    )
    assert status["details"] == {"name": "strong", "group": "rbac.authorization.k8s.io", "kind": "roles"}
    weak = role("weak", rule("get", "pods"), rule("list", "pods", names="x"), namespace="default")
    assert (await send(api, mallory, "POST", ROLES, weak))[0] == 201
    # a dry run tells no other story
    assert (await send(api, mallory, "POST", ROLES + "?dryRun=All", strong))[0] == 403


@pytest.mark.parametrize("way", ["put", "merge", "json", "strategic", "apply", "apply-new"])
async def test_every_way_to_write_a_role(api: Local, mallory: User, way: str) -> None:
    await make_role(api, "weak", rule("get", "pods"))
    strong = role("weak", rule("*", "*", "*"))
    target, rules = f"{CLUSTER_ROLES}/weak", strong["rules"]
    if way == "put":
        reply = await send(api, mallory, "PUT", target, strong)
    elif way == "merge":
        reply = await send(api, mallory, "PATCH", target, {"rules": rules}, "application/merge-patch+json")
    elif way == "json":
        patch = [{"op": "replace", "path": "/rules", "value": rules}]
        reply = await send(api, mallory, "PATCH", target, patch, "application/json-patch+json")
    elif way == "strategic":
        reply = await send(api, mallory, "PATCH", target, {"rules": rules}, "application/strategic-merge-patch+json")
    else:
        name = "weak" if way == "apply" else "new"
        strong["metadata"]["name"] = name
        query = "?fieldManager=m&force=true"
        reply = await send(
            api, mallory, "PATCH", f"{CLUSTER_ROLES}/{name}{query}", strong, "application/apply-patch+yaml"
        )
    assert reply[0] == 403, reply
    assert 'Verbs:["*"]' in reply[1]["message"]
    assert (await api("GET", target))[1]["rules"] == [rule("get", "pods")]


async def test_escalate_lifts_the_check(api: Local, mallory: User) -> None:
    await make_role(api, "e", rule("escalate", "roles", "rbac.authorization.k8s.io", names="mine"), namespace="default")
    await bind(api, "e", "Role/e", "User/mallory", namespace="default")
    strong = role("mine", rule("*", "*", "*"), namespace="default")
    # a name does not count for what is not there yet
    assert (await send(api, mallory, "POST", ROLES, strong))[0] == 403
    await make_role(api, "mine", namespace="default")
    assert (await send(api, mallory, "PUT", f"{ROLES}/mine", strong))[0] == 200
    assert (await send(api, mallory, "PUT", f"{ROLES}/e", role("e", rule("*", "*"), namespace="default")))[0] == 403


async def test_bindings_need_what_they_give_or_bind(api: Local, mallory: User) -> None:
    code, status = await send(
        api, mallory, "POST", BINDINGS, binding("b", "ClusterRole/cluster-admin", "User/mallory", namespace="default")
    )
    assert code == 403
    assert status["message"] == 'rolebindings.rbac.authorization.k8s.io "b" is forbidden: ' + attempt(
        '{APIGroups:["*"], Resources:["*"], Verbs:["*"]}', '{NonResourceURLs:["*"], Verbs:["*"]}'
    )
    cluster = binding("b", "ClusterRole/view", "User/mallory")
    assert (await send(api, mallory, "POST", path_of(cluster), cluster))[0] == 403
    # what one holds one may pass on
    own = binding("own", "ClusterRole/rbac-writer", "User/friend")
    assert (await send(api, mallory, "POST", path_of(own), own))[0] == 201
    # the verb `bind`, on one role, in one namespace
    await make_role(api, "binder", rule("bind", "clusterroles", "rbac.authorization.k8s.io", names="view"))
    await bind(api, "binder", "ClusterRole/binder", "User/mallory", namespace="default")
    view = binding("v", "ClusterRole/view", "User/mallory", namespace="default")
    assert (await send(api, mallory, "POST", BINDINGS, view))[0] == 201
    assert (await send(api, mallory, "POST", path_of(cluster), cluster))[0] == 403
    other = binding("o", "ClusterRole/edit", "User/mallory", namespace="default")
    assert (await send(api, mallory, "POST", BINDINGS, other))[0] == 403


async def test_binding_of_a_role_to_come(api: Local, mallory: User) -> None:
    """Whoever makes the role later would decide what the binding gives."""
    code, status = await send(api, mallory, "POST", BINDINGS, binding("b", "Role/later", "User/m", namespace="default"))
    assert (code, status["message"]) == (404, 'role.rbac.authorization.k8s.io "later" not found')


async def test_subjects_are_not_added_to_stronger_bindings(api: Local, mallory: User) -> None:
    await bind(api, "admins", "ClusterRole/admin", "User/boss", namespace="default")
    patch = {"subjects": [{"kind": "User", "name": "mallory"}]}
    assert (await send(api, mallory, "PATCH", f"{BINDINGS}/admins", patch, "application/merge-patch+json"))[0] == 403
    target = f"{RBAC}/clusterrolebindings/cluster-admin"
    assert (await send(api, mallory, "PATCH", target, patch, "application/merge-patch+json"))[0] == 403


async def test_aggregation_is_no_way_round(api: Local, mallory: User) -> None:
    label = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    fed = role("fed", rule("*", "*", "*"), labels=label)
    assert (await send(api, mallory, "POST", CLUSTER_ROLES, fed))[0] == 403
    # nor is a strong role made to feed another
    target = f"{CLUSTER_ROLES}/cluster-admin"
    patch = {"metadata": {"labels": label}}
    assert (await send(api, mallory, "PATCH", target, patch, "application/merge-patch+json"))[0] == 403
    # and nobody but a cluster admin gathers
    gathers = role("gathers")
    gathers["aggregationRule"] = {
        "clusterRoleSelectors": [{"matchLabels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}]
    }
    code, status = await send(api, mallory, "POST", CLUSTER_ROLES, gathers)
    assert code == 403
    assert status["message"] == (
        'clusterroles.rbac.authorization.k8s.io "gathers" is forbidden: must have cluster-admin privileges to use the '
        "aggregationRule"
    )
    patch = {"aggregationRule": gathers["aggregationRule"]}
    await make_role(api, "weak")
    assert (await send(api, mallory, "PATCH", f"{CLUSTER_ROLES}/weak", patch, "application/merge-patch+json"))[0] == 403
    assert (
        await send(
            api, mallory, "PATCH", f"{CLUSTER_ROLES}/view", {"aggregationRule": None}, "application/merge-patch+json"
        )
    )[0] == 403


async def test_garbage_collectors_may_end_a_strong_role(api: Local, mallory: User) -> None:
    await make_role(api, "strong", rule("*", "*", "*"), finalizers=["example.com/wait"])
    target = f"{CLUSTER_ROLES}/strong"
    patch: dict[str, Any] = {"metadata": {"finalizers": None}}
    assert (await send(api, mallory, "PATCH", target, patch, "application/merge-patch+json"))[0] == 200
    patch = {"metadata": {"annotations": {"a": "b"}}}
    assert (await send(api, mallory, "PATCH", target, patch, "application/merge-patch+json"))[0] == 403


async def test_masters_bypass_and_admins_hold_all(api: Local) -> None:
    strong = role("strong", rule("*", "*", "*"))
    assert (await send(api, person("root", "system:masters"), "POST", CLUSTER_ROLES, strong))[0] == 201
    await bind(api, "root2", "ClusterRole/cluster-admin", "User/root2")
    strong["metadata"]["name"] = "strong2"
    assert (await send(api, person("root2"), "POST", CLUSTER_ROLES, strong))[0] == 201


async def test_namespace_admin_stays_in_the_namespace(api: Local) -> None:
    await bind(api, "a", "ClusterRole/admin", "User/ada", namespace="default")
    ada = person("ada")
    assert (await send(api, ada, "POST", BINDINGS, binding("b", "ClusterRole/edit", "User/x", namespace="default")))[
        0
    ] == 201
    elsewhere = f"{RBAC}/namespaces/kube-system/rolebindings"
    for target in (elsewhere, f"{RBAC}/clusterrolebindings"):
        code, _ = await send(api, ada, "POST", target, binding("b", "ClusterRole/edit", "User/x", namespace="x"))
        assert code == 403
    nodes = role("nodes", rule("get", "nodes"), namespace="default")
    assert (await send(api, ada, "POST", ROLES, nodes))[0] == 403


async def test_a_binding_to_masters_gives_its_members_nothing_more(api: Local) -> None:
    """Groups come from credentials: a binding that names a group puts nobody in it."""
    await bind(api, "b", "ClusterRole/view", "Group/system:masters", "User/eve")
    assert (await send(api, person("eve"), "GET", "/api/v1/secrets"))[0] == 403
    assert (await send(api, person("eve", "system:master"), "GET", "/api/v1/secrets"))[0] == 403


async def test_tokens_of_stronger_accounts(api: Local) -> None:
    await make_role(api, "r", rule("get,create", "serviceaccounts,configmaps"), namespace="default")
    await bind(api, "b", "Role/r", "User/eve", namespace="default")
    target = "/api/v1/namespaces/default/serviceaccounts/default/token"
    body = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {"audiences": ["a"]}}
    code, status = await send(api, person("eve"), "POST", target, body)
    assert code == 403
    assert 'cannot create resource "serviceaccounts/token"' in status["message"]
    assert (await send(api, person("eve"), "GET", "/api/v1/namespaces/default/secrets"))[0] == 403


async def test_problems_in_finding_rules_are_told(api: Local, mallory: User) -> None:
    await bind(api, "gone", "ClusterRole/gone", "User/mallory")
    code, status = await send(api, mallory, "POST", CLUSTER_ROLES, role("r", rule("get", "secrets")))
    assert code == 403
    assert status["message"].endswith(
        'Verbs:["get"]}; resolution errors: [clusterrole.rbac.authorization.k8s.io "gone" not found]'
    )


@pytest.mark.parametrize(
    ("owned", "wanted", "covered"),
    [
        (rule("get,list", "pods,secrets"), rule("get", "pods,secrets"), True),
        (rule("*", "pods"), rule("get,fly", "pods"), True),
        (rule("get", "pods"), rule("*", "pods"), False),
        (rule("get", "*"), rule("get", "pods/log"), True),
        (rule("get", "pods"), rule("get", "pods/log"), False),
        (rule("get", "*/scale"), rule("get", "deployments/scale"), True),
        (rule("get", "*/scale"), rule("get", "*"), False),
        (rule("get", "pods", names="a,b"), rule("get", "pods", names="b"), True),
        (rule("get", "pods", names="a"), rule("get", "pods"), False),
        (rule("get", "pods"), rule("get", "pods", names="a"), True),
        (rule("get", "pods", "apps"), rule("get", "pods"), False),
        ({"nonResourceURLs": ["/a/*"], "verbs": ["get"]}, {"nonResourceURLs": ["/a/b"], "verbs": ["get"]}, True),
        ({"nonResourceURLs": ["/a/*"], "verbs": ["get"]}, {"nonResourceURLs": ["/a"], "verbs": ["get"]}, False),
        ({"nonResourceURLs": ["/a"], "verbs": ["get"]}, {"nonResourceURLs": ["*"], "verbs": ["get"]}, False),
    ],
)
def test_covering(owned: dict[str, Any], wanted: dict[str, Any], covered: bool) -> None:
    assert (not uncovered([owned], [wanted])) is covered


def test_what_is_missing_is_put_together() -> None:
    missing = uncovered([], [rule("get,list", "pods,secrets"), rule("delete", "pods", names="a")])
    assert [described(item) for item in compact(missing)] == [
        '{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}',
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}',
        '{APIGroups:[""], Resources:["pods"], ResourceNames:["a"], Verbs:["delete"]}',
    ]


async def test_accounts_are_people_too(api: Local) -> None:
    await bind(api, "b", "ClusterRole/admin", "ServiceAccount/default/bot", namespace="default")
    bot = account("default", "bot")
    weak = role("weak", rule("get", "pods"), namespace="default")
    assert (await send(api, bot, "POST", ROLES, weak))[0] == 201
    weak["metadata"]["name"] = "strong"
    weak["rules"] = [rule("get", "nodes")]
    code, status = await send(api, bot, "POST", ROLES, weak)
    assert code == 403
    assert 'user "system:serviceaccount:default:bot" (groups=["system:serviceaccounts"' in status["message"]


@pytest.mark.parametrize("holds", [rule("*", "*", "*"), rule("get", "pods")], ids=["all", "little"])
async def test_a_rule_of_a_billion_parts_stops_nobody(api: Local, holds: dict[str, Any]) -> None:
    await make_role(api, "tenant", holds, rule(WRITE, ALL_RBAC, "rbac.authorization.k8s.io"), namespace="default")
    await bind(api, "tenant", "Role/tenant", "User/mallory", namespace="default")
    many = [f"a{number}" for number in range(1000)]
    bomb = role("bomb", {"apiGroups": many, "resources": many, "verbs": many}, namespace="default")
    code, status = await send(api, MALLORY, "POST", ROLES, bomb)
    if holds["verbs"] == ["get"]:
        assert code == 403
        assert "not currently held" in status["message"]
        return
    assert code == 201
    assert (await send(api, MALLORY, "POST", BINDINGS, binding("b", "Role/bomb", "User/x", namespace="default")))[
        0
    ] == 201
    thing = "/apis/a7/v1/namespaces/default/a9"
    for method, verb in (("GET", "list"), ("POST", "create")):
        _, status = await send(api, person("x"), method, thing)
        assert f"cannot {verb} resource" in status["message"]


def test_wide_rules_count_like_others() -> None:
    from sampan.apiserver.authorization.rules import HELD
    from sampan.apiserver.authorization.table import Table

    many = [f"a{number}" for number in range(100)]
    table = Table()
    table.add({"apiGroups": many, "resources": [*many, "*/scale"], "verbs": many, "resourceNames": ["x"]}, HELD)
    table.add({"apiGroups": ["*"], "resources": many, "verbs": [*many, *many]}, HELD)
    assert [grant.of("x") for grant in table.find("a1", "a2", "a3", "")] == [HELD, HELD]
    assert [grant.of("y") for grant in table.find("a1", "a2", "a3", "")] == [None, HELD]
    assert [grant.of("x") for grant in table.find("a1", "a2", "b", "scale")] == [HELD]
    assert not list(table.find("a1", "a2", "a3", "log"))
    assert not list(table.find("b", "a2", "a3", ""))

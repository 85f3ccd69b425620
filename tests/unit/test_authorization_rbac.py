"""RBAC: who may do what, as upstream decides and words it."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.user import ANONYMOUS, User
from tests.conftest import Local
from tests.people import account, bind, make_role, path_of, person, role, rule, send

ADA = person("ada", "crew")
PODS = "/api/v1/namespaces/default/pods"
CONFIGS = "/api/v1/namespaces/default/configmaps"


async def test_refusal_reads_as_upstream(api: Local) -> None:
    code, status = await send(api, ADA, "GET", f"{PODS}/x")
    assert code == 403
    assert status == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'pods "x" is forbidden: User "ada" cannot get resource "pods" in API group "" in the namespace '
        '"default"',
        "reason": "Forbidden",
        "details": {"name": "x", "kind": "pods"},
        "code": 403,
    }
    _, status = await send(api, ADA, "GET", "/apis/apps/v1/deployments")
    assert status["message"] == (
        'deployments.apps is forbidden: User "ada" cannot list resource "deployments" in API group "apps" at the '
        "cluster scope"
    )
    code, status = await send(api, ADA, "GET", "/metrics")
    assert (code, status["message"]) == (403, 'forbidden: User "ada" cannot get path "/metrics"')
    _, status = await send(api, ADA, "POST", f"{PODS}/x/eviction", {})
    assert 'cannot create resource "pods/eviction"' in status["message"]


async def test_role_in_one_namespace(api: Local) -> None:
    await make_role(api, "reader", rule("get,list", "configmaps"), namespace="default")
    await bind(api, "readers", "Role/reader", "User/ada", namespace="default")
    assert (await send(api, ADA, "GET", CONFIGS))[0] == 200
    for method, target in (
        ("GET", "/api/v1/namespaces/kube-system/configmaps"),
        ("GET", "/api/v1/configmaps"),
        ("DELETE", f"{CONFIGS}/x"),
        ("GET", f"{CONFIGS}?watch=1"),
        ("GET", f"{CONFIGS}?watch=true&resourceVersion=0"),
        ("GET", "/api/v1/watch/namespaces/default/configmaps"),
    ):
        assert (await send(api, ADA, method, target))[0] == 403, target


@pytest.mark.parametrize(
    ("subject", "user"),
    [
        ("User/ada", ADA),
        ("Group/crew", ADA),
        ("Group/system:serviceaccounts:default", account("default", "bot")),
        ("ServiceAccount/default/bot", account("default", "bot")),
    ],
)
async def test_subjects(api: Local, subject: str, user: User) -> None:
    await bind(api, "b", "ClusterRole/view", subject)
    assert (await send(api, user, "GET", "/api/v1/pods"))[0] == 200
    assert (await send(api, person("bob"), "GET", "/api/v1/pods"))[0] == 403
    assert (await send(api, account("default", "other-bot"), "GET", "/api/v1/pods"))[0] == (
        200 if subject.startswith("Group/system:") else 403
    )


async def test_reasons(api: Local) -> None:
    await make_role(api, "y", rule("get", "pods"), namespace="default")
    await bind(api, "x", "Role/y", "User/z", namespace="default")
    await bind(api, "w", "ClusterRole/view", "Group/g")
    await bind(api, "v", "ClusterRole/view", "ServiceAccount/default/bot", namespace="default")
    assert await reason(api, "z", verb="get", resource="pods", namespace="default") == (
        True,
        'RBAC: allowed by RoleBinding "x/default" of Role "y" to User "z"',
    )
    assert await reason(api, "", "g", verb="list", resource="pods") == (
        True,
        'RBAC: allowed by ClusterRoleBinding "w" of ClusterRole "view" to Group "g"',
    )
    bot = "system:serviceaccount:default:bot"
    assert await reason(api, bot, verb="list", resource="pods", namespace="default") == (
        True,
        'RBAC: allowed by RoleBinding "v/default" of ClusterRole "view" to ServiceAccount "bot/default"',
    )
    assert await reason(api, "z", verb="get", resource="secrets", namespace="default") == (False, "")


async def test_bound_roles_that_are_not_there(api: Local) -> None:
    await bind(api, "a", "ClusterRole/gone", "User/z")
    assert await reason(api, "z", verb="get", resource="pods", namespace="default") == (
        False,
        'RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found',
    )
    await bind(api, "b", "Role/lost", "User/z", namespace="default")
    both = (
        'RBAC: [clusterrole.rbac.authorization.k8s.io "gone" not found, '
        'role.rbac.authorization.k8s.io "lost" not found]'
    )
    assert await reason(api, "z", verb="get", resource="pods", namespace="default") == (False, both)
    _, status = await send(api, User("z"), "GET", PODS)
    assert status["message"].endswith(f'in API group "" in the namespace "default": {both}')
    # they come to be
    await make_role(api, "lost", rule("list", "pods"), namespace="default")
    assert (await send(api, User("z"), "GET", PODS))[0] == 200


async def reason(api: Local, user: str, *groups: str, **asked: str) -> tuple[bool, str]:
    spec = {"user": user, "groups": list(groups), "resourceAttributes": asked}
    body = {"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": spec}
    code, review = await api("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
    assert code == 201, review
    return review["status"]["allowed"], review["status"].get("reason", "")


@pytest.mark.parametrize(
    ("resources", "asked", "allowed"),
    [
        ("pods", {"resource": "pods"}, True),
        ("pods", {"resource": "pods", "subresource": "log"}, False),
        ("pods/log", {"resource": "pods", "subresource": "log"}, True),
        ("pods/log", {"resource": "pods"}, False),
        ("*", {"resource": "pods", "subresource": "log"}, True),
        ("*/scale", {"resource": "deployments", "subresource": "scale"}, True),
        ("*/scale", {"resource": "deployments"}, False),
        ("*/scale", {"resource": "scale"}, False),
        ("pods/*", {"resource": "pods", "subresource": "log"}, False),
        ("pod*", {"resource": "pods"}, False),
    ],
)
async def test_resources_of_a_rule(api: Local, resources: str, asked: dict[str, str], allowed: bool) -> None:
    await make_role(api, "r", rule("get", resources, "*"))
    await bind(api, "b", "ClusterRole/r", "User/z")
    assert (await reason(api, "z", verb="get", group="any", **asked))[0] is allowed
    assert (await reason(api, "z", verb="list", group="any", **asked))[0] is False


async def test_resource_names(api: Local) -> None:
    await make_role(api, "r", rule("get,list,watch,update,create,deletecollection", "configmaps", names="one,two"))
    await bind(api, "b", "ClusterRole/r", "User/ada", namespace="default")
    await api("POST", CONFIGS, {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "one"}})
    assert (await send(api, ADA, "GET", f"{CONFIGS}/one"))[0] == 200
    assert (await send(api, ADA, "GET", f"{CONFIGS}/three"))[0] == 403
    # a list has a name when it asks for the one object of that name
    assert (await send(api, ADA, "GET", f"{CONFIGS}?fieldSelector=metadata.name%3Done"))[0] == 200
    assert (await send(api, ADA, "GET", f"{CONFIGS}?watch=1&fieldSelector=metadata.name=one"))[0] == 200
    for query in ("", "?fieldSelector=metadata.name%3Dthree", "?fieldSelector=metadata.name!=three"):
        assert (await send(api, ADA, "GET", CONFIGS + query))[0] == 403
    # what is created or deleted by the dozen has none
    new = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "two"}}
    assert (await send(api, ADA, "POST", CONFIGS, new))[0] == 403
    assert (await send(api, ADA, "DELETE", f"{CONFIGS}?fieldSelector=metadata.name=one"))[0] == 403


async def test_paths(api: Local) -> None:
    rules: list[dict[str, Any]] = [{"nonResourceURLs": ["/metrics", "/logs/*"], "verbs": ["get"]}]
    await make_role(api, "r", *rules)
    await bind(api, "b", "ClusterRole/r", "User/ada")
    assert (await send(api, ADA, "GET", "/metrics"))[0] == 200
    assert (await send(api, ADA, "GET", "/logs/a/b"))[0] == 404
    assert (await send(api, ADA, "POST", "/metrics"))[0] == 403
    assert (await send(api, ADA, "GET", "/metrics/x"))[0] == 403
    assert (await send(api, ADA, "GET", "/logs"))[0] == 403


async def test_everybody_sees_health_and_version_and_no_more(api: Local) -> None:
    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert (await send(api, ANONYMOUS, "GET", path))[0] == 200
    for path in ("/api", "/apis", "/metrics", "/healthz/etcd", "/openapi/v2", "/"):
        assert (await send(api, ANONYMOUS, "GET", path))[0] == 403
    for path in ("/api", "/apis", "/apis/apps/v1", "/openapi/v3"):
        assert (await send(api, ADA, "GET", path))[0] == 200
    assert (await send(api, ADA, "GET", "/healthz/etcd"))[0] == 403
    assert (await send(api, person("m", "system:monitoring"), "GET", "/healthz/etcd"))[0] == 200
    for path in ("/healthz/", "/livez/", "/readyz/"):
        assert (await send(api, person("m", "system:monitoring"), "GET", path))[0] == 404


async def test_changes_count_at_once(api: Local) -> None:
    def may() -> bool:
        from sampan.apiserver.authorization.attributes import Attributes

        asked = Attributes("get", "", "v1", "pods", "", "default", "x")
        return api.server.api.authorizer.authorize(ADA, asked).allowed is True

    assert not may()
    await make_role(api, "r", namespace="default")
    await bind(api, "b", "Role/r", "User/ada", namespace="default")
    assert not may()
    changed = role("r", rule("get", "pods"), namespace="default")
    where = path_of(changed, "default")
    assert (await api("PUT", f"{where}/r", changed))[0] == 200
    assert may()
    bindings = where.replace("roles", "rolebindings")
    patch = {"subjects": [{"kind": "User", "name": "bob"}]}
    assert (await api("PATCH", f"{bindings}/b", patch, "application/merge-patch+json"))[0] == 200
    assert not may()
    patch = {"subjects": [{"kind": "Group", "name": "crew"}, {"kind": "User", "name": "bob"}]}
    assert (await api("PATCH", f"{bindings}/b", patch, "application/merge-patch+json"))[0] == 200
    assert may()
    assert (await api("DELETE", f"{where}/r"))[0] == 200
    assert not may()
    assert (await api("POST", where, changed))[0] == 201
    assert may()
    assert (await api("DELETE", f"{bindings}/b"))[0] == 200
    assert not may()


async def test_index_is_read_again_with_the_caches(api: Local) -> None:
    """A watch that fell behind makes the server read its store anew."""
    await bind(api, "b", "ClusterRole/view", "User/ada")
    assert (await send(api, ADA, "GET", "/api/v1/pods"))[0] == 200
    cache = api.server.api.cached("rbac.authorization.k8s.io", "clusterrolebindings")
    cache.load([], cache.last)
    assert (await send(api, ADA, "GET", "/api/v1/pods"))[0] == 403


async def test_what_is_remembered_is_bounded(api: Local) -> None:
    """Nobody fills the memory by asking about resources and namespaces that are not."""
    await bind(api, "b", "ClusterRole/view", "User/ada")
    for number in range(700):
        assert (await send(api, ANONYMOUS, "GET", f"/api/v1/namespaces/n{number}/pods"))[0] == 403
        assert (await send(api, ANONYMOUS, "GET", f"/api/v1/namespaces/n/r{number}"))[0] == 403
        assert (await send(api, ANONYMOUS, "GET", f"/api/v1/namespaces/n/r{number}{'x' * 1000}"))[0] == 403
    views = api.server.api.authorizer.rbac._views
    assert len(views) <= 512
    assert max(len(view.grants) for view in views.values()) <= 128
    assert not [key for view in views.values() for key in view.grants if len(key[2]) > 512]
    assert (await send(api, ADA, "GET", "/api/v1/pods"))[0] == 200

"""The roles that every cluster has: there at start, completed where something is missing, otherwise left alone."""

from __future__ import annotations

from typing import Any

from sampan.apiserver.authorization.bootstrap import AUTO_UPDATE, ensure_roles, objects, reconciled
from tests.conftest import Local
from tests.people import GROUP, RBAC, account, make_role, person, role, rule, send

LABEL = "rbac.authorization.k8s.io/aggregate-to-"


async def test_all_are_there(api: Local) -> None:
    _, roles = await api("GET", f"{RBAC}/clusterroles")
    names = {item["metadata"]["name"] for item in roles["items"]}
    assert len(names) == 73 + 2  # all of upstream; the built-in provisioner and the built-in metrics server
    assert {"cluster-admin", "admin", "edit", "view", "system:node", "system:controller:job-controller"} <= names
    _, bindings = await api(
        "GET", f"{RBAC}/clusterrolebindings?labelSelector=kubernetes.io/bootstrapping=rbac-defaults"
    )
    assert len(bindings["items"]) == 54 + 1
    assert all(item["roleRef"]["name"] in names for item in bindings["items"])
    for resource in ("roles", "rolebindings"):
        _, listed = await api("GET", f"{RBAC}/{resource}")
        assert {item["metadata"]["namespace"] for item in listed["items"]} == {"kube-system", "kube-public"}
        assert len(listed["items"]) == 7
    _, one = await api("GET", f"{RBAC}/clusterroles/system:basic-user")
    meta = one["metadata"]
    assert (meta["labels"], meta["annotations"]) == (
        {"kubernetes.io/bootstrapping": "rbac-defaults"},
        {AUTO_UPDATE: "true"},
    )
    assert one["rules"] == [
        {
            "verbs": ["create"],
            "apiGroups": ["authorization.k8s.io"],
            "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        },
        {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]},
    ]


def test_each_is_sound() -> None:
    """Sorted as upstream builds them, and nothing that its kind would refuse."""
    from sampan.api.registry import Registry

    registry = Registry()
    for resource, obj in objects():
        kind = registry.get(GROUP, "v1", resource)
        assert kind is not None
        assert not kind.validate(obj), obj
        for item in obj.get("rules", ()):
            for name in ("verbs", "apiGroups", "resources", "nonResourceURLs", "resourceNames"):
                assert item.get(name, []) == sorted(item.get(name, [])) or item["verbs"] == ["get", "list", "watch"]


async def test_nothing_is_written_twice(api: Local) -> None:
    before = await api.server.store.revision()
    await ensure_roles(api.server.api)
    assert await api.server.store.revision() == before


async def test_reconciled(api: Local) -> None:
    target = f"{RBAC}/clusterroles/system:basic-user"
    _, whole = await api("GET", target)
    extra = rule("get", "pods")
    changed = {**whole, "rules": [whole["rules"][0], extra], "metadata": {**whole["metadata"], "labels": {"a": "b"}}}
    changed["metadata"].pop("resourceVersion")
    assert (await api("PUT", target, changed))[0] == 200
    assert (await api("DELETE", f"{RBAC}/clusterroles/system:heapster"))[0] == 200
    wrong = f"{RBAC}/clusterrolebindings/system:discovery"
    assert (await api("PATCH", wrong, {"subjects": None}, "application/merge-patch+json"))[0] == 200
    await ensure_roles(api.server.api)
    _, now = await api("GET", target)
    assert now["rules"] == [whole["rules"][0], extra, whole["rules"][1]]
    assert now["metadata"]["labels"] == {"a": "b", "kubernetes.io/bootstrapping": "rbac-defaults"}
    assert (await api("GET", f"{RBAC}/clusterroles/system:heapster"))[0] == 200
    assert (await api("GET", wrong))[1]["subjects"] == [
        {"kind": "Group", "apiGroup": GROUP, "name": "system:authenticated"}
    ]


def test_protected_and_rebound() -> None:
    found = {obj["metadata"]["name"]: obj for resource, obj in objects() if resource == "clusterrolebindings"}
    expected = found["system:discovery"]
    meta = {**expected["metadata"], "uid": "u"}
    protected = {**expected, "subjects": [], "metadata": {**meta, "annotations": {AUTO_UPDATE: "false"}}}
    assert reconciled(protected, expected) is None
    elsewhere = {**expected, "metadata": meta, "roleRef": {**expected["roleRef"], "name": "view"}}
    assert reconciled(elsewhere, expected) == expected
    assert reconciled({**expected, "metadata": meta}, expected) is None


async def test_controllers_may_do_their_work(api: Local) -> None:
    jobs = account("kube-system", "job-controller")
    assert (await send(api, jobs, "GET", "/apis/batch/v1/jobs"))[0] == 200
    assert (await send(api, jobs, "GET", "/api/v1/secrets"))[0] == 403
    scheduler = person("system:kube-scheduler")
    assert (await send(api, scheduler, "GET", "/api/v1/nodes"))[0] == 200
    assert (await send(api, scheduler, "POST", "/api/v1/nodes", {}))[0] == 403


async def settled(api: Local, name: str) -> list[dict[str, Any]]:
    await api.server.aggregation.settle()
    rules: list[dict[str, Any]] = (await api("GET", f"{RBAC}/clusterroles/{name}"))[1]["rules"]
    return rules


async def test_aggregation_follows_labels(api: Local) -> None:
    wanted = rule("get,list,watch", "widgets", "example.com")
    await make_role(api, "widgets-view", wanted, labels={LABEL + "view": "true"})
    for name in ("view", "edit", "admin"):
        assert wanted in await settled(api, name)
    target = f"{RBAC}/clusterroles/widgets-view"
    patch = {"metadata": {"labels": {LABEL + "view": None}}}
    assert (await api("PATCH", target, patch, "application/merge-patch+json"))[0] == 200
    for name in ("view", "edit", "admin"):
        assert wanted not in await settled(api, name)
    _, view = await api("GET", f"{RBAC}/clusterroles/view")
    managers = {entry["manager"] for entry in view["metadata"]["managedFields"]}
    assert "clusterrole-aggregation-controller" in managers


async def test_rules_of_an_aggregated_role_are_its_sources(api: Local) -> None:
    mine = role("mine", rule("*", "*"))
    mine["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {"team": "a"}}, {"matchLabels": {"b": "c"}}]}
    assert (await api("POST", f"{RBAC}/clusterroles", mine))[0] == 201
    assert await settled(api, "mine") == []
    first, second = rule("get", "pods"), rule("get", "secrets")
    await make_role(api, "z", first, labels={"team": "a"})
    await make_role(api, "a", second, first, labels={"b": "c", "team": "a"})
    assert await settled(api, "mine") == [second, first]

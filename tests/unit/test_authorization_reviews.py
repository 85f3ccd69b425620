"""Questions about rights: the SubjectAccessReview family, SelfSubjectRulesReview, and the other authorization modes."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.user import ANONYMOUS, User
from sampan.apiserver.authorization.attributes import Attributes
from sampan.apiserver.authorization.chain import Authorization
from tests.conftest import Local
from tests.people import bind, make_role, node, person, rule, send

AUTHORIZATION = "/apis/authorization.k8s.io/v1"
ADA = person("ada")


def review(kind: str, metadata: Any = None, **spec: Any) -> dict[str, Any]:
    out: dict[str, Any] = {"kind": kind, "apiVersion": "authorization.k8s.io/v1", "spec": spec}
    return {**out, "metadata": metadata} if metadata else out


async def ask(api: Local, user: User, body: dict[str, Any], namespace: str = "") -> tuple[int, Any]:
    scope = f"/namespaces/{namespace}" if namespace else ""
    return await send(api, user, "POST", f"{AUTHORIZATION}{scope}/{body['kind'].lower()}s", body)


ROOT = person("root", "system:masters")


async def test_self_access(api: Local) -> None:
    await bind(api, "b", "ClusterRole/view", "User/ada", namespace="default")
    asked = {"verb": "list", "resource": "pods", "namespace": "default"}
    code, got = await ask(api, ADA, review("SelfSubjectAccessReview", resourceAttributes=asked))
    assert (code, got["status"]) == (
        201,
        {
            "allowed": True,
            "reason": 'RBAC: allowed by RoleBinding "b/default" of ClusterRole "view" to User "ada"',
        },
    )
    for other in ({**asked, "namespace": "kube-system"}, {**asked, "namespace": ""}, {**asked, "verb": "delete"}):
        _, got = await ask(api, ADA, review("SelfSubjectAccessReview", resourceAttributes=other))
        assert got["status"] == {"allowed": False}
    path = {"verb": "get", "path": "/version"}
    _, got = await ask(api, ADA, review("SelfSubjectAccessReview", nonResourceAttributes=path))
    assert got["status"]["allowed"] is True
    _, got = await ask(api, ROOT, review("SelfSubjectAccessReview", resourceAttributes=asked))
    assert got["status"] == {"allowed": True}
    # who is not known may not even ask
    assert (await ask(api, ANONYMOUS, review("SelfSubjectAccessReview", resourceAttributes=asked)))[0] == 403


async def test_only_some_may_ask_about_others(api: Local) -> None:
    asked = {"verb": "list", "resource": "pods"}
    body = review("SubjectAccessReview", user="ada", resourceAttributes=asked)
    assert (await ask(api, ADA, body))[0] == 403
    await bind(api, "b", "ClusterRole/system:auth-delegator", "User/ada")
    code, got = await ask(api, ADA, body)
    assert (code, got["status"]) == (201, {"allowed": False})


async def test_no_resource_is_still_a_resource(api: Local) -> None:
    await make_role(api, "all", rule("*", "*", "*"))
    await bind(api, "b", "ClusterRole/all", "User/z")
    _, got = await ask(api, ROOT, review("SubjectAccessReview", user="z", resourceAttributes={"verb": "get"}))
    assert got["status"]["allowed"] is True
    path = {"verb": "get", "path": "/metrics"}
    _, got = await ask(api, ROOT, review("SubjectAccessReview", user="z", nonResourceAttributes=path))
    assert got["status"]["allowed"] is False


PODS = {"verb": "list", "resource": "pods", "namespace": "default"}
SELECTOR = "spec.resourceAttributes.fieldSelector"
INVALID = [
    (
        review("SubjectAccessReview", user="z", resourceAttributes=PODS, nonResourceAttributes={"path": "/"}),
        "spec.nonResourceAttributes",
        "cannot be specified in combination with resourceAttributes",
    ),
    (
        review("SubjectAccessReview", user="z"),
        "spec.resourceAttributes",
        "exactly one of nonResourceAttributes or resourceAttributes must be specified",
    ),
    (
        review("SubjectAccessReview", resourceAttributes=PODS),
        "spec.user",
        'Invalid value: "": at least one of user or group must be specified',
    ),
    (review("SubjectAccessReview", {"name": "x"}, user="z", resourceAttributes=PODS), "metadata", "must be empty"),
    (
        review("LocalSubjectAccessReview", {"name": "x", "namespace": "default"}, user="z", resourceAttributes=PODS),
        "metadata",
        "must be empty except for namespace",
    ),
    (
        review(
            "LocalSubjectAccessReview",
            {"namespace": "default"},
            user="z",
            resourceAttributes={**PODS, "namespace": "other"},
        ),
        "spec.resourceAttributes.namespace",
        "must match metadata.namespace",
    ),
    (
        review("LocalSubjectAccessReview", {"namespace": "default"}, user="z", nonResourceAttributes={"path": "/"}),
        "spec.nonResourceAttributes",
        "disallowed on this kind of request",
    ),
    (
        review("SelfSubjectAccessReview", resourceAttributes={**PODS, "fieldSelector": {}}),
        f"{SELECTOR}.requirements",
        f"Required value: when {SELECTOR} is specified, requirements or rawSelector is required",
    ),
    (
        review(
            "SelfSubjectAccessReview",
            resourceAttributes={
                **PODS,
                "fieldSelector": {"rawSelector": "a=b", "requirements": [{"key": "a", "operator": "Exists"}]},
            },
        ),
        f"{SELECTOR}.rawSelector",
        'Invalid value: "a=b": may not specified at the same time as requirements',
    ),
    (
        review(
            "SelfSubjectAccessReview",
            resourceAttributes={**PODS, "labelSelector": {"requirements": [{"key": "a", "operator": "In"}]}},
        ),
        "spec.resourceAttributes.labelSelector.requirements[0].values",
        "Required value: must be specified when `operator` is 'In' or 'NotIn'",
    ),
]


@pytest.mark.parametrize(("body", "field", "detail"), INVALID)
async def test_reviews_that_make_no_sense(api: Local, body: dict[str, Any], field: str, detail: str) -> None:
    namespace = "default" if body["kind"].startswith("Local") else ""
    code, status = await ask(api, ROOT, body, namespace)
    assert code == 422, status
    assert any(c["field"] == field and detail in c["message"] for c in status["details"]["causes"]), status


async def test_selectors_narrow_the_question(api: Local) -> None:
    async def may(**selector: Any) -> dict[str, Any]:
        asked = {"verb": "list", "resource": "pods", **selector}
        spec = {"user": "system:node:one", "groups": ["system:nodes"], "resourceAttributes": asked}
        code, got = await ask(api, ROOT, review("SubjectAccessReview", **spec))
        assert code == 201, got
        status: dict[str, Any] = got["status"]
        return status

    mine = {"key": "spec.nodeName", "operator": "In", "values": ["one"]}
    assert await may(fieldSelector={"rawSelector": "spec.nodeName=one"}) == {"allowed": True}
    assert await may(fieldSelector={"requirements": [mine]}) == {"allowed": True}
    assert not (await may())["allowed"]
    assert not (await may(fieldSelector={"requirements": [{**mine, "operator": "NotIn"}]}))["allowed"]
    new = {"key": "a", "operator": "Fancy", "values": ["x"]}
    assert await may(fieldSelector={"requirements": [mine, new]}) == {
        "allowed": True,
        "evaluationError": f"{SELECTOR} partially ignored due to parse error",
    }
    status = await may(fieldSelector={"requirements": [new]}, labelSelector={"rawSelector": "a in in"})
    assert status["evaluationError"] == (
        f"{SELECTOR} ignored due to parse error; spec.resourceAttributes.labelSelector ignored due to parse error"
    )


async def test_rules_of_oneself(api: Local) -> None:
    await make_role(api, "r", rule("get", "pods", names="x"), namespace="default")
    await bind(api, "b", "Role/r", "User/ada", namespace="default")
    code, got = await ask(api, ADA, review("SelfSubjectRulesReview", namespace="default"))
    status = got["status"]
    assert (code, status["incomplete"]) == (201, False)
    assert status["resourceRules"][-1] == {
        "verbs": ["get"],
        "apiGroups": [""],
        "resources": ["pods"],
        "resourceNames": ["x"],
    }
    assert {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]} in status[
        "resourceRules"
    ]
    assert {"/version", "/api/*"} <= {url for item in status["nonResourceRules"] for url in item["nonResourceURLs"]}
    _, got = await ask(api, ADA, review("SelfSubjectRulesReview", namespace="kube-system"))
    assert not [item for item in got["status"]["resourceRules"] if item["resources"] == ["pods"]]
    code, status = await ask(api, ADA, review("SelfSubjectRulesReview"))
    assert (code, status["message"]) == (400, "no namespace on request")


async def test_rules_that_cannot_be_told(api: Local) -> None:
    _, got = await ask(api, node("one"), review("SelfSubjectRulesReview", namespace="default"))
    assert got["status"]["incomplete"] is True
    assert got["status"]["evaluationError"] == "node authorizer does not support user rule resolution"
    await bind(api, "b", "ClusterRole/gone", "User/ada")
    _, got = await ask(api, ADA, review("SelfSubjectRulesReview", namespace="default"))
    assert got["status"]["incomplete"] is False
    assert got["status"]["evaluationError"] == 'clusterrole.rbac.authorization.k8s.io "gone" not found'


async def test_modes(api: Local) -> None:
    asked = Attributes("get", "", "v1", "secrets", "", "default", "x")
    allow = Authorization(api.server.api, ("AlwaysAllow",))
    assert allow.authorize(ANONYMOUS, asked).allowed is True
    assert len(allow.rules_for(ADA, "default").rules) == 2
    deny = Authorization(api.server.api, ("AlwaysDeny",))
    assert (deny.authorize(ADA, asked).allowed, deny.authorize(ADA, asked).reason) == (None, "Everything is forbidden.")
    assert deny.authorize(ROOT, asked).allowed is True
    with pytest.raises(ValueError, match="unknown authorization mode"):
        Authorization(api.server.api, ("Fancy",))


def test_modes_come_from_a_flag() -> None:
    from sampan.cli.apiserver import parser

    assert parser().parse_args([]).authorization_mode == ("Node", "RBAC")
    assert parser().parse_args(["--authorization-mode=RBAC,AlwaysAllow"]).authorization_mode == ("RBAC", "AlwaysAllow")


async def test_reasons_of_several_authorizers_are_lines(api: Local) -> None:
    await bind(api, "b", "ClusterRole/gone", "User/system:node:one")
    _, status = await send(api, node("one"), "GET", "/api/v1/pods")
    assert status["message"].endswith(
        "at the cluster scope: can only list/watch pods with spec.nodeName field selector\n"
        'RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found'
    )


async def test_reviews_are_no_tables(api: Local) -> None:
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    body = review("SelfSubjectAccessReview", nonResourceAttributes={"path": "/", "verb": "get"})
    code, said = await api("POST", f"{AUTHORIZATION}/selfsubjectaccessreviews", body, accept=table)
    assert (code, said["reason"]) == (406, "NotAcceptable")
    accepted = f"{table},application/json"
    assert (await api("POST", f"{AUTHORIZATION}/selfsubjectaccessreviews", body, accept=accepted))[0] == 201

"""Every attack that we know of, one after the other: it fails closed with a clear error, and others are served meanwhile.

What has a test of its own in detail is called here, so that this file can be read from top to bottom. Where a server
could be kept busy, `responsive` asks it all the while, and no answer is late.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sampan.api.user import User
from sampan.cluster import certificates
from sampan.cluster.certificates import Pki
from sampan.http.server.messages import Request, Response, Writer
from tests.conftest import Local
from tests.people import account, bind, make_role, person, role, rule, send
from tests.responsive import WITHIN, responsive
from tests.unit import test_admission_nodes as nodes
from tests.unit import test_admission_pods as pods
from tests.unit import test_authentication_tokens as tokens
from tests.unit import test_authorization_escalation as escalation
from tests.unit import test_crd as crds
from tests.unit import test_policies as policies
from tests.unit import test_security_webhooks as webhooks
from tests.webhook_server import JSON, Webhook, patch, serving

CONFIG_MAPS, PODS = "/api/v1/namespaces/default/configmaps", "/api/v1/namespaces/default/pods"
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
APPLY, STRATEGIC = "application/apply-patch+yaml", "application/strategic-merge-patch+json"
MALLORY = person("mallory", "crew")


async def stored(api: Local, path: str = CONFIG_MAPS) -> list[str]:
    """What is there, besides what every namespace has."""
    _, found = await api("GET", path)
    return [item["metadata"]["name"] for item in found["items"] if item["metadata"]["name"] != "kube-root-ca.crt"]


# -- tokens ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": 1}, "service account token has expired"),
        ({"nbf": 1 << 40}, "service account token is not valid yet"),
        ({"aud": ["vault"]}, 'token audiences ["vault"] is invalid for the target audiences'),
        ({"kubernetes.io": None}, "service account token claims could not be validated"),
    ],
    ids=["expired", "not-yet", "audience", "claims"],
)
async def test_tokens_that_are_not_for_us_or_now(api: Local, claims: dict[str, Any], why: str) -> None:
    _, made = await api("POST", tokens.ACCOUNTS, {"metadata": {"name": "sa"}})
    forged = tokens.forge(api, made, **claims)
    assert await tokens.knock(api, forged) == 401
    assert why in (await tokens.ask(api, forged))["error"]
    assert await tokens.knock(api, tokens.forge(api, made)) == 403, "the same without changes is somebody"


@pytest.mark.slow
async def test_tokens_signed_by_others_or_by_nobody(api: Local) -> None:
    """Wrong keys, exchanged parts, `alg: none`, and our public key as an HMAC secret."""
    _, made = await api("POST", tokens.ACCOUNTS, {"metadata": {"name": "sa"}})
    async with responsive(api):
        await tokens.test_bad_signatures(api, made)
        await tokens.test_the_header_does_not_choose_the_algorithm(api, made)
        await tokens.test_deep_and_large(api, made)


# -- certificates ------------------------------------------------------------------------------------------------------


async def test_certificates_of_other_authorities(pki: Pki, tmp_path: Path) -> None:
    """Refused in the handshake, before there is a request; without one they are nobody."""
    import ssl

    from sampan.apiserver.config import ApiServerConfig
    from sampan.apiserver.server import ApiServer

    config = ApiServerConfig(
        port=0,
        store="memory",
        client_ca_file=pki.path("ca.crt"),
        cert_file=pki.path("apiserver.crt"),
        key_file=pki.path("apiserver.key"),
    )
    server = ApiServer(config)
    await server.start()
    other = certificates.ensure(tmp_path / "other", [])

    async def knock(cert: Pki | None) -> bytes:
        context = ssl.create_default_context(cafile=str(pki.path("ca.crt")))
        if cert is not None:
            context.load_cert_chain(cert.path("admin.crt"), cert.path("admin.key"))
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
        writer.write(b"GET /api/v1/secrets HTTP/1.1\r\nConnection: close\r\n\r\n")
        try:
            return await reader.read()
        finally:
            writer.close()

    try:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            # TLS 1.3: the client learns of it when it reads
            assert await knock(other) == b"", "closed without a word"
            raise ConnectionResetError
        assert (await knock(pki)).startswith(b"HTTP/1.1 200 ")
        said = await knock(None)
        assert said.startswith(b"HTTP/1.1 403 ") and b"system:anonymous" in said
    finally:
        await server.stop(0)


# -- impersonation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "resource"),
    [
        ([("impersonate-user", "admin")], "users"),
        ([("impersonate-user", "mallory"), ("impersonate-group", "system:masters")], "groups"),
        ([("impersonate-user", "system:serviceaccount:kube-system:default")], "serviceaccounts"),
        ([("impersonate-user", "mallory"), ("impersonate-uid", "1")], "uids"),
        ([("impersonate-user", "mallory"), ("impersonate-extra-scopes", "all")], "userextras/scopes"),
    ],
)
async def test_impersonation_without_the_right(api: Local, headers: list[tuple[str, str]], resource: str) -> None:
    """Mallory may be herself, and nobody else."""
    await make_role(api, "self", rule("impersonate", "users", names="mallory"))
    await bind(api, "self", "ClusterRole/self", "User/mallory")
    request = Request("GET", "/api/v1/secrets", "", dict(headers), headers, b"")
    request.scratch["user"] = MALLORY
    result = api.server.handler(request)
    reply = result if isinstance(result, Response) else await result
    assert isinstance(reply.body, bytes)
    assert reply.code == 403
    assert f'User "mallory" cannot impersonate resource "{resource}"' in json.loads(reply.body)["message"]


# -- escalation: roles, bindings, aggregation, tokens --------------------------------------------------------------------


@pytest.mark.parametrize(
    "attack",
    [
        escalation.test_role_with_more_than_one_has,
        escalation.test_bindings_need_what_they_give_or_bind,
        escalation.test_binding_of_a_role_to_come,
        escalation.test_subjects_are_not_added_to_stronger_bindings,
        escalation.test_aggregation_is_no_way_round,
    ],
)
async def test_rights_that_one_does_not_hold(api: Local, attack: Callable[..., Any]) -> None:
    await make_role(
        api,
        "rbac-writer",
        rule(escalation.WRITE, escalation.ALL_RBAC, "rbac.authorization.k8s.io"),
        rule("get,list", "pods"),
    )
    await bind(api, "mallory", "ClusterRole/rbac-writer", "User/mallory")
    async with responsive(api):
        await attack(api, MALLORY)


async def test_rules_with_a_billion_parts(api: Local) -> None:
    async with responsive(api):
        await escalation.test_a_rule_of_a_billion_parts_stops_nobody(api, rule("get", "pods"))


async def test_tokens_of_stronger_accounts(api: Local) -> None:
    await escalation.test_tokens_of_stronger_accounts(api)


# -- escalation: pods ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def tenant(api: Local) -> User:
    """May do to pods in `team`, which is kept to the baseline, whatever has no subresource."""
    namespace = {"metadata": {"name": "team", "labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}
    assert (await api("POST", "/api/v1/namespaces", namespace))[0] == 201
    await make_role(api, "pods", rule("*", "pods"), namespace="team")
    await bind(api, "pods", "Role/pods", "User/mallory", namespace="team")
    return MALLORY


def in_team(name: str = "p", /, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


TEAM = "/api/v1/namespaces/team/pods"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, 'hostPath volumes (volume "v")'),
        ({"hostNetwork": True}, "host namespaces (hostNetwork=true)"),
        ({"hostPID": True}, "host namespaces (hostPID=true)"),
        (
            {"initContainers": [{"name": "i", "image": "i", "securityContext": {"privileged": True}}]},
            'privileged (container "i" must not set securityContext.privileged=true)',
        ),
        (
            {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": 80}]}]},
            'hostPort (container "c" uses hostPort 80)',
        ),
        ({"serviceAccountName": "cluster-admin"}, 'error looking up service account team/cluster-admin'),
        ({"priorityClassName": "system-node-critical", "priority": 7}, "integer value of priority (7)"),
    ],
)  # fmt: skip
async def test_pods_that_take_the_node(api: Local, tenant: User, spec: dict[str, Any], words: str) -> None:
    code, status = await send(api, tenant, "POST", TEAM, in_team(**spec))
    assert code == 403 and words in status["message"], status
    assert await stored(api, TEAM) == []


async def test_pods_are_not_made_stronger_later(api: Local, tenant: User) -> None:
    """Ephemeral containers, bindings and tokens are rights of their own, and the account of a pod stays."""
    assert (await send(api, tenant, "POST", TEAM, in_team()))[0] == 201
    debug = {"spec": {"ephemeralContainers": [{"name": "d", "image": "i", "securityContext": {"privileged": True}}]}}
    code, status = await send(api, tenant, "PATCH", f"{TEAM}/p/ephemeralcontainers", debug, STRATEGIC)
    assert code == 403 and '"pods/ephemeralcontainers"' in status["message"]
    code, status = await api("PATCH", f"{TEAM}/p/ephemeralcontainers", debug, STRATEGIC)
    assert code == 403 and "violates PodSecurity" in status["message"]
    target = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "master"}}
    assert (await send(api, tenant, "POST", f"{TEAM}/p/binding", target))[0] == 403
    assert (await send(api, tenant, "POST", "/api/v1/namespaces/team/bindings", target))[0] == 403
    for change in ({"serviceAccountName": "other"}, {"nodeName": "master"}, {"hostNetwork": True}):
        code, status = await send(api, tenant, "PATCH", f"{TEAM}/p", {"spec": change}, MERGE)
        assert code in (403, 422), status
    spec = (await api("GET", f"{TEAM}/p"))[1]["spec"]
    assert spec["serviceAccountName"] == "default" and "nodeName" not in spec and "hostNetwork" not in spec


async def test_pods_of_a_kubelet(api: Local) -> None:
    """A stolen node makes mirror pods of its own alone, which refer to nothing, and gets no other pod's tokens."""
    await nodes.test_kubelets_make_mirror_pods_alone(api)


async def test_mirror_pods_of_tenants(api: Local) -> None:
    await pods.test_mirror_pods_refer_to_nothing(api)


async def test_tokens_of_another_nodes_pods(api: Local) -> None:
    await nodes.test_kubelets_get_tokens_of_their_pods_alone(api)


async def test_an_account_stays_in_its_namespace(api: Local, tenant: User) -> None:
    await bind(api, "edit", "ClusterRole/admin", "ServiceAccount/team/default", namespace="team")
    bot = account("team", "default")
    assert (await send(api, bot, "GET", "/api/v1/namespaces/team/secrets"))[0] == 200
    for path in ("/api/v1/namespaces/default/secrets", "/api/v1/secrets", "/api/v1/nodes"):
        assert (await send(api, bot, "GET", path))[0] == 403
    strong = role("strong", rule("*", "*", "*"), namespace="team")
    code, _ = await send(
        api, bot, "POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/team/roles", strong
    )  # fmt: skip
    assert code == 403


# -- webhooks ------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def webhook(pki: Pki) -> AsyncIterator[Webhook]:
    async with serving(pki) as made:
        yield made


@pytest.mark.slow
async def test_webhooks_that_hang(api: Local, webhook: Webhook) -> None:
    async with responsive(api):
        await webhooks.test_one_that_hangs_is_left_after_its_time(api, webhook)
    assert await stored(api) == []


@pytest.mark.parametrize("lie", webhooks.LIES[:5], ids=str)
async def test_webhooks_that_lie(api: Local, webhook: Webhook, lie: Any) -> None:
    async with responsive(api):
        await webhooks.test_one_that_lies(api, webhook, *lie)
    assert await stored(api) == []


async def test_webhooks_that_answer_a_gigabyte(api: Local, webhook: Webhook) -> None:
    sent = 0

    async def flood(writer: Writer) -> None:
        nonlocal sent
        while not writer.closed and sent < 1 << 30:
            writer.write(b" " * 65536)
            sent += 65536
            await writer.drain()
            await asyncio.sleep(0)

    await webhooks.register(api, "Validating", webhook.hook())
    webhook.answer = lambda request: Response(200, JSON, b"", stream=flood)
    async with responsive(api):
        code, message = await webhooks.write(api)
    assert code == 500 and "http: response body too large" in message
    assert sent < 1 << 26 and await stored(api) == []


@pytest.mark.slow
async def test_webhooks_that_blow_the_object_up(api: Local, webhook: Webhook) -> None:
    double: list[dict[str, Any]] = [
        {"op": "copy", "from": "/metadata", "path": f"/metadata/annotations/a{n}"} for n in range(60)
    ]
    bomb = [{"op": "add", "path": "/metadata/annotations", "value": {}}, *double]
    async with responsive(api):
        await webhooks.test_one_that_breaks_the_object(
            api, webhook, patch(*bomb), webhooks.INVALID
        )  # fmt: skip


# -- CEL ---------------------------------------------------------------------------------------------------------------

#: costs all that one call may cost
SQUARE = "object.data.all(k, object.data.all(l, object.data.all(m, k.size() + l.size() + m.size() < 100)))"
CALL = "operation cancelled: actual cost limit exceeded"
DATA = {f"k{index}": "" for index in range(120)}


@pytest.mark.slow
async def test_a_policy_that_costs_all_it_may(api: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call reaches the limit of one call, and a few of them spend the budget of the policy."""
    monkeypatch.setattr("sampan.apiserver.policies.evaluate.BUDGET", 2_500_000)
    await policies.enforce(api, policies.policy(*[f"{SQUARE} || {n} > 0" for n in range(3)]))
    async with responsive(api) as probes:
        code, message = await policies.write(api, policies.config_map(data=DATA))
    out = "validation failed due to running out of cost budget, no further validation rules will be run"
    assert (code, message) == (422, policies.refused(out))
    assert len(probes.waits) > 20, "others were answered all the while"
    assert await stored(api) == []


@pytest.mark.slow
async def test_many_at_once(api: Local) -> None:
    """Of several users: nobody waits for others' bombs but those who throw them."""
    await policies.enforce(api, policies.policy(SQUARE))
    users = [person(f"eve-{n}", "system:masters") for n in range(3)]
    async with responsive(api):
        bodies = [policies.config_map(f"b{n}", data=DATA) for n in range(5)]
        replies = await asyncio.gather(
            *(send(api, users[n % 3], "POST", CONFIG_MAPS, body) for n, body in enumerate(bodies))
        )
    assert {code for code, _ in replies} == {422}
    assert await stored(api) == []


@pytest.mark.slow
async def test_variables_messages_and_annotations_that_cost_too_much(api: Local) -> None:
    made = policies.policy(
        {"expression": "variables.v", "message": "plain"},
        {"expression": "object.data.size() == 0", "messageExpression": f"{SQUARE} ? 'a' : 'b'", "message": "plain"},
        variables=[{"name": "v", "expression": SQUARE}],
        auditAnnotations=[{"key": "k", "valueExpression": f"{SQUARE} ? 'a' : 'b'"}],
    )
    await policies.enforce(api, made)
    async with responsive(api):
        code, message = await policies.write(api, policies.config_map(data=DATA))
    assert code == 422
    assert message == policies.refused(
        f"expression 'variables.v' resulted in error: composited variable \"v\" fails to evaluate: {CALL}"
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Validating", "Mutating"])
async def test_match_conditions_that_cost_too_much(api: Local, webhook: Webhook, kind: str) -> None:
    conditions = [{"name": f"c{n}", "expression": f"{SQUARE} || {n} > 0"} for n in range(4)]
    await webhooks.register(api, kind, webhook.hook(matchConditions=conditions))
    async with responsive(api):
        code, message = await webhooks.write(api, "a", DATA)
    assert code == 403 and "cost" in message, message
    assert webhook.seen == [] and await stored(api) == []


@pytest.mark.slow
async def test_rules_of_definitions_that_cost_too_much(api: Local) -> None:
    """What is sure to cost too much is refused with the definition; what turns out to, with the object."""
    rules = [{"rule": "self.a.all(x, self.b.all(y, x <= y))", "message": "m"}]
    lists = {"type": "array", "items": {"type": "integer"}}
    spec = {"type": "object", "properties": {"a": lists, "b": lists}, "x-kubernetes-validations": rules}
    version = crds.version()
    version["schema"]["openAPIV3Schema"]["properties"]["spec"] = spec
    async with responsive(api):
        code, status = await api("POST", crds.CRDS, crds.definition(version))
    assert code == 422 and "estimated rule cost exceeds budget by factor of" in status["message"]
    for name in ("a", "b"):
        spec["properties"] = {**spec["properties"], name: {**lists, "maxItems": 1000}}  # type: ignore[dict-item]
    await crds.define(api, crds.definition(version))
    body = {
        "apiVersion": f"{crds.GROUP}/v1", "kind": "CronTab", "metadata": {"name": "c"},
        "spec": {"a": [0] * 1000, "b": [1] * 1000},
    }  # fmt: skip
    target = f"/apis/{crds.GROUP}/v1/namespaces/default/crontabs"
    async with responsive(api):
        code, status = await api("POST", target, body)
    assert code == 422 and "no further validation rules will be run due to call cost exceeds limit" in status["message"]
    assert await stored(api, target) == []


@pytest.mark.parametrize(
    "expression",
    [
        "[1,2,3].all(a, " * 12 + "true" + ")" * 12,
        "'a'" + " + 'a'" * 3_000 + " == ''",
        "(" * 300 + "true" + ")" * 300,
        "true" + " && true" * 3_000,
        "[" * 300 + "]" * 300 + " == []",
        "'" + "x" * 100_000 + "' == ''",
    ],
    ids=["loops", "sum", "parentheses", "ands", "lists", "text"],
)
async def test_expressions_that_are_long_or_deep(api: Local, expression: str) -> None:
    async with responsive(api):
        code, status = await api("POST", policies.POLICIES, policies.policy(expression))
    assert code in (201, 422), status


@pytest.mark.slow
async def test_expressions_that_take_long_to_compile(api: Local) -> None:
    """With the policy, for its status, and again for the first write that it concerns."""
    wide = " && ".join(f"object.metadata.name != 'n{n}'" for n in range(200))
    async with responsive(api):
        await policies.enforce(api, policies.policy(*[f"{wide} || {n} == 1" for n in range(20)]))
        await policies.type_checked(api)
        assert await policies.write(api) == (201, "")


# -- definitions -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(10_000)}},
        {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(60_000)}},
        {"type": "object", "anyOf": [{"required": [f"p{n}"]} for n in range(5_000)]},
        {"type": "string", "enum": [f"v{n}" for n in range(50_000)]},
        {"type": "string", "pattern": "((a{0,900}){0,900}){0,900}"},
        {"type": "object", "x-kubernetes-validations": [{"rule": "[1,2].all(x, x > 0)"}] * 600},
        {"type": "object", "x-kubernetes-validations": [{"rule": "true"}] * 30_000},
    ],
    ids=["wide", "too-wide", "anyOf", "enum", "regex", "rules", "too-many-rules"],
)
async def test_exploding_schemas(api: Local, spec: dict[str, Any]) -> None:
    version = crds.version()
    version["schema"]["openAPIV3Schema"]["properties"]["spec"] = spec
    async with responsive(api, 2 * WITHIN):
        code, status = await api("POST", crds.CRDS, crds.definition(version))
        assert code in (201, 422), status
        if code == 201:
            target = f"/apis/{crds.GROUP}/v1/namespaces/default/crontabs"

            async def served() -> bool:
                return (await api("GET", target))[0] == 200

            await crds.until(served)
            assert (await api("POST", target, crds.crontab("a")))[0] in (201, 422)


@pytest.mark.slow
async def test_objects_against_many_alternatives(api: Local) -> None:
    alternatives = [{"minimum": 10, "multipleOf": n + 2} for n in range(1000)]
    version = crds.version()
    items = {"type": "array", "items": {"type": "integer", "anyOf": alternatives}}
    version["schema"]["openAPIV3Schema"]["properties"]["spec"] = {"type": "object", "properties": {"l": items}}
    await crds.define(api, crds.definition(version))
    body = {"apiVersion": f"{crds.GROUP}/v1", "kind": "CronTab", "metadata": {"name": "c"}, "spec": {"l": [1] * 300}}
    async with responsive(api):
        code, status = await api("POST", f"/apis/{crds.GROUP}/v1/namespaces/default/crontabs", body)
    assert code == 422 and "the object is too large for the alternatives of its schema" in status["message"]


# -- bodies ------------------------------------------------------------------------------------------------------------


def many(count: int) -> dict[str, str]:
    return {f"k{index:06}": "v" for index in range(count)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "media", "code"),
    [
        (b"[" * 1_000_000, "application/yaml", 400),
        (b"a: [" + b"1," * 110_000 + b"]", "application/yaml", 400),
        (b"a: &a [b, b]\nc: [*a, *a]", "application/yaml", 400),
        (b'{"a":' * 300_000 + b"1" + b"}" * 300_000, "application/json", 400),
        (json.dumps({"metadata": {"name": "a", "labels": many(20_000)}}).encode(), "application/json", 201),
        (json.dumps({"metadata": {"name": "a"}, **many(20_000)}).encode(), "application/json", 201),
        (json.dumps({"metadata": {"name": "a", "labels": {"-": "x" * 1_000_000}}}).encode(), "application/json", 422),
    ],
    ids=["brackets", "commas", "aliases", "nested", "labels", "unknown", "label"],
)
async def test_bodies_that_take_long(api: Local, body: bytes, media: str, code: int) -> None:
    async with responsive(api):
        got, status = await api("POST", CONFIG_MAPS, body, media)
    assert got == code, status


@pytest.mark.parametrize(
    "operations",
    [
        [{"op": "add", "path": "/data", "value": {"k": "x" * 1000}}]
        + [{"op": "copy", "from": "/data", "path": f"/data/{n}"} for n in range(40)],
        [{"op": "copy", "from": "", "path": "/data/k"}] * 40,
        [{"op": "test", "path": "/metadata", "value": [[[[]]]] * 500}] * 20,
        [{"op": "add", "path": "/metadata/finalizers", "value": []}]
        + [{"op": "add", "path": "/metadata/finalizers/0", "value": "x"}] * 9_000,
        [{"op": "add", "path": "/data", "value": {}}] * 10_001,
        [{"op": "add", "path": "/" + "a/" * 100_000, "value": 1}],
        [{"op": "replace", "path": "/data/" + "~1" * 100_000, "value": "x"}],
    ],
    ids=["double", "self", "test", "inserts", "count", "deep", "escapes"],
)
async def test_json_patches_that_explode(api: Local, operations: list[dict[str, Any]]) -> None:
    await api("POST", CONFIG_MAPS, policies.config_map())
    before = (await api("GET", f"{CONFIG_MAPS}/a"))[1]
    async with responsive(api):
        code, status = await api("PATCH", f"{CONFIG_MAPS}/a", operations, JSON_PATCH)
    assert 400 <= code < 500 and status["message"], status
    assert (await api("GET", f"{CONFIG_MAPS}/a"))[1] == before


@pytest.mark.parametrize("media", [MERGE, STRATEGIC, APPLY])
@pytest.mark.parametrize("depth", [200, 900, 100_000])
async def test_patches_that_nest(api: Local, media: str, depth: int) -> None:
    await api("POST", CONFIG_MAPS, policies.config_map())
    before = (await api("GET", f"{CONFIG_MAPS}/a"))[1]
    head = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"annotations":'
    body = head + b'{"a":' * depth + b"1" + b"}" * depth + b"}}"
    async with responsive(api):
        code, status = await api("PATCH", f"{CONFIG_MAPS}/a?fieldManager=m", body, media)
    assert 400 <= code < 500 and status["message"], status
    assert (await api("GET", f"{CONFIG_MAPS}/a"))[1] == before


@pytest.mark.parametrize(
    "query",
    [
        "labelSelector=" + ",".join(f"a{n}" for n in range(8000)),
        "labelSelector=a+in+(" + ",".join(f"a{n}" for n in range(8000)) + ")",
        "labelSelector=" + "(" * 60_000,
        "labelSelector=" + "!" * 60_000,
        "fieldSelector=" + ",".join(f"metadata.name!=a{n}" for n in range(3000)),
        "fieldSelector=" + "\\" * 60_000,
        "continue=" + "A" * 60_000,
        "continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiLi4vLi4vc2VjcmV0cyJ9",
        "limit=-1",
        "limit=99999999999999999999999999",
        "resourceVersion=-1",
        "resourceVersion=99999999999999999999999999&resourceVersionMatch=Exact",
        "watch=1&timeoutSeconds=99999999999999999999&resourceVersion=x",
        "watch=1&sendInitialEvents=maybe",
    ],
    ids=lambda query: query[:30],
)
async def test_queries_that_take_long_or_mean_nothing(api: Local, query: str) -> None:
    async with responsive(api):
        reply = await api.raw("GET", f"{CONFIG_MAPS}?{query}")
    assert reply.code == 200 or 400 <= reply.code < 500


# -- paths: all in test_security_paths.py --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "//api/v1/namespaces/kube-system/secrets",
        "/api/v1/namespaces/default/%2e%2e/kube-system/secrets",
        "/api/v1/namespaces/default/configmaps/..%2f..%2fkube-system%2fsecrets",
        "/healthz/../api/v1/secrets",
        "/api/v1/namespaces/default/" + "%2e%2e/" * 5_000 + "secrets",
    ],
    ids=lambda path: path[:40],
)
async def test_paths_that_lead_elsewhere(api: Local, path: str) -> None:
    async with responsive(api):
        assert (await send(api, MALLORY, "GET", path))[0] == 404
        assert (await api("GET", path))[0] == 404

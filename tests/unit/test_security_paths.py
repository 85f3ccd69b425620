"""Tricks with paths: a request is authorized for what it is served, or it is served nothing."""

from __future__ import annotations

import pytest

from tests.conftest import Local
from tests.people import bind, make_role, person, rule, send

EVE = person("eve")


@pytest.fixture
async def eve(api: Local) -> Local:
    """Eve may do everything in `default`, and see configmaps everywhere."""
    await bind(api, "eve", "ClusterRole/admin", "User/eve", namespace="default")
    await make_role(api, "configs", rule("get,list,watch", "configmaps"))
    await bind(api, "configs", "ClusterRole/configs", "User/eve")
    await api("POST", "/api/v1/namespaces", {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "vault"}})
    secret = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "gold"}, "stringData": {"a": "b2"}}
    assert (await api("POST", "/api/v1/namespaces/vault/secrets", secret))[0] == 201
    return api


NOWHERE = [
    "//api/v1/namespaces/vault/secrets/gold",
    "/api//v1/namespaces/vault/secrets/gold",
    "/api/v1//namespaces/vault/secrets/gold",
    "/api/v1/namespaces/default/../vault/secrets/gold",
    "/api/v1/namespaces/default/%2e%2e/vault/secrets/gold",
    "/api/v1/namespaces/default/%2E./vault/secrets/gold",
    "/api/v1/namespaces/./vault/secrets/gold",
    "/api/v1/namespaces/default%2f..%2fvault/secrets/gold",
    "/api/v1/namespaces/default/configmaps/..%2f..%2fvault%2fsecrets%2fgold",
    "/api/v1/namespaces/default/pods/x/proxy/../../../vault/secrets/gold",
    "/api/v1/namespaces/default/pods/x/log/%2e%2e/%2e%2e/secrets",
    "/healthz/..%2fapi%2fv1%2fsecrets",
    "/healthz/../api/v1/namespaces/vault/secrets/gold",
    "/version//../api/v1/secrets",
    "/api%2fv1%2fnamespaces%2fvault%2fsecrets%2fgold",
    "/%2e%2e/api/v1/secrets",
    "/%2e%2e",
    "/api/v1/namespaces/vault/secrets/gold%ff",
    "/api/v1/namespaces/vault/secrets//gold",
    "http://127.0.0.1/api/v1/namespaces/vault/secrets/gold",
    "api/v1/namespaces/vault/secrets/gold",
    "*",
    "",
]


@pytest.mark.parametrize("path", NOWHERE)
async def test_a_path_that_is_none_is_404_for_everybody(eve: Local, path: str) -> None:
    assert (await send(eve, EVE, "GET", path))[0] == 404
    assert (await eve("GET", path))[0] == 404


REFUSED = [
    "/api/v1/namespaces/vault/secrets/gold",
    "/api/v1/namespaces/vault/secrets/gold/",
    "/api/v1/namespaces/vault/secrets/",
    "/api/v1/namespaces/vault/%73ecrets/gold",
    "/api/v1/n%61mespaces/vault/secrets/gold",
    "/%61pi/v1/namespaces/v%61ult/secrets/%67old",
    "/api/v1/namespaces/vault/Secrets/gold",
    "/api/v1/namespaces/vault/secrets;a=b/gold",
    "/api/v1/namespaces/vault%00default/secrets/gold",
    "/api/v1/secrets",
    "/api/v1/secrets?watch=1",
    "/api/v1/watch/secrets",
    "/api/v1/watch/namespaces/vault/secrets/gold",
    "/api/v1/namespaces/vault/configmaps/../secrets",
    "/apis/v1/namespaces/vault/secrets",
    "/API/v1/namespaces/vault/secrets/gold",
    "/healthz/",
    "/healthz/etcd",
    "/metrics",
]


@pytest.mark.parametrize("path", REFUSED)
async def test_other_spellings_are_refused_or_nowhere(eve: Local, path: str) -> None:
    code, body = await send(eve, EVE, "GET", path)
    assert code in (403, 404), body
    assert "YjI=" not in str(body) and "'data'" not in str(body)


async def test_encoded_letters_are_the_letters(eve: Local) -> None:
    """The same decision, and the same object, as the plain path."""
    for path in ("/api/v1/namespaces/vault/configmaps", "/%61pi/v1/namespaces/va%75lt/config%6Daps"):
        assert (await send(eve, EVE, "GET", path))[0] == 200
    code, found = await eve("GET", "/api/v1/namespaces/vault/%73ecrets/g%6Fld")
    assert (code, found["metadata"]["name"]) == (200, "gold")


async def test_a_namespace_is_seen_from_within_itself_alone(eve: Local) -> None:
    assert (await send(eve, EVE, "GET", "/api/v1/namespaces/default"))[0] == 200
    assert (await send(eve, EVE, "GET", "/api/v1/namespaces/vault"))[0] == 403
    for path in ("/api/v1/namespaces/default/namespaces/vault", "/api/v1/namespaces/default/namespaces"):
        assert (await send(eve, EVE, "GET", path))[0] == 404
        assert (await eve("GET", path))[0] == 404
    await make_role(eve, "nodes", rule("*", "*"), namespace="default")
    await bind(eve, "nodes", "Role/nodes", "User/eve", namespace="default")
    for path in ("/api/v1/namespaces/default/nodes", "/api/v1/namespaces/default/persistentvolumes/x"):
        assert (await send(eve, EVE, "GET", path))[0] == 404


async def test_the_verb_is_what_is_done(eve: Local) -> None:
    """Queries and repeated parameters do not make another verb of a list than is authorized."""
    await make_role(eve, "lister", rule("list", "services"))
    await bind(eve, "lister", "ClusterRole/lister", "User/eve")
    services = "/api/v1/namespaces/vault/services"
    for query in ("", "?watch=0", "?watch=false", "?watch=False"):
        assert (await send(eve, EVE, "GET", services + query))[0] == 200
    for query in ("?watch=1", "?watch", "?watch=", "?watch=true", "?w%61tch=1", "?watch=1&watch=0"):
        assert (await send(eve, EVE, "GET", services + query))[0] == 403, query
    for method in ("DELETE", "POST", "PUT", "PATCH", "OPTIONS", "TRACE", "get", "LIST"):
        assert (await send(eve, EVE, method, services))[0] == 403, method


async def test_names_of_a_selector_are_what_is_listed(eve: Local) -> None:
    await make_role(eve, "one", rule("list", "secrets", names="one"))
    await bind(eve, "one", "ClusterRole/one", "User/eve")
    secrets = "/api/v1/namespaces/vault/secrets"
    code, found = await send(eve, EVE, "GET", f"{secrets}?fieldSelector=metadata.name%3Done")
    assert (code, found["items"]) == (200, [])
    for query in (
        "fieldSelector=metadata.name%3Done&fieldSelector=metadata.name%3Dgold",
        "fieldSelector=metadata.name%3Done,metadata.name%3Dgold",
        "fieldSelector=metadata.name%3Done&fieldSelector=",
    ):
        code, found = await send(eve, EVE, "GET", f"{secrets}?{query}")
        assert code == 403 or found["items"] == [], query


async def test_a_write_that_creates_needs_create(eve: Local) -> None:
    await make_role(eve, "patcher", rule("get,patch,update", "configmaps"))
    await make_role(eve, "leaser", rule("get,update", "leases", "coordination.k8s.io"))
    for name in ("patcher", "leaser"):
        await bind(eve, name, f"ClusterRole/{name}", "User/eve")
    new = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "new"}}
    target = "/api/v1/namespaces/vault/configmaps/new?fieldManager=m"
    code, status = await send(eve, EVE, "PATCH", target, new, "application/apply-patch+yaml")
    assert (code, status["message"]) == (
        403,
        'configmaps "new" is forbidden: User "eve" cannot create resource "configmaps" in API group "" in the '
        'namespace "vault"',
    )
    lease = {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": {"name": "l"}, "spec": {}}
    assert (await send(eve, EVE, "PUT", "/apis/coordination.k8s.io/v1/namespaces/vault/leases/l", lease))[0] == 403

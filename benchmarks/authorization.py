"""What authentication and RBAC add to a request: `python -m benchmarks.authorization`.

200 roles and as many bindings beside those of the cluster itself; a ServiceAccount with a dozen of them, one in another
namespace, and the groups of every account. The budget is authentication's and authorization's together; RBAC may take 25
of those 60 microseconds. A token is verified once and believed while nothing that it hangs on changes; what the first
request with it costs stands beside.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.report import Figure, few, run
from sampan.api.user import User
from sampan.apiserver.authorization.attributes import of_request
from sampan.apiserver.authorization.rbac import GROUP
from sampan.apiserver.cache import encode
from sampan.apiserver.config import SERVICE_ACCOUNT_ISSUER, ApiServerConfig
from sampan.apiserver.routing import parse
from sampan.apiserver.server import ApiServer
from sampan.http.server.messages import Request
from sampan.store.contract import Op, Put

ROLES, ROUNDS, EACH = 200, few(9), few(5000)
NAME = "system:serviceaccount:default:bot"
BOT = User(NAME, ("system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"))


def objects(number: int) -> list[tuple[str, str, dict[str, Any]]]:
    """A role of five rules, and its binding: to the bot for every sixteenth, else to somebody else."""
    name = f"r{number}"
    rules = [
        {"apiGroups": ["", "apps"], "resources": [f"things{number}-{at}", "pods"], "verbs": ["get", "list", "watch"]}
        for at in range(5)
    ]
    who = "bot" if number % 16 == 0 else f"other{number % 50}"
    meta = {"name": name, "namespace": "default"}
    subject = {"kind": "ServiceAccount", "name": who, "namespace": "default"}
    role = {"kind": "Role", "apiVersion": f"{GROUP}/v1", "metadata": meta, "rules": rules}
    binding = {
        "kind": "RoleBinding",
        "apiVersion": f"{GROUP}/v1",
        "metadata": meta,
        "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": name},
        "subjects": [subject],
    }
    return [("roles", f"default/{name}", role), ("rolebindings", f"default/{name}", binding)]


def median(call: Callable[[], object]) -> float:
    """Microseconds."""
    out = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(EACH):
            call()
        out.append((time.perf_counter() - start) / EACH * 1e6)
    return statistics.median(out)


async def measure() -> list[Figure]:
    server = ApiServer(ApiServerConfig(port=0, store="memory"))
    await server.start()
    api = server.api
    for number in range(ROLES):
        ops: list[Op] = [
            Put((api.cached(GROUP, resource).prefix + key).encode(), encode(obj))
            for resource, key, obj in objects(number)
        ]
        await api.store.txn([], ops)

    def decide(method: str, path: str) -> Callable[[], bool]:
        info = parse(method, path)
        assert info is not None
        return lambda: api.authorizer.authorize(BOT, of_request(info, {})).allowed is True

    allowed = decide("GET", "/api/v1/namespaces/default/pods/x")
    refused = decide("DELETE", "/apis/batch/v1/namespaces/default/jobs/x")
    url = decide("GET", "/version")
    assert allowed() and url() and not refused()
    role = (api.cached(GROUP, "roles").prefix + "default/r0").encode()
    value = encode(objects(0)[0][2])
    start = time.perf_counter()
    for _ in range(200):
        await api.store.txn([], [Put(role, value)])
        allowed()
    changed = (time.perf_counter() - start) / 200 * 1e6
    first, both = await with_token(server)
    figures: list[Figure] = [
        ("authentication and RBAC of a ServiceAccount, 200 roles", both, "us", "<= 60"),
        ("authentication and RBAC: the first request with a token", first, "us", "-"),
        ("RBAC, 200 roles: a ServiceAccount may", median(allowed), "us", "<= 25"),
        ("RBAC, 200 roles: it may not", median(refused), "us", "<= 25"),
        ("RBAC, 200 roles: a path", median(url), "us", "<= 25"),
        ("RBAC, 200 roles: a role changes, and the next question", changed, "us", "-"),
    ]
    await server.stop(0)
    return figures


async def with_token(server: ApiServer) -> tuple[float, float]:
    """Microseconds from a request with a bearer token to the decision: when the token is new, and after that."""
    api, handler = server.api, server.handler
    assert api.identity is not None
    meta = {"name": "bot", "namespace": "default", "uid": "00000000-0000-4000-8000-000000000001"}
    account = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": meta}
    await api.store.txn([], [Put((api.cached("", "serviceaccounts").prefix + "default/bot").encode(), encode(account))])
    path = "/api/v1/namespaces/default/pods/x"
    info = parse("GET", path)
    assert info is not None

    def ask(token: str) -> Callable[[], object]:
        def decide() -> object:
            # a request forgets its token once that is believed
            headers = {"authorization": f"Bearer {token}"}
            user = handler.authentication(Request("GET", path, "", headers, list(headers.items()), b"", None, None))
            assert isinstance(user, User)
            decision = api.authorizer.authorize(user, of_request(info, {}))
            assert decision.allowed
            return decision

        return decide

    fresh = []
    for _ in range(few(100)):
        audiences = [SERVICE_ACCOUNT_ISSUER]
        token = api.identity.issuer.bound(account, now=time.time(), seconds=3600, audiences=audiences)
        decide = ask(token)
        start = time.perf_counter()
        decide()
        fresh.append((time.perf_counter() - start) * 1e6)
    return statistics.median(fresh), median(decide)


if __name__ == "__main__":
    run(measure)

"""What RBAC adds to a request: `python -m benchmarks.authorization`.

200 roles and as many bindings beside those of the cluster itself; a ServiceAccount with a dozen of them, one in another
namespace, and the groups of every account. The budget is authentication's and authorization's together; RBAC may take 25
of those 60 microseconds.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any

from sampan.apiserver.authentication.user import User
from sampan.apiserver.authorization.attributes import of_request
from sampan.apiserver.authorization.rbac import GROUP
from sampan.apiserver.cache import encode
from sampan.apiserver.config import ApiServerConfig
from sampan.apiserver.routing import parse
from sampan.apiserver.server import ApiServer
from sampan.store.contract import Op, Put

ROLES, ROUNDS, EACH = 200, 9, 5000
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


async def measure() -> list[tuple[str, float, str, str]]:
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
    figures = [
        ("RBAC, 200 roles: a ServiceAccount may", median(allowed), "us", "<= 25"),
        ("RBAC, 200 roles: it may not", median(refused), "us", "<= 25"),
        ("RBAC, 200 roles: a path", median(url), "us", "<= 25"),
        ("RBAC, 200 roles: a role changes, and the next question", changed, "us", "-"),
    ]
    await server.stop(0)
    return figures


if __name__ == "__main__":
    for what, figure, unit, budget in asyncio.run(measure()):
        print(f"{what:58} {figure:12,.1f} {unit:6} budget {budget}")

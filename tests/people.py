"""Requests of people other than the administrator, and the roles and bindings they live by."""

from __future__ import annotations

import json
from typing import Any

from sampan.api.user import User
from sampan.http.server.messages import Request, Response
from tests.conftest import Local

GROUP = "rbac.authorization.k8s.io"
RBAC = f"/apis/{GROUP}/v1"


def person(name: str, *groups: str) -> User:
    return User(name, (*groups, "system:authenticated"))


def account(namespace: str, name: str) -> User:
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return User(f"system:serviceaccount:{namespace}:{name}", groups)


def node(name: str) -> User:
    return User(f"system:node:{name}", ("system:nodes", "system:authenticated"))


async def send(
    api: Local, user: User, method: str, target: str, body: Any = None, media: str = "application/json"
) -> tuple[int, Any]:
    """Code and decoded body of a request by `user`, whom the server knows already."""
    path, _, query = target.partition("?")
    data = b"" if body is None else json.dumps(body).encode()
    headers = {"user-agent": "test/1", "content-type": media}
    request = Request(method, path, query, headers, list(headers.items()), data)
    request.scratch["user"] = user
    result = api.server.handler(request)
    reply = result if isinstance(result, Response) else await result
    if reply.stream is not None:
        return reply.code, None
    joined = reply.body if isinstance(reply.body, bytes) else b"".join(reply.body)
    try:
        return reply.code, json.loads(joined)
    except ValueError:
        return reply.code, joined


def rule(verbs: str, resources: str, group: str = "", names: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {"apiGroups": group.split(","), "resources": resources.split(","), "verbs": verbs.split(",")}
    return {**out, "resourceNames": names.split(",")} if names else out


def role(name: str, *rules: dict[str, Any], namespace: str = "", **meta: Any) -> dict[str, Any]:
    kind = "Role" if namespace else "ClusterRole"
    return {"kind": kind, "apiVersion": f"{GROUP}/v1", "metadata": {"name": name, **meta}, "rules": list(rules)}


def binding(name: str, role: str, *subjects: str, namespace: str = "") -> dict[str, Any]:
    """`role`: `Role/x` or `ClusterRole/x`; subjects: `User/x`, `Group/x`, `ServiceAccount/ns/x`."""
    kind, _, to = role.partition("/")
    listed: list[dict[str, str]] = []
    for subject in subjects:
        sort, *path = subject.split("/")
        listed.append({"kind": sort, "name": path[-1], **({"namespace": path[0]} if len(path) > 1 else {})})
    return {
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "apiVersion": f"{GROUP}/v1",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": to},
        "subjects": listed,
    }


def path_of(obj: dict[str, Any], namespace: str = "") -> str:
    plural = obj["kind"].lower() + "s"
    return f"{RBAC}/namespaces/{namespace}/{plural}" if namespace else f"{RBAC}/{plural}"


async def make_role(api: Local, name: str, *rules: dict[str, Any], namespace: str = "", **meta: Any) -> None:
    obj = role(name, *rules, namespace=namespace, **meta)
    code, reply = await api("POST", path_of(obj, namespace), obj)
    assert code == 201, reply


async def bind(api: Local, name: str, role: str, *subjects: str, namespace: str = "") -> None:
    obj = binding(name, role, *subjects, namespace=namespace)
    code, reply = await api("POST", path_of(obj, namespace), obj)
    assert code == 201, reply

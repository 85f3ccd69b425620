"""MutatingAdmissionPolicies for the tests: made, bound, and what they say when they refuse."""

from __future__ import annotations

from typing import Any

from tests.conftest import Local

DEFAULT = "/api/v1/namespaces/default"
CONFIG_MAPS, PODS, SERVICES = f"{DEFAULT}/configmaps", f"{DEFAULT}/pods", f"{DEFAULT}/services"
GROUP = "/apis/admissionregistration.k8s.io/v1"
POLICIES, BINDINGS = f"{GROUP}/mutatingadmissionpolicies", f"{GROUP}/mutatingadmissionpolicybindings"
MERGE = "application/merge-patch+json"
PARAMS = {"apiVersion": "v1", "kind": "ConfigMap"}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "s", "labels": {"x": "1", "y": "2"}},
    "spec": {"selector": {"a": "b"}, "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]},
}
UNTYPED = "error applying patch: failed to convert patch object to typed object: "


def config_map(name: str = "a", data: dict[str, str] | None = None, **meta: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **meta}, "data": data or {}}


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    containers = [{"name": "main", "image": "m", "command": ["run"]}]
    spec = {"containers": containers, "automountServiceAccountToken": False, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def rule(resource: str = "configmaps", group: str = "", version: str = "v1", **more: Any) -> dict[str, Any]:
    made = {"operations": ["*"], "apiGroups": [group], "apiVersions": [version], "resources": [resource]}
    return {**made, **more}


def mutation(expression: str) -> dict[str, Any]:
    """Of the type that the expression looks like."""
    if expression.lstrip().startswith(("[", "JSON")) or "? [" in expression:
        return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def policy(*expressions: str, name: str = "p", rules: Any = None, **more: Any) -> dict[str, Any]:
    spec = {
        "matchConstraints": {"resourceRules": rules or [rule()]},
        "mutations": [mutation(expression) for expression in expressions],
        "reinvocationPolicy": "Never",
        **more,
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


def binding(name: str = "b", policy: str = "p", **more: Any) -> dict[str, Any]:
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding"}
    return {**kind, "metadata": {"name": name}, "spec": {"policyName": policy, **more}}


async def enforce(api: Local, made: dict[str, Any], *bindings: dict[str, Any]) -> None:
    name = made["metadata"]["name"]
    for path, body in ((POLICIES, made), *((BINDINGS, item) for item in bindings or (binding(f"{name}-b", name),))):
        reply = await api.raw("POST", path, body)
        assert (reply.code, [key for key, _ in reply.headers if key == "Warning"]) == (201, []), reply.body


def label(**labels: str) -> str:
    shown = ", ".join(f"'{key}': {value!r}" for key, value in labels.items())
    return f"Object{{metadata: Object.metadata{{labels: {{{shown}}}}}}}"


async def labels(api: Local, body: dict[str, Any] | None = None) -> Any:
    """Those of a new ConfigMap, or why there is none."""
    code, made = await api("POST", CONFIG_MAPS, body or config_map())
    return made["metadata"].get("labels") if code == 201 else (code, made["message"])


def refused(why: str, code: int = 403, name: str = "p") -> tuple[int, str]:
    return code, f"policy '{name}' with binding '{name}-b' denied request: {why}"

"""schemathesis drives the server by its own OpenAPI document: whatever it sends, no answer is a 5xx."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.conftest import Up

pytestmark = [pytest.mark.clients, pytest.mark.slow]

#: what is allowed to answer 503: there is no node behind it
WITHOUT_NODES = ("/proxy", "/log", "/exec", "/attach", "/portforward", "/token")


def _context(up: Up) -> ssl.SSLContext:
    pki = up.home / "clusters" / "default" / "pki"
    context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
    context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
    return context


GROUPS = [
    "api/v1",
    *(
        f"apis/{name}"
        for name in (
            "apps/v1", "autoscaling/v1", "autoscaling/v2", "batch/v1", "certificates.k8s.io/v1", "coordination.k8s.io/v1",
            "discovery.k8s.io/v1", "events.k8s.io/v1", "flowcontrol.apiserver.k8s.io/v1", "networking.k8s.io/v1",
            "node.k8s.io/v1", "policy/v1", "rbac.authorization.k8s.io/v1", "resource.k8s.io/v1", "scheduling.k8s.io/v1",
            "storage.k8s.io/v1", "authentication.k8s.io/v1", "authorization.k8s.io/v1", "schemathesis.example.com/v1",
        )
    ),
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def defined(up: Up) -> None:
    """A kind of our own among the others."""
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.schemathesis.example.com"},
        "spec": {
            "group": "schemathesis.example.com",
            "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": SCHEMA}, "subresources": {"status": {}}}],
        },
    }  # fmt: skip
    request = urllib.request.Request(
        f"{up.server}/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        json.dumps(definition).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, context=_context(up)) as reply:
        assert reply.status == 201
    kinds = f"{up.server}/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    with urllib.request.urlopen(f"{kinds}?watch=1&timeoutSeconds=30", context=_context(up)) as changes:
        for line in changes:
            found = json.loads(line)["object"]
            conditions = (found.get("status") or {}).get("conditions") or ()
            if found["spec"]["group"] == "schemathesis.example.com" and any(
                each["type"] == "Established" and each["status"] == "True" for each in conditions
            ):
                break
    urllib.request.urlopen(f"{up.server}/apis/schemathesis.example.com/v1", context=_context(up)).close()


SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["a"],
            "properties": {
                "a": {"type": "string", "pattern": "^a+$", "maxLength": 9},
                "n": {"type": "integer", "minimum": 3},
                "l": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
            "x-kubernetes-validations": [{"rule": "!has(self.n) || self.n < 9"}],
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}


@pytest.mark.parametrize("group", GROUPS)
def test_no_answer_is_a_server_error(up: Up, group: str) -> None:
    import schemathesis

    pki = up.home / "clusters" / "default" / "pki"
    with urllib.request.urlopen(f"{up.server}/openapi/v3/{group}", context=_context(up)) as reply:
        document = json.load(reply)
    schema: Any = schemathesis.openapi.from_dict(document)
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path.endswith(WITHOUT_NODES) or operation.method not in ("post", "put", "get"):
            continue
        if "watch" in str(operation.path):
            continue
        tried += 1
        strategy = operation.as_strategy()

        def check(case: Any) -> None:
            case.query = {
                key: value for key, value in (case.query or {}).items() if key not in ("watch", "sendInitialEvents")
            }
            answer = case.call(
                base_url=up.server,
                cert=(str(pki / "admin.crt"), str(pki / "admin.key")),
                verify=str(pki / "ca.crt"),
                timeout=20,
            )
            assert answer.status_code < 500 or answer.status_code == 504, (
                f"{case.method} {case.path}: {answer.text[:500]}"
            )

        _run(strategy, check)
    assert tried


def _run(strategy: Any, check: Any) -> None:
    """A few examples of each operation, the same in every run."""
    from hypothesis import given

    @settings(
        max_examples=2,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def run(case: Any) -> None:
        check(case)

    run()

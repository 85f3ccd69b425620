"""schemathesis drives the server by its own OpenAPI document: whatever it sends, no answer is a 5xx."""

from __future__ import annotations

import json
import ssl
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


@pytest.mark.parametrize("group", ["api/v1", "apis/apps/v1", "apis/batch/v1", "apis/networking.k8s.io/v1"])
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
    assert tried > 10


def _run(strategy: Any, check: Any) -> None:
    """A few examples of each operation, the same in every run."""
    from hypothesis import given

    @settings(
        max_examples=3,
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

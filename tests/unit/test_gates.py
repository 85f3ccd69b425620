"""What feature gates that upstream has turned on or off lately change for clients."""

from __future__ import annotations

import pytest

from tests.conftest import Local

WHOLE = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (WHOLE.format("v2") + ",application/json", "APIGroupDiscoveryList"),
        (",".join((WHOLE.format("v2"), WHOLE.format("v2beta1"), "application/json")), "APIGroupDiscoveryList"),
        (WHOLE.format("v2beta1") + ",application/json", "APIGroupList"),
        ("application/json," + WHOLE.format("v2"), "APIGroupList"),
    ],
)
async def test_discovery_as_a_whole_is_v2(api: Local, accept: str, kind: str) -> None:
    code, found = await api("GET", "/apis", accept=accept)
    assert code == 200 and found["kind"] == kind

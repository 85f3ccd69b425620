"""Transactions by the library and by the program."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sampan.network import nft as module
from sampan.network.nft import Nft, NftError, elements
from tests.network.lab import Lab

pytestmark = pytest.mark.slow


@pytest.fixture(params=["library", "program"])
def nft(request: pytest.FixtureRequest, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nft]:
    if request.param == "program":
        monkeypatch.setattr(module, "_library", lambda: None)
    elif module._library() is None:
        pytest.skip("libnftables is not installed (Debian: libnftables1)")
    made = Nft(lab.namespace("node"))
    yield made
    made.close()


def ports(nft: Nft) -> list[int]:
    return [port for each in nft.list("set ip t s") for port in each.get("set", {}).get("elem", ())]


def test_a_transaction_is_done_whole_or_not_at_all(nft: Nft) -> None:
    nft.run("table ip t {\n set s { type inet_service; }\n}\n")
    nft.run(elements("add", "t", "s", map(str, range(1, 5000))))  # in more than one command
    assert len(ports(nft)) == 4999
    with pytest.raises(NftError, match="No such file or directory"):
        nft.run("delete element ip t s { 1 }\ndelete element ip t s { 6000 }\n")
    assert len(ports(nft)) == 4999
    with pytest.raises(NftError, match="syntax error"):
        nft.run("add what\n")
    with pytest.raises(NftError):
        nft.list("set ip t other")
    nft.run("")

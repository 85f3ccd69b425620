"""Our stores against a real etcd: the same operations, the same answers."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.apiserver.config import ApiServerConfig
from sampan.apiserver.server import ApiServer
from sampan.cluster.certificates import Pki
from sampan.store.contract import (
    Compacted,
    Compare,
    Delete,
    FutureRevision,
    Get,
    LeaseNotFound,
    Op,
    Put,
    Range,
    Store,
    TxnResult,
)
from sampan.store.etcd import EtcdStore
from sampan.store.memory import MemoryStore
from sampan.store.open import EtcdTls
from sampan.store.sqlite import SqliteStore
from tests import etcd_server
from tests.conftest import Local

pytestmark = [pytest.mark.clients, pytest.mark.slow]


@pytest.fixture
def etcd(tmp_path: Path, pki: Pki) -> Iterator[etcd_server.Etcd]:
    with etcd_server.running(tmp_path, pki) as made:
        yield made


@pytest.fixture
async def store(etcd: etcd_server.Etcd) -> AsyncIterator[EtcdStore]:
    pki = etcd.pki
    made = EtcdStore([etcd.url], ca=pki.path("ca.crt"), cert=pki.path("admin.crt"), key=pki.path("admin.key"))
    await made.open()
    yield made
    await made.close()


KEYS = [b"/registry/%d" % number for number in range(6)]


def _txn(rng: random.Random, base: int) -> tuple[list[Compare], list[Op], list[Op]]:
    def op(used: set[bytes]) -> Op:
        key = rng.choice([key for key in KEYS if key not in used] or KEYS)
        used.add(key)
        kind = rng.random()
        if kind < 0.6:
            return Put(key, b"%d" % rng.randint(0, 99))
        if kind < 0.8:
            return Delete(key)
        return Get(key)

    target = rng.choice(["mod", "create", "version", "value"])
    operand: int | bytes = (
        b"5" if target == "value" else base + rng.randint(-5, 5) if target != "version" else rng.randint(0, 3)
    )
    compare = [Compare(rng.choice(KEYS), target, rng.choice(["=", "!=", "<", ">"]), operand)]  # type: ignore[arg-type]
    used: set[bytes] = set()
    success = [op(used) for _ in range(rng.randint(1, 3))]
    return compare if rng.random() < 0.5 else [], success, [Get(KEYS[0])]


async def _answer(store: Store, kind: str, arguments: Any) -> Any:
    try:
        if kind == "txn":
            result: TxnResult = await store.txn(*arguments)
            return result.succeeded, result.revision, [_plain(item) for item in result.responses]
        if kind == "range":
            return _plain(await store.range(b"/registry/", b"/registry0", **arguments))
        await store.compact(arguments)
        return "compacted"
    except (Compacted, FutureRevision) as error:
        return type(error).__name__


def _plain(item: Any) -> Any:
    return (list(item.kvs), item.count, item.revision, item.more) if isinstance(item, Range) else item


@pytest.mark.parametrize("seed", range(4))
async def test_the_same_operations_have_the_same_answers(store: EtcdStore, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    durable = SqliteStore(tmp_path / "state.db")
    stores: list[Store] = [store, MemoryStore(), durable]
    for each in stores[1:]:
        await each.open()
    for step in range(250):
        revision = await store.revision()
        kind = rng.choices(["txn", "range", "compact"], [8, 4, 0.3])[0]
        arguments: Any = _txn(rng, revision)
        if kind == "range":
            asked = rng.choice([0, 0, revision, revision + 3, max(1, revision - rng.randint(0, 30))])
            arguments = {"revision": asked, "limit": rng.choice([0, 1, 3]), "keys_only": rng.random() < 0.2}
        elif kind == "compact":
            arguments = max(1, revision - rng.randint(-1, 15))
        answers = [await _answer(each, kind, arguments) for each in stores]
        assert answers[0] == answers[1] == answers[2], f"step {step}: {kind} {arguments}"
    start = max(store_.mvcc.compacted for store_ in (durable,)) + 1
    last = await store.revision()
    histories = []
    for each in stores:
        watch = each.watch(b"/registry/", b"/registry0", start)
        seen: list[Any] = []
        async for batch in watch:
            seen.extend((e.type, e.kv) for e in batch)
            if seen[-1][1].mod_revision == last:
                break
        watch.close()
        histories.append(seen)
    assert histories[0] == histories[1] == histories[2]
    await durable.close()


async def test_leases(store: EtcdStore) -> None:
    lease = await store.grant(60)
    await store.txn((), [Put(b"a", b"1", lease)])
    assert await store.keep_alive(lease) == 60
    await store.revoke(lease)
    assert await store.get(b"a") is None
    with pytest.raises(LeaseNotFound):
        await store.keep_alive(lease)


async def test_two_api_servers_share_one_etcd(etcd: etcd_server.Etcd, pki: Pki) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    tls = EtcdTls(pki.path("ca.crt"), pki.path("admin.crt"), pki.path("admin.key"))
    certificate = x509.load_pem_x509_certificate(pki.path("admin.crt").read_bytes()).public_bytes(Encoding.DER)
    servers = [ApiServer(ApiServerConfig(port=0, store=f"etcd={etcd.url}", etcd_tls=tls)) for _ in range(2)]
    for server in servers:
        await server.start()
    one, two = (Local(server, certificate) for server in servers)
    path = "/api/v1/namespaces/default/configmaps"
    for number in range(20):
        code, made = await one("POST", path, {"metadata": {"name": f"c{number}"}, "data": {"a": "1"}})
        assert code == 201
        code, seen = await two("GET", f"{path}/c{number}")
        assert code == 200 and seen == made
        assert (await two("PUT", f"{path}/c{number}", seen | {"data": {"a": "2"}}))[0] == 200
        code, refused = await one("PUT", f"{path}/c{number}", made | {"data": {"a": "3"}})
        assert code == 409 and refused["reason"] == "Conflict"
    _, listed = await one("GET", f"{path}?fieldSelector=metadata.name!=kube-root-ca.crt")
    assert len(listed["items"]) == 20
    for server in servers:
        await server.stop(0)

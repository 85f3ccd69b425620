"""Pulls from a real registry, over CRI."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.cri import pb
from sampan.runtime import names
from sampan.runtime.hosts import Host, Hosts
from sampan.runtime.images import Images
from sampan.runtime.layers import Limits
from sampan.runtime.pull import Puller
from sampan.runtime.registry import Credentials, Registry, shown
from sampan.runtime.server import CriServer
from sampan.runtime.store import Store
from tests.cri_client import Cri
from tests.images import DOCKER_MANIFEST, OCI_INDEX, Built, entry, index, sha, tar
from tests.runtime.registries import Server, registry

aio: Any = importlib.import_module("grpc.aio")
pytestmark = [pytest.mark.clients, pytest.mark.slow]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with registry(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture
async def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.open()
    return made


@pytest.fixture
async def cri(tmp_path: Path, store: Store) -> AsyncIterator[Cri]:
    client = Registry(Hosts(tmp_path / "certs.d"))
    images = Images(store, Puller(store, client, Limits(layer_bytes=64 << 20)), used=tuple, clock=time.time)
    server = CriServer(tmp_path / "cri.sock", {"runtime.v1.ImageService": images, "sampan.runtime.v1.Archives": images})
    await server.start()
    async with Cri(tmp_path / "cri.sock") as found:
        yield found
    await server.stop(0)
    await client.aclose()


async def pull(cri: Cri, name: str, **auth: str) -> str:
    return str((await cri.PullImage(image=pb.ImageSpec(image=name), auth=pb.AuthConfig(**auth))).image_ref)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - nothing tells when files come and go
            await asyncio.sleep(0.001)


async def refused(cri: Cri, name: str, **auth: str) -> tuple[str, str]:
    with pytest.raises(aio.AioRpcError) as caught:
        await pull(cri, name, **auth)
    return caught.value.code().name, str(caught.value.details())


async def test_pull_list_and_remove(cri: Cri, plain: Server, store: Store) -> None:
    built = Built([tar(entry("f", os.urandom(100_000))), tar(entry("g", b"2"))], {"User": "app"})
    plain.push(built, "team/app", "v1")
    name = f"{plain.domain}/team/app"
    assert await pull(cri, f"{name}:v1") == built.id
    [image] = (await cri.ListImages()).images
    digest = f"{name}@{sha(built.manifest_data)}"
    assert (list(image.repo_tags), list(image.repo_digests)) == ([f"{name}:v1"], [digest])
    assert (image.id, image.username, image.size) == (built.id, "app", 100_001 + len(built.config_data))
    for spec in (f"{name}:v1", digest, built.id, built.id[7:20]):
        assert (await cri.ImageStatus(image=pb.ImageSpec(image=spec))).image.id == built.id
    assert "diff_ids" in (await cri.ImageStatus(image=pb.ImageSpec(image=built.id), verbose=True)).info["info"]
    assert not (await cri.ImageStatus(image=pb.ImageSpec(image="other"))).HasField("image")
    used = (await cri.ImageFsInfo()).image_filesystems[0].used_bytes.value
    assert used > 100_000
    for _ in range(2):  # gone is gone
        await cri.RemoveImage(image=pb.ImageSpec(image=f"{name}:v1"))
    assert (await cri.ImageFsInfo()).image_filesystems[0].used_bytes.value == 0
    assert await pull(cri, digest) == built.id
    assert list((await cri.ListImages()).images[0].repo_tags) == []


async def test_index_and_docker_manifest(cri: Cri, plain: Server) -> None:
    ours, other = (
        Built([tar(entry("f", b"ours"))], kind=DOCKER_MANIFEST),
        Built([tar(entry("f"))], architecture="s390x"),
    )
    for built in (ours, other):
        plain.push(built, "multi")
    plain.put_manifest("multi", "all", index(other, ours), OCI_INDEX)
    plain.put_manifest("multi", "none", index(other), OCI_INDEX)
    assert await pull(cri, f"{plain.domain}/multi:all") == ours.id
    [image] = (await cri.ListImages()).images
    assert list(image.repo_digests) == [f"{plain.domain}/multi@{sha(index(other, ours))}"]
    code, words = await refused(cri, f"{plain.domain}/multi:none")
    assert code == "NOT_FOUND" and f"no match for platform in manifest {sha(index(other))}: not found" in words


async def test_what_is_not_there(cri: Cri, plain: Server) -> None:
    name = f"{plain.domain}/no/such:v1"
    assert await refused(cri, name) == (
        "NOT_FOUND", f'failed to pull and unpack image "{name}": failed to resolve reference "{name}": {name}: not found'
    )  # fmt: skip
    code, words = await refused(cri, "127.0.0.1:1/x")
    assert code == "UNAVAILABLE" and words.endswith(
        'failed to do request: Get "http://127.0.0.1:1/v2/x/manifests/latest": dial tcp 127.0.0.1:1: connect: connection refused'
    )
    assert await refused(cri, "UPPER") == (
        "INVALID_ARGUMENT",
        'failed to parse image reference "UPPER": invalid reference format: repository name (library/UPPER) must be lowercase',
    )


async def test_shared_layers_are_fetched_once(cri: Cri, plain: Server, store: Store) -> None:
    base = tar(entry("base", os.urandom(1 << 20)))
    images = [Built([base, tar(entry("own", bytes([number])))]) for number in range(4)]
    for number, built in enumerate(images):
        plain.push(built, f"shared{number}", "1")
    got = await asyncio.gather(*(pull(cri, f"{plain.domain}/shared{number}:1") for number in range(4)))
    assert got == [built.id for built in images] and not list(store.ingest.iterdir())
    await cri.RemoveImage(image=pb.ImageSpec(image=images[0].id))
    assert store.has_layer(sha(base)) and store.usage().size < 2 << 20


async def test_corrupt_and_huge_layers(cri: Cri, plain: Server, store: Store, tmp_path: Path) -> None:
    corrupt = Built([tar(entry("f", b"1" * 1000))], compress=lambda data: b"\x1f\x8b" + data)
    plain.push(corrupt, "corrupt", "1")
    code, words = await refused(cri, f"{plain.domain}/corrupt:1")
    assert code == "INVALID_ARGUMENT" and "failed to extract layer" in words
    bomb = Built([tar(entry("f", bytes(65 << 20)))])
    plain.push(bomb, "bomb", "1")
    code, words = await refused(cri, f"{plain.domain}/bomb:1")
    assert "layer is larger than allowed" in words
    assert not list(store.ingest.iterdir()) and (await cri.ImageFsInfo()).image_filesystems[0].used_bytes.value == 0


async def test_a_pull_that_is_called_off_leaves_nothing(cri: Cri, plain: Server, store: Store) -> None:
    plain.push(Built([tar(entry("f", os.urandom(8 << 20)))]), "large", "1")
    call = cri.PullImage(image=pb.ImageSpec(image=f"{plain.domain}/large:1"))
    await until(lambda: bool(list(store.ingest.iterdir())))
    call.cancel()
    await until(lambda: not list(store.ingest.iterdir()))
    assert store.images() == []


async def test_many_small_documents_at_once(plain: Server) -> None:
    """Replies that come whole in one packet hand their connections on before their readers wake."""
    built = Built([tar(entry("f"))])
    plain.push(built, "small", "1")
    client = Registry(Hosts())
    reference = names.parse(f"{plain.domain}/small:1")

    async def one() -> None:
        for _ in range(50):
            assert (await client.document(reference, "1", Credentials()))[0] == built.manifest_data

    async with asyncio.timeout(25):
        await asyncio.gather(*(one() for _ in range(8)))
    await client.aclose()


async def test_passwords(cri: Cri, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with registry(tmp_path / "registry", auth="basic") as server:
        built = Built([tar(entry("f"))])
        server.push(built, "secret", "1")
        name = f"{server.domain}/secret:1"
        code, words = await refused(cri, name)
        assert code == "PERMISSION_DENIED" and words.endswith("authorization failed: no basic auth credentials")
        code, words = await refused(cri, name, username="app", password="wrong")
        assert code == "PERMISSION_DENIED" and "pull access denied" in words
        assert "wrong" not in words + caplog.text
        assert (await refused(cri, name, username="app", password="secret", server_address="other.io"))[0] == code
        assert await pull(cri, name, username="app", password="secret", server_address=server.domain) == built.id
        assert await pull(cri, name, auth="YXBwOnNlY3JldA==") == built.id
    assert "secret:1" in caplog.text and "YXBwOnNlY3JldA" not in caplog.text
    for each in (
        Credentials("app", "pass", "refresh", "bearer"),
        Host("https://r", headers=(("Authorization", "pass"),)),
    ):
        assert not any(word in repr(each) for word in ("pass", "refresh", "bearer"))
    assert (
        shown("https://user:pass@s3.local/b?X-Signature=pass&x=1")
        == "https://s3.local/b?X-Signature=[REDACTED]&x=[REDACTED]"
    )


async def test_tokens(cri: Cri, tmp_path: Path) -> None:
    with registry(tmp_path / "registry", auth="token") as server:
        assert server.tokens is not None
        built = Built([tar(entry("f")), tar(entry("g"))])
        server.push(built, "team/secret", "1")
        name = f"{server.domain}/team/secret:1"
        code, words = await refused(cri, name)
        denied = "pull access denied, repository does not exist or may require authorization"
        assert code == "PERMISSION_DENIED" and denied in words and "insufficient_scope" in words
        server.tokens.asked.clear()
        assert await pull(cri, name, username="app", password="secret") == built.id
        assert server.tokens.asked == ["repository:team/secret:pull"]  # one token for all of it
        assert await pull(cri, name, identity_token="again") == built.id
        assert await pull(cri, name, registry_token=server.tokens.make("repository:team/secret:pull")) == built.id


async def test_mirrors_and_fallback(cri: Cri, plain: Server, tmp_path: Path) -> None:
    built = Built([tar(entry("f"))])
    plain.push(built, "library/mirrored", "1")
    directory = tmp_path / "certs.d" / "docker.io"
    directory.mkdir(parents=True)
    text = f'server = "http://127.0.0.1:1"\n[host."http://127.0.0.1:2"]\n[host."http://{plain.domain}"]\n'
    (directory / "hosts.toml").write_text(text)
    assert await pull(cri, "mirrored:1") == built.id
    assert list((await cri.ListImages()).images[0].repo_tags) == ["docker.io/library/mirrored:1"]
    # what the registry itself says is told, not what the mirrors say
    assert 'Get "http://127.0.0.1:1/v2/library/other/manifests/1"' in (await refused(cri, "other:1"))[1]
    (directory / "hosts.toml").write_text("server = [")
    assert "hosts.toml" in (await refused(cri, "mirrored:1"))[1]


async def test_import_over_cri(cri: Cri, tmp_path: Path) -> None:
    built = Built([tar(entry("f"))])
    reply = await cri.Import(path=str(built.docker_save(tmp_path / "a.tar", "app:1")), pinned=True)
    assert [(image.id, image.pinned) for image in reply.images] == [(built.id, True)]

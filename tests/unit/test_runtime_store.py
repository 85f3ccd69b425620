"""The image store: names that move, crashes, what is kept and what goes; and archives of both kinds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sampan.cri import pb
from sampan.runtime.errors import Invalid
from sampan.runtime.hosts import Hosts
from sampan.runtime.images import Images
from sampan.runtime.layers import Limits
from sampan.runtime.pull import Puller
from sampan.runtime.registry import Registry
from sampan.runtime.store import Image, LayerInfo, Store, write
from tests.images import Built, directory, entry, sha, tar

pytestmark = pytest.mark.slow  # children that unpack


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.open()
    return made


def puller(store: Store, **limits: int) -> Puller:
    return Puller(store, Registry(Hosts()), Limits(**limits))


def put(store: Store, text: str, *tags: str) -> Image:
    """An image with a layer of its own."""
    layer = sha(text.encode())
    made = store.ingest / text
    (made / "fs").mkdir(parents=True)
    store.put_layer(layer, made, LayerInfo(10, 1))
    return store.add(Image(store.put_blob(json.dumps({"text": text}).encode()), (layer,), 10, tags))


def test_a_tag_moves_and_the_old_image_stays(store: Store) -> None:
    name = "docker.io/library/app:latest"
    old, new = put(store, "old", name), put(store, "new", name)
    assert store.find("app") == new and store.find(name) == new
    assert (found := store.find(old.id)) is not None and found.tags == ()
    assert store.find(new.id[7:]) == store.find(new.id[7:30]) == new and store.find("sha256:" + "0" * 64) is None


def test_what_a_crash_leaves(store: Store) -> None:
    kept, broken = put(store, "kept", "docker.io/library/a:1"), put(store, "broken", "docker.io/library/b:1")
    (store.ingest / "half" / "fs").mkdir(parents=True)
    store.fs(broken.layers[0]).rename(store.root / "lost")
    again = Store(store.root)
    again.open()
    assert again.images() == [kept] and not list(again.ingest.iterdir())


def test_writes_are_whole(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")
    with pytest.raises(TypeError):
        write(tmp_path / "f", "not bytes")  # type: ignore[arg-type]  # the failure in the middle
    assert (tmp_path / "f").read_text() == "old"
    write(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_text() == "new"


async def test_collection_keeps_what_is_used(store: Store) -> None:
    image, used, held, idle = (put(store, text) for text in ("image", "used", "held", "idle"))
    for gone in (used, held, idle):
        store.remove(gone)
    with store.holding(held.layers):
        await store.collect(used.layers)
        assert [store.has_layer(each.layers[0]) for each in (image, used, held, idle)] == [True, True, True, False]
    await store.collect(())
    assert [store.has_layer(each.layers[0]) for each in (image, used, held)] == [True, False, False]
    assert not list(store.ingest.iterdir()) and store.usage().inodes == 2


@pytest.mark.parametrize("kind", ["docker", "oci"])
async def test_import(store: Store, tmp_path: Path, kind: str) -> None:
    base, top = tar(directory("d"), entry("d/f", b"1")), tar(entry("d/.wh.f"), entry("g", b"22"))
    built = Built([base, top], {"User": "7:8", "Cmd": ["x"]})
    write_archive = built.docker_save if kind == "docker" else built.oci_archive
    file = write_archive(tmp_path / "a.tar", "docker.io/library/student-app:v4")
    [image] = await puller(store).load(file, pinned=True)
    assert image.id == built.id and image.tags == ("docker.io/library/student-app:v4",) and image.pinned
    assert image.digests == ((f"docker.io/library/student-app@{sha(built.manifest_data)}",) if kind == "oci" else ())
    assert image.layers == (sha(base), sha(top)) and image.size == 3 + len(built.config_data)
    assert (store.fs(image.layers[0]) / "d/f").read_bytes() == b"1"
    assert not list(store.ingest.iterdir())
    again = Store(store.root)
    again.open()
    assert again.images() == [image]
    images = Images(store, puller(store), used=tuple, clock=lambda: 1.0)
    shown = (await images.ListImages(pb.ListImagesRequest())).images[0]
    assert (shown.id, shown.uid.value, shown.username, shown.pinned) == (built.id, 7, "", True)
    info = (await images.ImageFsInfo(None)).image_filesystems[0]
    assert info.used_bytes.value >= image.size and info.timestamp == 10**9
    await images.RemoveImage(pb.RemoveImageRequest(image=pb.ImageSpec(image="student-app:v4")))
    assert store.usage() == LayerInfo(0, 0)


async def test_import_under_another_name(store: Store, tmp_path: Path) -> None:
    file = Built([tar(entry("f"))]).docker_save(tmp_path / "a.tar")
    [image] = await puller(store).load(file, ["other"])
    assert image.tags == ("docker.io/library/other:latest",)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"", "file could not be opened|empty file"),
        (tar(entry("x")), "neither a Docker nor an OCI archive"),
        (tar(entry("manifest.json", b"[{}]")), "not Docker's"),
        (tar(entry("manifest.json", b'[{"Config": "/etc/passwd", "Layers": []}]')), "/etc/passwd is missing"),
        (tar(entry("manifest.json", b'[{"Config": "../../etc/passwd", "Layers": []}]')), "is missing"),
        (tar(entry("index.json", b'{"manifests": [{"digest": "sha256:x"}]}')), "unsupported digest"),
    ],
)
async def test_bad_archives(store: Store, tmp_path: Path, file: bytes, message: str) -> None:
    (tmp_path / "a.tar").write_bytes(file)
    with pytest.raises(Invalid, match=message):
        await puller(store).load(tmp_path / "a.tar")
    assert store.images() == [] and not list(store.ingest.iterdir())


async def test_bad_layers_leave_nothing(store: Store, tmp_path: Path) -> None:
    built = Built([tar(entry("fine")), tar(entry("../out"))])
    with pytest.raises(Invalid, match="outside of the layer"):
        await puller(store).load(built.docker_save(tmp_path / "a.tar", "x:1"))
    lying = Built([tar(entry("f"))])
    lying.layers[0] = tar(entry("g"))
    with pytest.raises(Invalid, match="wrong diff id calculated on extraction"):
        await puller(store).load(lying.docker_save(tmp_path / "b.tar", "x:1"))
    big = Built([tar(entry("f", bytes(5000)))])
    with pytest.raises(Invalid, match="larger than allowed"):
        await puller(store, layer_bytes=4999).load(big.docker_save(tmp_path / "c.tar", "x:1"))
    assert store.images() == [] and not list(store.ingest.iterdir())
    await store.collect(())
    assert store.usage() == LayerInfo(0, 0)


async def test_another_platform_is_refused(store: Store, tmp_path: Path) -> None:
    built = Built([tar(entry("f"))], architecture="s390x")
    with pytest.raises(Exception, match="no match for platform in manifest"):
        await puller(store).load(built.docker_save(tmp_path / "a.tar", "x:1"))

"""`sampan image`: builds for a cluster, and what its nodes have.

Bases come from the cluster's own nodes, then from a registry. What was built goes into all nodes at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan.builder import archive
from sampan.builder.build import Builder, named
from sampan.builder.dockerfile import Mistake
from sampan.builder.ignore import Ignore
from sampan.builder.shelf import Image, Shelf
from sampan.builder.steps import Say, StepFailed
from sampan.cluster import images, spec, state
from sampan.cluster.errors import ClusterError
from sampan.cluster.state import Cluster
from sampan.http.proxies import Proxies
from sampan.kubelet.cri import Cri, CriFailed
from sampan.runtime.errors import CriError

if TYPE_CHECKING:
    from sampan.runtime.pull import Puller
    from sampan.runtime.store import Image as Stored

REGISTRIES = Path("/etc/containerd/certs.d")


@dataclass(frozen=True, slots=True)
class Built:
    """`nodes`: those that have it now."""

    name: str
    id: str
    size: int
    nodes: list[str]


def build(
    cluster: Cluster, context: Path, dockerfile: Path, *, tags: Sequence[str], args: Mapping[str, str], target: str,
    cache: bool, say: Say, output: Callable[[bytes], None],
) -> Built:  # fmt: skip
    """Raises ClusterError."""
    if os.geteuid() != 0:
        raise ClusterError("images are built by root alone: a step's files are mounted", "run it with sudo")
    for tag in tags:
        try:
            named(tag)
        except Mistake as error:
            raise ClusterError(str(error), "write it like web:v1, in lower case") from None
    shelf = Shelf(state.home() / "build")
    with _told(), shelf.held():
        text, ignore = dockerfile.read_text(), Ignore.of(context, dockerfile)

        async def bases(name: str) -> Image:
            return await _from_nodes(shelf, cluster, name) or await _pulled(shelf, name, say)

        builder = Builder(shelf, bases, say=say, output=output)
        image = asyncio.run(
            builder.build(context, text, ignore=ignore, tags=tags, args=args, target=target, cache=cache)
        )
        nodes: list[str] = []
        if tags and images.sockets(cluster):
            say("Loading it into the nodes")
            file = shelf.work() / "image.tar"
            archive.write(shelf, image, [named(tag) for tag in tags], file)
            nodes = list(asyncio.run(images.load_archive(cluster, file)))
        return Built(named(tags[0]) if tags else "", archive.identity(image), shelf.size(image), nodes)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except BlockingIOError:
        raise ClusterError("another build is under way", "wait for it to end") from None
    except Mistake as error:
        raise ClusterError(f"Dockerfile: {error}", "mend it, then build again") from None
    except StepFailed as error:
        raise ClusterError(str(error), "what it said is above; steps before it are kept") from None
    except CriError as error:
        raise ClusterError(str(error), "is the name right, and can this machine reach the registry?") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ClusterError(f"cannot build: {error}", "check the directory and the free space") from None


async def _from_nodes(shelf: Shelf, cluster: Cluster, name: str) -> Image | None:
    """Copied from where a node's runtime keeps it, or as the runtime gives it out."""
    settings = cluster.settings()
    foreign = {node.name for node in settings.nodes if node.runtime == spec.CONTAINERD} if settings else set()
    for node, socket in images.sockets(cluster).items():
        if node in foreign:
            if (given := await _given_out(shelf, str(socket), name)) is not None:
                return given
            continue
        root = cluster.node(node) / "runtime" / "images"
        try:
            found = json.loads((root / "index.json").read_bytes())["images"]
        except (OSError, ValueError, KeyError):
            continue
        for each in found:
            if name in each["tags"] and each["layers"]:
                config = json.loads((root / "blobs" / "sha256" / each["id"].removeprefix("sha256:")).read_bytes())
                directories = [root / "layers" / layer.removeprefix("sha256:") / "fs" for layer in each["layers"]]
                return await _adopted(shelf, config, directories)
    return None


async def _given_out(shelf: Shelf, socket: str, name: str) -> Image | None:
    archive = shelf.work() / "base.tar"
    try:
        if not await images.export(socket, name, archive):
            return None
    except CriFailed as error:
        raise ClusterError(str(error), "is the node running?") from None
    return await _fetched(shelf, lambda puller: _first(puller.load(archive)))


async def _first(found: Awaitable[list[Stored]]) -> Stored:
    return (await found)[0]


async def _pulled(shelf: Shelf, name: str, say: Say) -> Image:
    from sampan.runtime.registry import Credentials

    say(f" ---> Pulling {name}")
    return await _fetched(shelf, lambda puller: puller.pull(name, Credentials()))


async def _fetched(shelf: Shelf, fetch: Callable[[Puller], Awaitable[Stored]]) -> Image:
    """Through a store that is gone afterwards."""
    from sampan.runtime.hosts import Hosts
    from sampan.runtime.layers import Limits
    from sampan.runtime.pull import Puller
    from sampan.runtime.registry import Registry
    from sampan.runtime.store import Store

    store, registry = Store(shelf.work() / "store"), Registry(Hosts(REGISTRIES), Proxies.from_environment(os.environ))
    store.open()
    try:
        found = await fetch(Puller(store, registry, Limits()))
    finally:
        await registry.aclose()
    return await _adopted(shelf, store.config(found), [store.fs(layer) for layer in found.layers])


async def _adopted(shelf: Shelf, config: dict[str, Any], directories: Sequence[Path]) -> Image:
    """Layers are packed anew: of the original tars nothing is kept but their contents."""
    digests = [await asyncio.to_thread(shelf.copied, directory) for directory in directories]
    return Image({**config, "rootfs": {"type": "layers", "diff_ids": digests}})


# -- what nodes have ---------------------------------------------------------------------------------------------------


def listed(cluster: Cluster) -> list[dict[str, Any]]:
    """Of the first node. Raises ClusterError."""

    async def ask(cri: Cri) -> list[dict[str, Any]]:
        found = (await cri.ListImages()).images
        return [
            {"id": each.id, "tags": list(each.repo_tags), "size": each.size, "pinned": each.pinned} for each in found
        ]

    found: list[dict[str, Any]] = asyncio.run(_asked(cluster, ask))[0]
    return found


def removed(cluster: Cluster, names: Sequence[str]) -> None:
    """From all nodes. Raises ClusterError."""

    async def ask(cri: Cri) -> None:
        for name in names:
            if not (await cri.ImageStatus(image={"image": name})).HasField("image"):
                raise ClusterError(f"no such image: {name}", "`sampan image ls` lists those there are")
            await cri.RemoveImage(image={"image": name})

    asyncio.run(_asked(cluster, ask))


async def _asked(cluster: Cluster, ask: Callable[[Cri], Any]) -> list[Any]:
    found, out = images.running(cluster), []
    for socket in found.values():
        async with Cri(f"unix://{socket}") as cri:
            try:
                out.append(await ask(cri))
            except CriFailed as error:
                raise ClusterError(str(error), "is the node running?") from None
    return out


def saved(cluster: Cluster, name: str, target: Path) -> int:
    """Writes a `docker save` archive; its size. Raises ClusterError."""
    shelf = Shelf(state.home() / "build")
    with _told(), shelf.held():
        whole = named(name)
        image = shelf.image(whole) or asyncio.run(_from_nodes(shelf, cluster, whole))
        if image is None:
            raise ClusterError(f"no such image: {name}", "`sampan image ls` lists those there are")
        scratch = shelf.work() / "image.tar"
        archive.write(shelf, image, [whole], scratch)
        shutil.copyfile(scratch, target)
        return target.stat().st_size


def pushed(cluster: Cluster, name: str, say: Say) -> str:
    """To the registry that its name says; the manifest's digest. Raises ClusterError."""
    from sampan.builder.push import Pusher
    from sampan.http.client import HttpClient
    from sampan.runtime import names
    from sampan.runtime.errors import Unauthorized

    async def push(image: Image) -> str:
        async with HttpClient(proxies=Proxies.from_environment(os.environ)) as client:
            return await Pusher(client, names.parse(whole), say).push(shelf, image)

    shelf = Shelf(state.home() / "build")
    with _told(), shelf.held():
        whole = named(name)
        image = shelf.image(whole) or asyncio.run(_from_nodes(shelf, cluster, whole))
        if image is None:
            raise ClusterError(f"no such image: {name}", "`sampan image ls` lists those there are")
        try:
            return asyncio.run(push(image))
        except Unauthorized as error:
            raise ClusterError(
                str(error), f"sampan image save {name} -o image.tar, and push that with a client that can log in"
            ) from None

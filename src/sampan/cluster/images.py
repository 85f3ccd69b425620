"""Images into nodes without a registry: from a file, or from the machine's Docker.

CRI has no import, so that each runtime has a way of its own; all are one function of a connection, a file and names.

Source: kind pkg/cmd/kind/load (commands), containerd docs/cri (the namespace of Kubernetes' images)
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from sampan.cluster.errors import ClusterError
from sampan.cluster.state import Cluster
from sampan.kubelet.cri import Cri, CriFailed

#: returns the names that the images have now
Loader = Callable[[Cri, Path], Awaitable[list[str]]]
ANSWER_SECONDS, SEEN_SECONDS = 5.0, 10.0
_UNPACKED = re.compile(r"^unpacking (\S+) \(sha256:", re.MULTILINE)


async def load(socket: str, archive: Path) -> list[str]:
    """A `docker save` or OCI archive, named absolutely, into the runtime that serves there. Raises ClusterError."""
    async with Cri(socket) as cri:
        try:
            kind = (await cri.ready(ANSWER_SECONDS)).runtime_name
        except CriFailed as error:
            raise ClusterError(f"no container runtime answers at {socket}: {error}", "is the node running?") from None
        loader = LOADERS.get(kind)
        if loader is None:
            raise ClusterError(
                f"images cannot be loaded into {kind}", "push the image to a registry that the node can reach"
            )
        try:
            return await loader(cri, archive)
        except CriFailed as error:
            said = str(error)
            raise ClusterError(
                said if str(archive) in said else f"{archive}: {said}",
                "it must be what `docker save` writes, or an OCI archive",
            ) from None


async def _ours(cri: Cri, archive: Path) -> list[str]:
    images = (await cri.Import(path=str(archive))).images
    return [name for image in images for name in image.repo_tags or (image.id,)]


async def _containerd(cri: Cri, archive: Path) -> list[str]:
    said = await _ctr(cri.socket, "images", "import", str(archive))
    names = _UNPACKED.findall(said)
    async with asyncio.timeout(SEEN_SECONDS):
        for name in names:  # the part that speaks CRI hears of images a moment later
            while not (await cri.ImageStatus(image={"image": name})).HasField("image"):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)
    return names


async def export(socket: str, name: str, archive: Path) -> bool:
    """An image of containerd's into an OCI archive. False: it has no such image. Raises ClusterError, CriFailed."""
    async with Cri(socket) as cri:
        if not (await cri.ImageStatus(image={"image": name})).HasField("image"):
            return False
        await _ctr(cri.socket, "images", "export", str(archive), name)
        return True


async def _ctr(socket: str, *command: str) -> str:
    """By containerd's own client: it is installed wherever containerd is."""
    program = shutil.which("ctr")
    if program is None:
        raise ClusterError("ctr is not installed", "it comes with containerd, and must be on PATH")
    address = socket.removeprefix("unix:").replace("//", "/")
    return await _run(program, "--address", address, "--namespace", "k8s.io", *command)


LOADERS: dict[str, Loader] = {"sampan": _ours, "containerd": _containerd}


async def saved(images: Sequence[str], target: Path) -> None:
    """Docker's, or Podman's, into a file. Raises ClusterError."""
    program = shutil.which("docker") or shutil.which("podman")
    if program is None:
        raise ClusterError("neither docker nor podman is installed", "use: sampan load image-archive FILE")
    try:
        await _run(program, "save", "--output", str(target), *images)
    except ClusterError as error:
        raise ClusterError(
            error.what, "is it running, and is the image there? without it: sampan load image-archive FILE"
        ) from None


async def load_archive(cluster: Cluster, archive: Path) -> dict[str, list[str]]:
    """Into all nodes at once; the names by node. Raises ClusterError."""
    nodes = running(cluster)
    done = await asyncio.gather(*(load(str(socket), archive) for socket in nodes.values()), return_exceptions=True)
    out: dict[str, list[str]] = {}
    for node, result in zip(nodes, done, strict=True):  # all are over before one is complained of
        if isinstance(result, BaseException):
            raise result
        out[node] = result
    return out


async def load_from_docker(cluster: Cluster, images: Sequence[str]) -> dict[str, list[str]]:
    """Raises ClusterError."""
    running(cluster)
    with tempfile.TemporaryDirectory(prefix="sampan-load-") as directory:
        archive = Path(directory) / "images.tar"
        await saved(images, archive)
        return await load_archive(cluster, archive)


def running(cluster: Cluster) -> dict[str, Path]:
    """As `sockets`; there is one at least. Raises ClusterError."""
    settings, found = cluster.known(), sockets(cluster)
    if not settings.nodes:
        raise ClusterError(
            f"cluster {cluster.name} has no nodes that run containers",
            f"sampan down --name {cluster.name}, then up --nodes N",
        )
    if not found:
        raise ClusterError(f"cluster {cluster.name} has no running nodes", f"sampan up --name {cluster.name}")
    return found


def sockets(cluster: Cluster) -> dict[str, Path]:
    """The runtimes of a cluster's nodes, by node."""
    settings = cluster.settings()
    found = {node.name: cluster.socket(node.name) for node in (settings.nodes if settings else ())}
    return {name: socket for name, socket in found.items() if socket.exists()}


async def _run(*command: str) -> str:
    child = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await child.communicate()
    if child.returncode:
        words = err.decode(errors="replace").strip().rpartition("\n")[2]
        raise ClusterError(f"{Path(command[0]).name} failed: {words}", "see what it says")
    return out.decode(errors="replace")

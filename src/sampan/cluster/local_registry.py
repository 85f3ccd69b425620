"""The machine's own registry: one for all clusters, beside them.

    $SAMPAN_HOME/registry/    images, and the log, port and id of its process

It listens on the host's loopback as localhost:PORT. Nodes find it by the same name: a hosts.toml in their cluster's directory
leads them to their bridge's address, and a rule of the host from there. Clusters say so in kube-public/local-registry-hosting.

Source: https://kind.sigs.k8s.io/docs/user/local-registry/; KEP-1755
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
from pathlib import Path

from sampan.api.errors import StatusError
from sampan.client import Client
from sampan.cluster import processes, state
from sampan.cluster.errors import ClusterError
from sampan.cluster.state import Cluster

PROCESS, USUAL_PORT, START_SECONDS = "registry", 5001, 15.0
NAMESPACE, CONFIG_MAP = "kube-public", "local-registry-hosting"


def _home() -> Cluster:
    """A directory with a process, as clusters have."""
    return Cluster(PROCESS, state.home() / PROCESS)


def port() -> int:
    """Where it listens; 0: it does not run."""
    home = _home()
    return _noted(home) if home.pid(PROCESS) is not None else 0


def _noted(home: Cluster) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int((home.directory / "port").read_text())
    return 0


def up(wanted: int | None) -> tuple[int, bool]:
    """Its port, and whether it was there already. Raises ClusterError."""
    home = _home()
    with home.locked():
        if running := port():
            if wanted not in (None, running):
                raise ClusterError(f"the registry is running on port {running}", "stop it first: sampan registry down")
            return running, True
        chosen = wanted or _noted(home) or _usual()
        _start(home, chosen)
        (home.directory / "port").write_text(f"{chosen}\n")
    _tell_clusters()
    return chosen, False


def _usual() -> int:
    """The one that courses have, or any."""
    for number in (USUAL_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", number))
                found: int = probe.getsockname()[1]
                return found
    raise ClusterError("no port is free", "give one with --port")


def _start(home: Cluster, number: int) -> None:
    reader, writer = os.pipe()
    command = ["registry-server", str(home.directory), str(number), str(writer)]
    process = processes.begin(home, PROCESS, command, fds=[writer])
    os.close(writer)
    try:
        ready, _, _ = select.select([reader], [], [], START_SECONDS)
        said = os.read(reader, 100) if ready else b""
    finally:
        os.close(reader)
    if said != b"ready":
        process.kill()
        process.wait()
        home.forget_pid(PROCESS)
        raise ClusterError(f"the registry did not start on port {number}", f"its log is {home.log(PROCESS)}")


def down(*, delete: bool) -> bool:
    """False: it was not running. `delete`: its images too. Raises ClusterError."""
    home = _home()
    with home.locked():
        pid = home.pid(PROCESS)
        if pid is not None:
            processes.stop([pid])
            home.forget_pid(PROCESS)
    if pid is not None:
        _tell_clusters()
    if delete:
        shutil.rmtree(home.directory, ignore_errors=True)
    return pid is not None


def _tell_clusters() -> None:
    from sampan.cluster import nodes

    for cluster in state.all_clusters():
        if (settings := cluster.settings()) is not None and cluster.pid() is not None:
            nodes.reach_registry(cluster, settings)


async def announce(client: Client, cluster: Cluster, gateway: str) -> None:
    """To the cluster's nodes and its users; taken back where it does not run. Raises StatusError, HttpError, OSError."""
    number = port()
    write_hosts(cluster.registries, number, gateway)
    if not number:
        with contextlib.suppress(StatusError):
            found = await client.get("configmaps", CONFIG_MAP, namespace=NAMESPACE)
            if (found["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by") == "sampan":
                await client.delete("configmaps", CONFIG_MAP, namespace=NAMESPACE)
        return
    text = (
        f'host: "localhost:{number}"\n'
        f'hostFromContainerRuntime: "{gateway}:{number}"\n'
        f'hostFromClusterNetwork: "{gateway}:{number}"\n'
    )
    labels = {"app.kubernetes.io/managed-by": "sampan"}
    made = {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_MAP, "namespace": NAMESPACE, "labels": labels},
        "data": {"localRegistryHosting.v1": text},
    }  # fmt: skip
    await client.apply("configmaps", made, field_manager="sampan", force=True)


def write_hosts(directory: Path, number: int, gateway: str) -> None:
    """What was written for another port is taken back. Raises OSError."""
    marked = "# by sampan registry\n"
    for file in directory.glob("*/hosts.toml"):
        if file.read_text().startswith(marked):
            shutil.rmtree(file.parent)
    if number:
        into = directory / f"localhost:{number}"
        into.mkdir(parents=True, exist_ok=True)
        (into / "hosts.toml").write_text(f'{marked}server = "http://{gateway}:{number}"\n')

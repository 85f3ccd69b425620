"""Up and down: a control plane as a process of its own that outlives the terminal.

`up` makes certificates, starts `sampan apiserver`, hears from it through a pipe that it serves, starts controllers and
scheduler as a second process, and writes the kubeconfig. Whatever was there before, after a reboot or a `kill -9`, is carried on with.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from sampan.cluster import certificates, kubeconfig
from sampan.cluster.errors import ClusterError
from sampan.cluster.state import Cluster, Settings

START_SECONDS, STOP_SECONDS = 30.0, 15.0
SERVICE_ADDRESS = "10.96.0.1"
COMPONENTS = "components"
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Up:
    """What `up` did. `already`: it was running."""

    cluster: Cluster
    server: str
    context: str
    already: bool


def up(cluster: Cluster, *, store: str | None, port: int | None, progress: Progress, hollow: int | None = None) -> Up:
    """`hollow`: simulated nodes (None: as before). Raises ClusterError."""
    with cluster.locked():
        known = cluster.settings()
        if cluster.pid() is not None and known is not None:
            if hollow is not None and hollow != known.hollow:
                raise ClusterError(
                    f"cluster {cluster.name} is running with {known.hollow} simulated nodes",
                    f"stop it first: sampan down --name {cluster.name}",
                )
            if cluster.pid(COMPONENTS) is None:
                progress("Starting controllers and scheduler")
                _start_components(cluster, known)
            kubeconfig.add(kubeconfig.default_path(), cluster.name, url(known.port), certificates.Pki(cluster.pki))
            return Up(cluster, url(known.port), kubeconfig.context_name(cluster.name), True)
        settings = _settings(known, store, port)
        settings.hollow = known.hollow if hollow is None and known else hollow or 0
        progress("Making certificates")
        try:
            pki = certificates.ensure(cluster.pki, [SERVICE_ADDRESS])
        except OSError as error:
            raise ClusterError(
                f"cannot write to {cluster.pki}: {error.strerror}", "make it writable, or set SAMPAN_HOME"
            ) from None
        progress("Starting the control plane")
        _start(cluster, settings)
        cluster.save(settings)
        progress("Starting controllers and scheduler")
        _start_components(cluster, settings)
        progress("Writing the kubeconfig")
        kubeconfig.add(kubeconfig.default_path(), cluster.name, url(settings.port), pki)
        return Up(cluster, url(settings.port), kubeconfig.context_name(cluster.name), False)


def url(port: int) -> str:
    return f"https://127.0.0.1:{port}"


def _settings(known: Settings | None, store: str | None, port: int | None) -> Settings:
    if known is not None and store is not None and store != known.store:
        raise ClusterError(
            f"this cluster keeps its state in {known.store}, not in {store}",
            "leave --store out, or choose another --name",
        )
    chosen = port or (known.port if known else 0)
    if port or (known and _free(known.port)):
        if not _free(chosen):
            raise ClusterError(f"port {chosen} is in use", "stop what listens there, or choose another with --port")
    elif known is not None:
        raise ClusterError(
            f"port {known.port}, which this cluster had, is in use", "stop what listens there, or give --port"
        )
    else:
        chosen = 6443 if _free(6443) else _any_port()
    return Settings(chosen, store or (known.store if known else "sqlite"))


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _start(cluster: Cluster, settings: Settings) -> None:
    reader, writer = os.pipe()
    pki = cluster.pki
    command = [
        sys.executable, "-m", "sampan.cli", "apiserver",
        "--bind-address", "127.0.0.1", "--secure-port", str(settings.port),
        "--tls-cert-file", str(pki / "apiserver.crt"), "--tls-private-key-file", str(pki / "apiserver.key"),
        "--client-ca-file", str(pki / "ca.crt"), "--service-account-key-file", str(pki / "sa.pub"),
        "--service-account-signing-key-file", str(pki / "sa.key"), "--enable-bootstrap-token-auth",
        "--kubelet-client-certificate", str(pki / "apiserver-kubelet-client.crt"),
        "--kubelet-client-key", str(pki / "apiserver-kubelet-client.key"),
        "--storage", settings.store, "--data-dir", str(cluster.directory), "--ready-fd", str(writer),
    ]  # fmt: skip
    with open(cluster.log(), "ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[writer], start_new_session=True
        )
    os.close(writer)
    try:
        cluster.note_pid(process.pid)
        ready, _, _ = select.select([reader], [], [], START_SECONDS)
        said = os.read(reader, 4096).decode() if ready else ""
    finally:
        os.close(reader)
    if said.startswith("ready"):
        return
    process.kill()
    process.wait()
    why = said.strip() or ("it ended" if ready else f"it did not answer within {START_SECONDS:.0f} s")
    raise ClusterError(f"the control plane did not start: {why}", f"its log is {cluster.log()}")


def _start_components(cluster: Cluster, settings: Settings) -> None:
    """They find the server by themselves, and need no waiting for."""
    if cluster.pid(COMPONENTS) is not None:
        return
    command = [
        sys.executable, "-m", "sampan.cli", "components", "--server", url(settings.port),
        "--pki-dir", str(cluster.pki), "--hollow", str(settings.hollow), "--leader-elect=false",
        "--host-path-root", str(cluster.directory / "volumes"),
    ]  # fmt: skip
    with open(cluster.log(COMPONENTS), "ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    cluster.note_pid(process.pid, COMPONENTS)


def down(cluster: Cluster) -> bool:
    """Stop it, keep its state, take the context out of the kubeconfig. False: it was not running. Raises ClusterError."""
    if not cluster.exists():
        raise ClusterError(f"there is no cluster {cluster.name}", "`sampan status` lists those there are")
    with cluster.locked():
        pid = cluster.pid()
        for process in (COMPONENTS, "apiserver"):
            running = cluster.pid(process)
            if running is not None:
                _stop(running)
            cluster.forget_pid(process)
        kubeconfig.remove(kubeconfig.default_path(), cluster.name)
        return pid is not None


def _stop(pid: int) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        os.kill(pid, signal.SIGTERM)
        gone, _, _ = select.select([handle], [], [], STOP_SECONDS)
        if not gone:
            os.kill(pid, signal.SIGKILL)
            select.select([handle], [], [], STOP_SECONDS)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def healthy(cluster: Cluster, timeout: float = 2.0) -> bool:
    """Does `/readyz` say ok?"""
    import ssl
    import urllib.error
    import urllib.request

    settings = cluster.settings()
    if settings is None or cluster.pid() is None:
        return False
    context = ssl.create_default_context(cafile=str(cluster.pki / "ca.crt"))
    try:
        with urllib.request.urlopen(url(settings.port) + "/readyz", timeout=timeout, context=context) as reply:
            return bool(reply.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def uptime(pid: int) -> float:
    """Seconds since a process began."""
    from sampan.cluster.state import start_time

    ticks = int(start_time(pid) or 0)
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))

"""Up and down: a control plane and its nodes as processes of their own that outlive the terminal.

`up` makes certificates, starts `sampan apiserver`, hears from it through a pipe that it serves, starts controllers and
scheduler as a second process and two for each node, and writes the kubeconfig. Whatever was there before, after a
reboot or a `kill -9`, is carried on with.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sampan.api.hollow import pod_range
from sampan.cluster import kubeconfig, processes, spec
from sampan.cluster.errors import ClusterError
from sampan.cluster.state import Cluster, Settings

START_SECONDS = 30.0
API, COMPONENTS = "apiserver", "components"
Progress = Callable[[str], None]


class PortTaken(ClusterError):
    """Somebody listens there."""


@dataclass(slots=True)
class Wanted:
    """What was asked for; None is as before, or as by default. `context`: the name in the kubeconfig. `runtime`: of the nodes
    that a known cluster has; `nodes` say it themselves."""

    store: str | None = None
    port: int | None = None
    hollow: int | None = None
    stages: str | None = None
    nodes: Sequence[spec.Node] | None = None
    ranges: spec.Ranges | None = None
    listen: str | None = None
    context: str | None = None
    runtime: str | None = None
    wait: float = field(default=60.0)


@dataclass(frozen=True, slots=True)
class Up:
    """What `up` did. `already`: it was running."""

    cluster: Cluster
    server: str
    context: str
    already: bool


def up(cluster: Cluster, wanted: Wanted, progress: Progress) -> Up:
    """Raises ClusterError."""
    with cluster.locked():
        known = cluster.settings()
        if known is not None:
            _same_runtime(known, wanted)
        if cluster.pid(API) is not None and known is not None:
            _same(cluster, known, wanted)
            _carry_on(cluster, known, wanted, progress)
            return Up(cluster, url(known.port), known.context, True)
        fresh = cluster.fresh()
        settings = _settings(cluster, known, wanted)
        with _nothing_half(cluster, settings, known is None, fresh):
            _begin(cluster, settings, progress, any_port=known is None and wanted.port is None)
        _carry_on(cluster, settings, wanted, progress)
        return Up(cluster, url(settings.port), settings.context, False)


@contextlib.contextmanager
def _nothing_half(cluster: Cluster, settings: Settings, new: bool, fresh: bool) -> Iterator[None]:
    """What did not come to stand, or was interrupted, leaves nothing on the machine; a new cluster is not remembered.
    `fresh`: its directory held nothing before, and then holds nothing again."""
    try:
        yield
    except BaseException:
        with _uninterrupted():
            processes.stop(pid for name in (API,) if (pid := cluster.pid(name)) is not None)
            if settings.nodes:
                from sampan.cluster import nodes

                nodes.stop(cluster, settings)
            if new:
                cluster.forget()
            if fresh:
                cluster.empty()
        raise


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """A second Ctrl-C does not stop what the first one began."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _begin(cluster: Cluster, settings: Settings, progress: Progress, *, any_port: bool) -> None:
    """Until the control plane serves, and the cluster is known. `any_port`: nobody asked for this one."""
    if settings.nodes:
        from sampan.cluster import nodes

        progress("Preparing the network")
        nodes.prepare(cluster, settings)
        cluster.save(settings)
    from sampan.cluster import certificates

    progress("Making certificates")
    named = "" if settings.listen == "0.0.0.0" else settings.listen
    addresses = [address for address in (settings.ranges.api, settings.ranges.gateway, named) if address]
    try:
        certificates.ensure(cluster.pki, addresses)
    except OSError as error:
        raise ClusterError(
            f"cannot write to {cluster.pki}: {error.strerror}", "make it writable, or set SAMPAN_HOME"
        ) from None
    progress("Starting the control plane")
    try:
        _start(cluster, settings)
    except PortTaken:
        # another cluster was quicker, between our look and our start
        if not any_port:
            raise
        settings.port = _any_port()
        _start(cluster, settings)
    cluster.save(settings)


def url(port: int) -> str:
    return f"https://127.0.0.1:{port}"


def _same(cluster: Cluster, known: Settings, wanted: Wanted) -> None:
    """A running cluster is not changed by `up`."""
    stop = f"stop it first: sampan down --name {cluster.name}"
    if wanted.hollow is not None and wanted.hollow != known.hollow:
        raise ClusterError(f"cluster {cluster.name} is running with {known.hollow} simulated nodes", stop)
    if wanted.stages is not None and wanted.stages != known.stages:
        raise ClusterError(f"cluster {cluster.name} is running with {known.stages or 'the usual stages'}", stop)
    if wanted.nodes is not None and len(wanted.nodes) != len(known.nodes):
        raise ClusterError(f"cluster {cluster.name} is running with {len(known.nodes)} nodes", stop)


def _same_runtime(known: Settings, wanted: Wanted) -> None:
    """What one runtime keeps of a node, another does not find."""
    has = spec.runtime(known.nodes)
    if wanted.runtime is not None and wanted.runtime != (has or spec.runtime(wanted.nodes or ())):
        raise ClusterError(
            f"the nodes of this cluster run on {has}" if has else "this cluster has no nodes that run containers",
            "leave --runtime out, or choose another --name",
        )


def _carry_on(cluster: Cluster, settings: Settings, wanted: Wanted, progress: Progress) -> None:
    """Whatever should run beside the API server and does not."""
    if cluster.pid(COMPONENTS) is None:
        progress("Starting controllers and scheduler")
        _start_components(cluster, settings)
    from sampan.cluster.certificates import Pki

    progress("Writing the kubeconfig")
    kubeconfig.add(kubeconfig.default_path(), settings.context, url(settings.port), Pki(cluster.pki))
    if not (settings.nodes or settings.hollow or settings.seen_by_others):
        return
    import asyncio

    from sampan.cluster import nodes

    if settings.nodes:
        count = len(settings.nodes)
        progress("Starting the node" if count == 1 else f"Starting {count} nodes")
        nodes.start(cluster, settings)
        asyncio.run(nodes.settled(cluster, settings, wanted.wait, progress))
    elif settings.seen_by_others:
        asyncio.run(nodes.furnish(cluster, settings))
    if settings.hollow:
        progress("Waiting for simulated nodes")
        asyncio.run(nodes.simulated(cluster, settings, wanted.wait))


def _settings(cluster: Cluster, known: Settings | None, wanted: Wanted) -> Settings:
    """As before where nothing else is asked for."""
    if known is not None and wanted.store is not None and wanted.store != known.store:
        raise ClusterError(
            f"this cluster keeps its state in {known.store}, not in {wanted.store}",
            "leave --store out, or choose another --name",
        )
    listen = wanted.listen or (known.listen if known else "127.0.0.1")
    out = known or Settings(0, wanted.store or "sqlite", context=kubeconfig.context_name(cluster.name))
    out.port, out.listen = _port(known, wanted.port), listen
    if wanted.hollow is not None:
        out.hollow = wanted.hollow
    if wanted.stages is not None:
        out.stages = wanted.stages
    if wanted.nodes is not None:
        out.nodes = list(wanted.nodes)
    if wanted.ranges is not None and known is None:
        out.ranges = wanted.ranges
    if wanted.context is not None:
        out.context = wanted.context
    return out


def _port(known: Settings | None, wanted: int | None) -> int:
    chosen = wanted or (known.port if known else 0)
    if wanted or (known and _free(known.port)):
        if not _free(chosen):
            raise ClusterError(f"port {chosen} is in use", "stop what listens there, or choose another with --port")
    elif known is not None:
        raise ClusterError(
            f"port {known.port}, which this cluster had, is in use", "stop what listens there, or give --port"
        )
    else:
        chosen = 6443 if _free(6443) else _any_port()
    return chosen


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
    gateway = settings.ranges.gateway
    advertised = gateway or (settings.listen if settings.seen_by_others else "127.0.0.1")
    addresses = dict.fromkeys(address for address in (settings.listen, "127.0.0.1", gateway) if address)
    bound = "0.0.0.0" if "0.0.0.0" in addresses else ",".join(addresses)
    command = [
        "apiserver", "--bind-address", bound, "--secure-port", str(settings.port),
        "--advertise-address", advertised, "--service-cluster-ip-range", settings.ranges.services,
        "--tls-cert-file", str(pki / "apiserver.crt"), "--tls-private-key-file", str(pki / "apiserver.key"),
        "--client-ca-file", str(pki / "ca.crt"), "--service-account-key-file", str(pki / "sa.pub"),
        "--service-account-signing-key-file", str(pki / "sa.key"), "--enable-bootstrap-token-auth",
        "--kubelet-client-certificate", str(pki / "apiserver-kubelet-client.crt"),
        "--kubelet-client-key", str(pki / "apiserver-kubelet-client.key"),
        "--storage", settings.store, "--data-dir", str(cluster.directory),
    ]  # fmt: skip
    processes.note(cluster, API, command)
    process = processes.begin(cluster, API, [*command, "--ready-fd", str(writer)], fds=[writer])
    os.close(writer)
    try:
        ready, _, _ = select.select([reader], [], [], START_SECONDS)
        said = os.read(reader, 4096).decode() if ready else ""
    finally:
        os.close(reader)
    if said.startswith("ready"):
        return
    process.kill()
    process.wait()
    why = said.strip() or (
        f"it ended{cluster.last_word(API)}" if ready else f"it did not answer within {START_SECONDS:.0f} s"
    )
    failed = PortTaken if "address already in use" in why else ClusterError
    raise failed(f"the control plane did not start: {why}", "mend that, then try again")


def _start_components(cluster: Cluster, settings: Settings) -> subprocess.Popen[bytes]:
    """They find the server by themselves, and need no waiting for."""
    pods = settings.ranges.pods if settings.nodes else pod_range(settings.ranges.pods, settings.hollow)
    command = [
        "components", "--server", url(settings.port), "--pki-dir", str(cluster.pki), "--hollow", str(settings.hollow),
        "--leader-elect=false", "--cluster-cidr", pods,
        "--service-cluster-ip-range", settings.ranges.services, "--host-path-root", str(cluster.directory / "volumes"),
        "--bind-address", settings.ranges.gateway or "127.0.0.1",
    ]  # fmt: skip
    if settings.stages:
        command += ["--stages", settings.stages]
    if settings.nodes:
        ranges = settings.ranges
        command += [
            "--node-network",
            ",".join((cluster.id, ranges.nodes, ranges.pods, ranges.services, ranges.balancers)),
        ]
    return processes.begin(cluster, COMPONENTS, command)


def down(cluster: Cluster) -> bool:
    """Stop it, keep its state, take the context out of the kubeconfig. False: it was not running. Raises ClusterError."""
    cluster.known()
    with cluster.locked():
        settings = cluster.settings()
        pid = cluster.pid(API)
        if settings is not None and settings.nodes:
            from sampan.cluster import nodes

            nodes.stop(cluster, settings)
        processes.stop(found for name in (COMPONENTS, API) if (found := cluster.pid(name)) is not None)
        for name in (COMPONENTS, API):
            cluster.forget_pid(name)
        context = settings.context if settings is not None else kubeconfig.context_name(cluster.name)
        kubeconfig.remove(kubeconfig.default_path(), context)
        return pid is not None


def delete(cluster: Cluster) -> None:
    """Stop it and remove what it kept. Raises ClusterError."""
    import shutil

    down(cluster)
    try:
        shutil.rmtree(cluster.directory)
    except OSError as error:
        raise ClusterError(
            f"cannot remove {cluster.directory}: {error}", "see what still uses it, then try again"
        ) from None


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
        # no proxy is between us and ourselves
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(url(settings.port) + "/readyz", timeout=timeout) as reply:
            return bool(reply.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def uptime(pid: int) -> float:
    """Seconds since a process began."""
    from sampan.cluster.state import start_time

    ticks = int(start_time(pid) or 0)
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
